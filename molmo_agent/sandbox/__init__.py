"""Runs code that nobody has read, such as a model's programs, where it can harm nothing. Linux only."""
