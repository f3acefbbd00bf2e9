"""The mark of a reply in words that its limit of tokens cut off: half of a text must not be typed."""

_MARK = " [cut off here]"


def mark_cut(reply: str) -> str:
    """Return a reply that was cut off, with the mark at its end."""
    return reply + _MARK


def is_cut(reply: str) -> bool:
    """Return whether a reply has the mark."""
    return reply.endswith(_MARK)


def without_mark(reply: str) -> str:
    """Return a reply without the mark, for scores: the published ones read what there is."""
    return reply.removesuffix(_MARK)
