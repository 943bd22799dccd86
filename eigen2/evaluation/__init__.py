"""Evaluation: slices, scores, baselines, and the market as a standard environment."""
