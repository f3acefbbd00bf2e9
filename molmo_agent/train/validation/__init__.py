"""Measure a run on examples that it does not train on, and warn of what goes wrong."""
