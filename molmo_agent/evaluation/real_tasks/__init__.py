"""Tasks on real programs: a session per task, the tasks with their verdicts, and the run."""
