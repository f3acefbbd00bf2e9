"""Referring expressions: ways to name what is on a screen."""
