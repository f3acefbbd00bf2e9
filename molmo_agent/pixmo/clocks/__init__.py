"""Clocks: watch and wall-clock bodies with faces of any design, set to any time."""
