"""A language model proposes the next step of a goal; a pointing model grounds it."""
