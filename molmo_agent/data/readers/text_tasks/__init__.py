"""Reads benchmarks without images from the files that their authors publish."""
