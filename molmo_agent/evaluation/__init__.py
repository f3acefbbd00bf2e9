"""Benchmarks: ask a model, score its answers, report them with intervals."""
