"""Models behind a server: which families there are, which images they get, and how a server answers."""
