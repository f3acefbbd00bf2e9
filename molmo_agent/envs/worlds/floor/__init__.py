"""A robot in a room that drives to points on the floor."""
