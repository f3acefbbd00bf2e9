"""Questions about a screen, each with its one right answer: something, several things, or nothing.

What is asked for is told by name, look, state, place, order or neighbour. A description is used only where
:mod:`molmo_agent.synthetic.referring.matching` finds that it fits exactly what is meant and could mean nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.synthetic.referring.absent import ask_missing
from molmo_agent.synthetic.referring.matching import (
    BESIDE,
    DIGIT,
    ITEM,
    LETTER,
    NOUNS,
    PLACES,
    Noun,
    Scene,
    Wanted,
    beside,
    in_line,
    is_extreme,
    shape_noun,
)
from molmo_agent.synthetic.referring.names import (
    KIND_WORDS,
    WINDOW_VERBS,
    Question,
    can_be_named,
    category,
    describe,
    is_image,
    noun_phrases,
)
from molmo_agent.synthetic.referring.templates import CLOSING, put

MOST_POINTS = 6
"""Answers have at most so many points: longer ones would not fit into what the model writes."""

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, slots=True)
class Told:
    """How an element is told from all others."""

    phrase: str
    # What the answer says, and whether that is the element's name.
    label: str
    category: str
    named: bool = False
    # See Question.
    beside: PixelBox | None = None


def bare(phrase: str) -> str:
    """Return what an answer calls a thing: the phrase without article and quotes, in lower case."""
    return phrase.removeprefix("the ").replace('"', "").strip().lower()


def nouns_of(element: Element) -> list[Noun]:
    """Return the words for an element's kind."""
    if element.kind == "letter":
        return [DIGIT if element.label.isdigit() else LETTER]
    found = [noun for noun in NOUNS if element.kind in noun.kinds]
    if element.kind == "shape" and element.shape:
        found += [shape_noun(element.shape)] * 3
    return found


def _naming_noun(element: Element, word: str) -> Noun:
    """Return a word for an element as a noun; where nothing is known about it, any other kind is doubtful."""
    for noun in NOUNS:
        if noun.word == word and element.kind in noun.kinds:
            return noun
    return Noun(word, frozenset((element.kind,)), frozenset((*KIND_WORDS, *WINDOW_VERBS)) - {element.kind}, word)


def by_name(scene: Scene, element: Element, rng: Random) -> Told | None:
    """Tell an element by its label, by the image that it is, or by what happens to the window of a title."""
    name = describe(element).casefold()
    if element.kind == "shape" or not name or not can_be_named(element, scene.titles):
        return None
    kind_words = KIND_WORDS.get(element.kind, ())
    said = describe(element)
    if element.kind in WINDOW_VERBS or is_image(element):
        alike = frozenset(("icon", "app", "button", "navigation")) - {element.kind}
        noun = Noun("", frozenset((element.kind,)), alike, "")
        if scene.fitting(Wanted(noun=noun, name=name)) != [element]:
            return None
        phrases = noun_phrases(element, rng)
        if is_image(element):
            phrases = [f"the {said} icon", f"{said} icon", f"the {said} button", f"the icon of a {said}"]
        return Told(rng.choice(phrases), name, category(element), named=True)
    if not kind_words:
        return None
    if element.kind == "letter":
        noun = nouns_of(element)[0]
        wanted = Wanted(noun=noun, name=name)
        phrases = [f'the {noun.word} "{said}"', f"the {noun.word} {said}"]
        if scene.fitting(Wanted(name=name)) == [element]:
            phrases += [f'"{said}"', f"the {said}"]
    else:
        word = rng.choice(kind_words)
        noun, bare_name = _naming_noun(element, word), Wanted(name=name)
        if rng.random() < 0.4 and scene.fitting(bare_name) == [element]:
            return Told(rng.choice((said, f'"{said}"')), name, category(element), named=True)
        wanted = Wanted(noun=noun, name=name)
        phrases = [
            f'the "{said}" {word}',
            f'the "{said}" {word}',
            f"the {said} {word}",
            f"{said} {word}",
            f'{word} "{said}"',
            f"{word} {said}",
            f'the {word} "{said}"',
        ]
        if element.kind != "text":
            phrases += [
                f'the {word} labeled "{said}"',
                f'the {word} that says "{said}"',
                f"the {word} with the text {said}",
            ]
    if scene.fitting(wanted) != [element]:
        return None
    return Told(rng.choice(phrases), name, category(element), named=True)


def _attributes(element: Element, rng: Random, most: int) -> list[tuple[str, Wanted]]:
    """Return some of the descriptions by size, colour, form and state."""
    found: list[tuple[Noun, str | None, str | None, str | None]] = []
    for noun in nouns_of(element) + ([ITEM] if element.kind in ("shape", "letter") else []):
        if element.kind in ("shape", "letter"):
            facts = ((None, None), (element.size, None), (None, element.color), (element.size, element.color))
            found += [(noun, *fact, None) for fact in dict.fromkeys(facts)]
        else:
            found.append((noun, None, None, None))
            if element.state in ("checked", "unchecked", "selected", "disabled"):
                found.append((noun, None, None, element.state))
    chosen = []
    for noun, size, color, state in rng.sample(found, min(len(found), most)):
        words = " ".join(part for part in (state, size, color, noun.word) if part)
        shape = element.shape if noun.word == element.shape else None
        chosen.append((words, Wanted(noun=noun, shape=shape, size=size, color=color, state=state)))
    return chosen


def by_look(scene: Scene, element: Element, rng: Random) -> Told | None:
    """Tell an element by what it looks like, its kind included: "the red circle", "the text field"."""
    for words, wanted in _attributes(element, rng, 5):
        if scene.fitting(wanted) == [element]:
            kind = "shape" if element.kind == "shape" else "letter" if element.kind == "letter" else "look"
            return Told(f"the {words}", words, kind)
    return None


def by_place(scene: Scene, element: Element, rng: Random) -> Told | None:
    """Tell an element by where it is among its like: "the top right button"."""
    for words, wanted in _attributes(element, rng, 3):
        like = scene.fitting(wanted)
        if not like or len(like) < 2:
            continue
        places = [word for word, step in PLACES.items() if is_extreme(element, like, step)]
        if places:
            word = rng.choice(places)
            phrase = rng.choice((f"the {word} {words}", f"the {word} {words}", f"{word} {words}"))
            return Told(phrase, bare(phrase), "place")
    return None


def by_order(scene: Scene, element: Element, rng: Random) -> Told | None:
    """Tell an element by its number in a row or column of its like: "the second button"."""
    for words, wanted in _attributes(element, rng, 3):
        like = scene.fitting(wanted)
        line = in_line(like) if like and 2 <= len(like) <= 8 else None
        if not like or line is None:
            continue
        direction, ordered = line
        number = next(i for i, other in enumerate(ordered) if other is element)
        from_end = len(ordered) - 1 - number
        start, end = ("left", "right") if direction == "row" else ("top", "bottom")
        phrases = []
        if number < len(_ORDINALS):
            ordinal = _ORDINALS[number]
            phrases += [f"the {ordinal} {words}", f"the {ordinal} {words}", f"the {ordinal} {words} from the {start}"]
        if from_end == 0:
            phrases += [f"the last {words}"] * 2
        if from_end < 3 and len(ordered) > 2:
            phrases.append(f"the {_ORDINALS[from_end]} {words} from the {end}")
        if len(ordered) == 3 and number == 1:
            phrases.append(f"the middle {words}")
        if phrases:
            phrase = rng.choice(phrases)
            return Told(phrase, bare(phrase), "order")
    return None


def by_neighbour(scene: Scene, element: Element, rng: Random) -> Told | None:
    """Tell an element by a text that it stands beside: "the check box next to Agree"."""
    left, top, right, bottom = element.box
    near = [
        (name, box)
        for name, box in scene.anchors
        if box[0] < right + 150 and box[2] > left - 150 and box[1] < bottom + 60 and box[3] > top - 60
    ]
    rng.shuffle(near)
    nouns = [noun for noun in nouns_of(element) if noun.word != "item"]
    if not nouns:
        return None
    noun = rng.choice(nouns)
    like = scene.fitting(Wanted(noun=noun, shape=element.shape if noun.word == element.shape else None))
    if not like:
        return None
    for name, box in near[:6]:
        relations = [word for word, step in BESIDE.items() if beside(box, like, step) is element]
        if relations:
            said = rng.choice((f'"{name}"', name))
            phrase = f"the {noun.word} {rng.choice(relations)} {said}"
            return Told(phrase, bare(phrase), "neighbour", beside=box)
    return None


_Way = Callable[[Scene, Element, Random], Told | None]
_WAYS: tuple[tuple[_Way, float], ...] = (
    (by_name, 10.0),
    (by_look, 1.6),
    (by_place, 1.2),
    (by_order, 1.2),
    (by_neighbour, 1.6),
)


def _ask_one(scene: Scene, element: Element, rng: Random, split: WordSplit) -> Question | None:
    if element.kind in CLOSING and rng.random() < 0.5:
        noun = Noun("", frozenset((element.kind,)), frozenset(), "")
        if scene.fitting(Wanted(noun=noun)) == [element]:
            text = rng.choice(CLOSING[element.kind])
            return Question((element,), text, bare(text), "window-button", named=False)
    ways, weights = [way for way, _ in _WAYS], [weight for _, weight in _WAYS]
    if element.kind in ("shape", "letter"):
        weights[1] = 12.0  # mostly what they are told by
    while any(weights):
        (number,) = rng.choices(range(len(ways)), weights)
        told = ways[number](scene, element, rng)
        if told is not None:
            text = put(told.phrase, element, rng, split)
            return Question((element,), text, told.label, told.category, told.named, beside=told.beside)
        weights[number] = 0.0
    return None


def _several(scene: Scene, rng: Random) -> Question | None:
    """Ask for all things of a description, or for their number."""
    seen = [element for element in scene.elements if element.visible]
    for element in rng.sample(seen, min(len(seen), 4)):
        counted = rng.random() < 0.35
        for _, wanted in _attributes(element, rng, 4):
            like = scene.fitting(wanted)
            if not like or not (1 if counted else 2) <= len(like) <= MOST_POINTS:
                continue
            assert wanted.noun is not None
            parts = (wanted.size, wanted.color, wanted.state, wanted.noun.plural)
            words = " ".join(part for part in parts if part)
            if counted:
                forms: tuple[str, ...] = ("How many {} are there?", "how many {}", "Count the {}.", "count the {}")
            else:
                forms = ("the {}", "all {}", "all the {}", "Point to all {}", "Click on all the {}.", "Select the {}")
            return Question(
                tuple(like),
                rng.choice(forms).format(words),
                words,
                "count" if counted else "several",
                named=False,
                counted=counted,
            )
    return None


def ask(
    screen: Screen,
    rng: Random,
    *,
    none: float = 0.08,
    several: float = 0.06,
    split: WordSplit = "train",
    most: int | None = None,
) -> list[Question]:
    """Ask about a screen: one question for each visible element that can be told, in many ways, and some others.

    Args:
        screen: image and ground truth.
        rng: where chance comes from.
        none: share of questions for what is not there.
        several: share of questions for several things, or for their number.
        split: which words may be made up: what is to be typed, what is not there.
        most: so many questions at most.

    Returns:
        Questions in any order, at least one of them with a point; or none at all, where nothing can be asked for.
    """
    scene = Scene(screen)
    elements = [element for element in scene.elements if element.visible]
    if most is not None and len(elements) > most:
        elements = rng.sample(elements, most)
    questions = [found for element in elements if (found := _ask_one(scene, element, rng, split))]
    if not questions:
        return []
    extra: list[Question] = []
    single = max(1 - none - several, 0.01)
    for _ in range(len(questions)):
        roll = rng.random() * single
        if roll < none and (found := ask_missing(scene, rng, split)):
            extra.append(found)
        if none <= roll < none + several and (found := _several(scene, rng)):
            extra.append(found)
    kept = questions + extra
    rng.shuffle(kept)
    if most is not None and len(kept) > most:
        kept = kept[:most]
        if not any(question.elements for question in kept):
            kept[0] = questions[0]
    return kept
