"""Reads the words on a screenshot: a protocol, the engine that comes with the package, and adapters for others."""
