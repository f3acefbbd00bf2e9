"""Readers of step benchmarks: a screenshot, a task, and the one action that a person did there."""
