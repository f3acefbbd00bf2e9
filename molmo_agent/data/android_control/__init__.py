"""AndroidControl: episodes from its TFRecord shards, screens, actions, questions and rows."""
