"""How the embedded model is made: architecture, tokenizer, curriculum, calibration, card."""
