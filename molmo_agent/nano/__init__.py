"""The making of the embedded model: architecture, tokenizer, curriculum, calibration, card."""
