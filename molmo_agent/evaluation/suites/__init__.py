"""Evaluations of several benchmarks in one run, and what their servers expect."""
