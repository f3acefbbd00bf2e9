"""What programs say about their widgets, for screen readers: names of what has no words on the screen."""
