"""A simulated phone: an env to try things on, a test bed for the adb adapter, a source of screens with their truth."""
