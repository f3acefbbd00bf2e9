"""Decision makers: an instruction and a picture in, an action out. Importing this package loads none of them."""
