"""Judges whether a person must be asked before an action: by its keys and text, and by the words under its points."""
