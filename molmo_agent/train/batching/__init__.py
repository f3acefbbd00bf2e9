"""From rows to batches: encoding, message trees, packing, sampling."""
