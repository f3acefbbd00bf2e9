"""Sweeps: several runs that differ in one choice, as the tables of the paper's ablations."""
