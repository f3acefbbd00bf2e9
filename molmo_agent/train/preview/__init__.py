"""A page that shows the model's inputs in training."""
