"""Drawn web pages with ground truth."""
