"""`agent train` and `agent start`: recipes, plans, sweeps and start models."""
