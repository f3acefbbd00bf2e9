"""Benchmarks without images: the language side of a model, before and after training."""
