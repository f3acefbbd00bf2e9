"""Referring expressions: texts that identify elements of a screen."""
