"""What may be passed to the processor and the model: honoured or refused, never ignored."""
