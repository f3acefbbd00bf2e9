"""Grounding benchmarks: what counts as right under each named protocol."""
