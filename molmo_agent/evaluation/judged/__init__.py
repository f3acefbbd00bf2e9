"""Scores that need a judge: a language model that reads a reply, such as the F1 of long captions."""
