"""Recognises icons on screenshots: regions that may be icons, a small classifier, a vocabulary of their names."""
