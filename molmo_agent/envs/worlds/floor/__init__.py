"""A robot in a room that drives to the floor points it is given."""
