"""Gradient learning: networks, the replay buffer, and the agent that learns from it."""
