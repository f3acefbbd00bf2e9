"""Small simulated worlds: targets, maps, a room for a robot, a table with objects."""
