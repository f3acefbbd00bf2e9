"""The command `agent`: one file per verb. Everything heavy is imported by the verb that needs it."""
