"""Replies of every dialect, damaged at random in known ways; and what must hold of each of them.

Used by a short test and by the long one under ``tests/abuse``.
"""

import random
import re

from molmo_agent.geometry import Point
from molmo_agent.point_text.parse import DIALECTS, format_points, parse_points

SIZE = (1000, 1000)
LABELS = ("Save", "the red square", "保存", "Next >", "a & b", "Don't save", "x")
NOISE = (
    *"<>\"'=/[](){},.:;-+% \n0179eExy", "١", "５", "½", "\u200b", "\u202e",
    "\x00", "\x1b", "\ud800",
    "point", "</point>", "(0.1, 0.2)",
    "click(", "null", "NaN", "```", "<think>", "</think>", 'x1="', "coords", "There are none.", "not ", "&lt;",
)  # fmt: skip
OTHER_DIGITS = {ord(str(i)): chr(base + i) for base in (0x0660,) for i in range(10)}
WAYS = [(dialect, scale) for dialect, row in DIALECTS.items() for scale in row.scales]


def answer(rng, dialect, scale):
    """Return a clear reply with one to three points."""
    count = 1 if DIALECTS[dialect].single else rng.choice((1, 1, 2, 3))
    points = [Point(rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)) for _ in range(count)]
    return format_points(dialect, points, rng.choice(LABELS), image_size=SIZE, scale=scale)


def truncated(rng, reply):
    """Lose the end: any number of characters."""
    return reply[: rng.randrange(len(reply))]


def beheaded(rng, reply):
    """Lose the beginning, with the first digit at least."""
    first = re.search(r"[0-9]", reply).end()
    return reply[rng.randrange(first, len(reply) + 1) :]


def doubled(rng, reply):
    """Put another answer of any dialect beside it."""
    other = answer(rng, *rng.choice(WAYS))
    parts = [reply, other.translate({ord(a): b for a, b in zip("0123456789", "5678901234", strict=True)})]
    rng.shuffle(parts)
    return rng.choice((" ", "\n", " or ", "", " No: ")).join(parts)


def in_other_digits(rng, reply):
    """Write one coordinate in the digits of another script, or with a sign or an exponent."""
    places = [match.span() for match in re.finditer(r"(?<![0-9a-z.])[0-9]+(?:\.[0-9]+)?(?=[\"', )\]|])", reply)]
    start, end = rng.choice(places[-2:])
    number = reply[start:end]
    spoilt = rng.choice((number.translate(OTHER_DIGITS), f"+{number}", f"-{number}", f"{number}e1", f"{number}\u200b"))
    return reply[:start] + spoilt + reply[end:]


def damaged(rng, reply):
    """Insert, delete and replace pieces anywhere."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start = rng.randrange(len(reply) + 1)
        end = min(len(reply), start + rng.choice((0, 0, 1, 1, 2, 5, 20)))
        reply = reply[:start] + (rng.choice(NOISE) if rng.random() < 0.8 else "") + reply[end:]
    return reply


# Whatever is lost or added here is a part of the answer: none of these replies may give a point.
LOSSES = (truncated, beheaded, doubled, in_other_digits)


def problem(rng, dialect, scale):
    """Damage one reply, and return what is wrong with its reading; "" if nothing is."""
    whole = answer(rng, dialect, scale)
    damage = rng.choice((damaged, damaged, *LOSSES))
    reply = damage(rng, whole)
    parsed = parse_points(dialect, reply, SIZE, scale)

    def where() -> str:
        return f"{damage.__name__}, {dialect} of {scale}: {reply!r} of {whole!r}"

    if bool(parsed.points) != (parsed.status == "ok"):
        return f"{where()}: {parsed.status} with {len(parsed.points)} points"
    if parsed.points and damage in LOSSES:
        # Two tags with two names are points of two things: more than a click may have.
        expected = len(parse_points(dialect, whole, SIZE, scale).points)
        if not (damage is doubled and DIALECTS[dialect].tags and len(parsed.points) > expected):
            return f"{where()}: points at {parsed.points}"
    if not all(0 <= value <= 1 for item in parsed.points for value in (item.point.x, item.point.y)):
        return f"{where()}: outside of the image"
    return ""


def problems(dialect, scale, count, seed):
    """Return what is wrong with the readings of many damaged replies."""
    rng = random.Random(f"{dialect} {scale} {seed}")
    return [text for text in (problem(rng, dialect, scale) for _ in range(count)) if text]
