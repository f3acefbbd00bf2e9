"""Text and keys on X11: the keyboard layout, the clipboard, input methods, and how programs take text."""
