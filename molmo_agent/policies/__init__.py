"""Decision makers: an instruction and an image in, an action out. Importing this package loads none of them."""
