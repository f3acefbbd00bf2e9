"""Environments: what executes actions. Each module is loaded by name on demand; this package imports none of them."""
