"""Training: recipes, batches, losses, the trainer, checkpoints and launching."""
