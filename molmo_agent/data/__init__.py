"""Readers of data sets: files in, rows out; what cannot be read is reported, never silently left out."""
