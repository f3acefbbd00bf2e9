"""Settings shared by all tests."""

from hypothesis import settings

# Tests share the machine with others: how long one example takes says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
