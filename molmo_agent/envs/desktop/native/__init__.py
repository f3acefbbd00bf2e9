"""Windows and macOS: capture, input and windows by the systems' own interfaces."""
