"""Readers of grounding benchmarks: a screenshot or a photograph, an instruction, and the place it names."""
