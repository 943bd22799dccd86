"""eigen2 trains a population of trading agents by evolutionary reinforcement learning on Ray."""

__version__ = "0.10.0"
