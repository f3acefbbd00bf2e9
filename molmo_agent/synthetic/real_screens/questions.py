"""Questions about recorded screens, in the words of people: for what is there, and for what is on other screens only.

The rows have the format of `agent eval questions`.
"""

import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from molmo_agent.synthetic.real_screens.element import RealElement
from molmo_agent.synthetic.real_screens.folder import RecordingFolder, element_from_json

TARGETS_FILE, ABSENT_FILE = "targets.jsonl", "absent.jsonl"
# Per screen: icons are the hardest, so more of them.
MAX_ICONS, MAX_PER_KIND, MAX_ABSENT = 12, 4, 2

# Kind -> (target, verbs). {n} is the name, {low} the name in lower case where it is no abbreviation.
_WORDINGS: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
    "button": (
        ("{n}", ("click", "press")),
        ('"{n}"', ("click", "press")),
        ('the "{n}" button', ("click", "press")),
        ("the {n} button", ("click", "press")),
    ),
    "icon": (
        ("the {low} icon", ("click",)),
        ('the "{n}" icon', ("click",)),
        ("the {low} button", ("click", "press")),
        ('the "{n}" button', ("click", "press")),
        ("the {n} icon", ("click",)),
        ("{low}", ("click",)),
    ),
    "checkbox": (('"{n}"', ("tick", "click")), ('the "{n}" checkbox', ("tick",)), ("the {n} checkbox", ("tick",))),
    "radio": (('"{n}"', ("choose", "select")), ('the "{n}" option', ("choose", "select"))),
    "dropdown": (
        ('the "{n}" drop-down', ("open",)),
        ('the "{n}" drop-down list', ("click", "open")),
        ("the {n} drop-down", ("open",)),
    ),
    "field": (
        ('the "{n}" field', ("click",)),
        ("the {n} field", ("click",)),
        ('the "{n}" text box', ("click",)),
    ),
    "search": (("the search field", ("click",)), ("the search box", ("click",))),
    "tab": (
        ('the "{n}" tab', ("switch to", "click")),
        ("the {n} tab", ("open",)),
        ('"{n}"', ("click",)),
    ),
    "menu": (("the {n} menu", ("open", "click")), ('the "{n}" menu', ("open",)), ('"{n}"', ("click",))),
    "menu_item": (
        ('"{n}"', ("choose", "click")),
        ('the "{n}" menu item', ("choose", "click")),
        ("{n}", ("select",)),
    ),
    "item": (('"{n}"', ("select", "click")), ('the "{n}" entry', ("click",)), ('the "{n}" item', ("select",))),
    "header": (('the "{n}" header', ("click",)), ('the "{n}" column header', ("click",))),
    "link": (
        ("{n}", ("click",)),
        ('"{n}"', ("click", "open")),
        ('the "{n}" link', ("click", "open")),
        ("the {n} link", ("click",)),
    ),
}


def write_questions(folder: RecordingFolder) -> tuple[int, int]:
    """Write the questions of a recording anew; return how many are for what is there, and for what is not."""
    targets = list(targets_of(folder.rows))
    absent = list(absent_of(folder.rows))
    folder.write(TARGETS_FILE, targets)
    folder.write(ABSENT_FILE, absent)
    return len(targets), len(absent)


def targets_of(screens: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield questions for elements whose name is unique on their screen, rather for those not asked for before."""
    asked: Counter[tuple[str, str, str]] = Counter()
    for screen in screens:
        rng = random.Random(zlib.crc32(screen["screen"].encode()))
        elements = [element_from_json(entry) for entry in screen["elements"]]
        kinds = Counter(element.kind for element in elements)
        for number, element in enumerate(_chosen(screen["app"], elements, asked, rng)):
            yield _target(screen, element, number, kinds[element.kind], rng)


def _chosen(
    app: str, elements: Sequence[RealElement], asked: Counter[tuple[str, str, str]], rng: random.Random
) -> list[RealElement]:
    by_kind: dict[str, list[RealElement]] = defaultdict(list)
    for element in askable(elements):
        by_kind["icon" if element.group == "icon" else element.kind].append(element)
    chosen = []
    for kind, candidates in by_kind.items():
        rng.shuffle(candidates)
        candidates.sort(key=lambda element: asked[app, kind, element.name])
        for element in candidates[: MAX_ICONS if kind == "icon" else MAX_PER_KIND]:
            # The menu bar is on every screen of a program; three times is enough.
            if asked[app, kind, element.name] < 3:
                asked[app, kind, element.name] += 1
                chosen.append(element)
    return chosen


def askable(elements: Sequence[RealElement]) -> list[RealElement]:
    """Return the elements that a question by name can mean: the only ones of their name, with or without text."""
    names = Counter(_plain(element.name) for element in elements)
    return [element for element in elements if names[_plain(element.name)] == 1 and element.has_text is not None]


def _plain(name: str) -> str:
    return " ".join(re.findall(r"\w+", name.casefold())) or name


def _target(
    screen: Mapping[str, Any], element: RealElement, number: int, same_kind: int, rng: random.Random
) -> dict[str, Any]:
    question, instruction = wording(element, rng)
    width, height = screen["size"]
    left, top, box_width, box_height = element.box
    right, bottom = left + box_width, top + box_height
    return {
        "id": f"{screen['screen']}#{number}",
        "image": screen["image"],
        "question": question,
        "style": "pointing",
        "points": [[round((left + right) / 2 / width, 5), round((top + bottom) / 2 / height, 5)]],
        "boxes": [[round(left / width, 5), round(top / height, 5), round(right / width, 5), round(bottom / height, 5)]],
        "extra": {
            "group": element.group,
            "kind": element.kind,
            "role": element.role,
            "name": element.name,
            "instruction": instruction,
            "checked": element.checked,
            "box_px": list(element.box),
            "size": list(screen["size"]),
            "same_kind": same_kind,
            **{key: screen[key] for key in ("app", "theme", "scale", "toolkit", "screen")},
        },
    }


def wording(element: RealElement, rng: random.Random) -> tuple[str, str]:
    """Return the target and the whole instruction, as a person would type them."""
    kind = "icon" if element.group == "icon" else element.kind
    if kind == "field" and _plain(element.name) in ("search", "quick search", "search field", "search box"):
        kind = "search"
    form, verbs = rng.choice(_WORDINGS[kind])
    verb = rng.choice(verbs)
    if verb == "tick" and element.checked:
        verb = "untick"
    words = element.name.split()
    is_plain = all(word[1:] == word[1:].lower() for word in words)
    name = element.name.rstrip(".… ") if rng.random() < 0.3 else element.name
    target = form.format(n=name, low=name.lower() if is_plain else name)
    return target, f"{verb} {target}"


def absent_of(screens: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield questions for elements of other programs of whose names no word is on the screen."""
    by_kind: dict[str, list[tuple[str, RealElement]]] = defaultdict(list)
    for screen in screens:
        for element in askable([element_from_json(entry) for entry in screen["elements"]]):
            # A screen may well have an icon like it without saying so.
            if element.group != "icon":
                by_kind[element.kind].append((screen["app"], element))
    for screen in screens:
        rng = random.Random(zlib.crc32(screen["screen"].encode()) + 1)
        visible = {word for text in screen["words"] for word in _plain(text).split()}
        asked: set[str] = set()
        for _ in range(60 if by_kind else 0):
            app, element = rng.choice(by_kind[rng.choice(sorted(by_kind))])
            words = set(_plain(element.name).split())
            if app == screen["app"] or not words or words & visible or len(asked) == MAX_ABSENT:
                continue
            if _plain(element.name) in asked:
                continue
            question, instruction = wording(element, rng)
            yield {
                "id": f"{screen['screen']}#no{len(asked)}",
                "image": screen["image"],
                "question": question,
                "style": "pointing",
                "points": [],
                "extra": {
                    "group": element.group,
                    "kind": element.kind,
                    "name": element.name,
                    "instruction": instruction,
                    "size": list(screen["size"]),
                    "app": screen["app"],
                    "from": app,
                    "screen": screen["screen"],
                },
            }
            asked.add(_plain(element.name))
