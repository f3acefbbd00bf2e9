"""One page of what the model sees in training."""
