"""Policies: from an instruction and an image to an action. Importing this package loads none of them."""
