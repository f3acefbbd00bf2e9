"""Drawn and recorded screens with ground truth, for training and evaluation."""
