"""Checkpoints in every layout: the released ones, the training code's, our own, and the hub."""
