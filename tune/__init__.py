"""Sweeps: one W&B sweep file, searched with Ray Tune or by wandb agents."""

from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"  # the project's own, from whatever folder a command is run
