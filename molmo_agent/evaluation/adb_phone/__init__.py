"""The simulated phone at the other end of adb: a daemon of the protocol, and the shell that its commands run in."""
