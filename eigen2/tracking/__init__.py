"""Tracking: whoever listens to a run's metrics. The only part that knows W&B."""
