"""Drawn and recorded screens with ground truth, to train and measure on."""
