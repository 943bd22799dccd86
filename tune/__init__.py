"""Sweeps: one W&B sweep file, searched with Ray Tune or by wandb agents."""
