"""Finds what an instruction names by the words on the screen, and the widgets that belong to them."""
