"""The rules of trading: what actions on a slice of days lead to."""
