"""Real desktops as an env: capture, input, monitors, virtual displays."""
