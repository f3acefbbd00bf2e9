"""Prove on this machine that a point of the capture is where the pointer, or the finger, arrives."""
