"""Text of models to points and back: dialects and the strict parser."""
