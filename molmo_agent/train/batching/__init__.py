"""From rows to batches: sampling, encoding, message trees and packing."""
