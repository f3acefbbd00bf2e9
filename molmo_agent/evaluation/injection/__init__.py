"""Orders that appear on the screen: how often they capture an agent that has another task."""
