"""Step benchmarks: one action on a recorded screen, compared with the action that was recorded."""
