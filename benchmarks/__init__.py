"""Measurements of the product: whether it learns, and how fast it is."""
