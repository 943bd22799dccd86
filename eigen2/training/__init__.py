"""Training: members, the trainer that drives them, and the folder a run leaves behind."""
