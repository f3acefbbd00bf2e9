"""The grammar of instructions: from a sentence to steps."""
