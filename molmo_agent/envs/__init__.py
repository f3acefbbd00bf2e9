"""Places where actions happen. Each module is loaded by name when it is asked for; this package imports none."""
