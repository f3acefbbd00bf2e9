"""Questions about a screen, each with a unique answer: one target, several targets, or none.

Expressions identify a target by name, look, state, position, order or neighbour. An expression is used only if
:mod:`molmo_agent.synthetic.referring.matching` shows that it matches exactly the target and is not ambiguous.
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
    Description,
    Noun,
    Scene,
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
from molmo_agent.synthetic.referring.templates import CLOSING, fill_template

MAX_POINTS = 6
"""Maximum number of points in an answer; the model's replies have no room for more."""

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, slots=True)
class Expression:
    """A referring expression that identifies one element."""

    phrase: str
    # The label in the answer, and whether it is the element's name.
    label: str
    category: str
    named: bool = False
    # See Question.
    beside: PixelBox | None = None


def bare(phrase: str) -> str:
    """Return the label of an answer: the phrase without article and quotes, in lower case."""
    return phrase.removeprefix("the ").replace('"', "").strip().lower()


def nouns_of(element: Element) -> list[Noun]:
    """Return the nouns for an element's kind."""
    if element.kind == "letter":
        return [DIGIT if element.label.isdigit() else LETTER]
    nouns = [noun for noun in NOUNS if element.kind in noun.kinds]
    if element.kind == "shape" and element.shape:
        nouns += [shape_noun(element.shape)] * 3
    return nouns


def _naming_noun(element: Element, word: str) -> Noun:
    """Return a word for an element as a noun; if the word is not in the table, all other kinds are doubtful."""
    for noun in NOUNS:
        if noun.word == word and element.kind in noun.kinds:
            return noun
    return Noun(word, frozenset((element.kind,)), frozenset((*KIND_WORDS, *WINDOW_VERBS)) - {element.kind}, word)


def by_name(scene: Scene, element: Element, rng: Random) -> Expression | None:
    """Identify an element by its label, by its image, or by what it does to the window with a title."""
    name = describe(element).casefold()
    if element.kind == "shape" or not name or not can_be_named(element, scene.titles):
        return None
    kind_words = KIND_WORDS.get(element.kind, ())
    phrase = describe(element)
    if element.kind in WINDOW_VERBS or is_image(element):
        alike = frozenset(("icon", "app", "button", "navigation")) - {element.kind}
        noun = Noun("", frozenset((element.kind,)), alike, "")
        if scene.matches(Description(noun=noun, name=name)) != [element]:
            return None
        phrases = noun_phrases(element, rng)
        if is_image(element):
            phrases = [f"the {phrase} icon", f"{phrase} icon", f"the {phrase} button", f"the icon of a {phrase}"]
        return Expression(rng.choice(phrases), name, category(element), named=True)
    if not kind_words:
        return None
    if element.kind == "letter":
        noun = nouns_of(element)[0]
        description = Description(noun=noun, name=name)
        phrases = [f'the {noun.word} "{phrase}"', f"the {noun.word} {phrase}"]
        if scene.matches(Description(name=name)) == [element]:
            phrases += [f'"{phrase}"', f"the {phrase}"]
    else:
        word = rng.choice(kind_words)
        noun, bare_name = _naming_noun(element, word), Description(name=name)
        if rng.random() < 0.4 and scene.matches(bare_name) == [element]:
            return Expression(rng.choice((phrase, f'"{phrase}"')), name, category(element), named=True)
        description = Description(noun=noun, name=name)
        phrases = [
            f'the "{phrase}" {word}',
            f'the "{phrase}" {word}',
            f"the {phrase} {word}",
            f"{phrase} {word}",
            f'{word} "{phrase}"',
            f"{word} {phrase}",
            f'the {word} "{phrase}"',
        ]
        if element.kind != "text":
            phrases += [
                f'the {word} labeled "{phrase}"',
                f'the {word} that says "{phrase}"',
                f"the {word} with the text {phrase}",
            ]
    if scene.matches(description) != [element]:
        return None
    return Expression(rng.choice(phrases), name, category(element), named=True)


def _attributes(element: Element, rng: Random, most: int) -> list[tuple[str, Description]]:
    """Return a random selection of the descriptions by size, colour, shape and state."""
    options: list[tuple[Noun, str | None, str | None, str | None]] = []
    for noun in nouns_of(element) + ([ITEM] if element.kind in ("shape", "letter") else []):
        if element.kind in ("shape", "letter"):
            facts = ((None, None), (element.size, None), (None, element.color), (element.size, element.color))
            options += [(noun, *fact, None) for fact in dict.fromkeys(facts)]
        else:
            options.append((noun, None, None, None))
            if element.state in ("checked", "unchecked", "selected", "disabled"):
                options.append((noun, None, None, element.state))
    descriptions = []
    for noun, size, color, state in rng.sample(options, min(len(options), most)):
        words = " ".join(part for part in (state, size, color, noun.word) if part)
        shape = element.shape if noun.word == element.shape else None
        descriptions.append((words, Description(noun=noun, shape=shape, size=size, color=color, state=state)))
    return descriptions


def by_look(scene: Scene, element: Element, rng: Random) -> Expression | None:
    """Identify an element by its look, including its kind: "the red circle", "the text field"."""
    for words, description in _attributes(element, rng, 5):
        if scene.matches(description) == [element]:
            kind = "shape" if element.kind == "shape" else "letter" if element.kind == "letter" else "look"
            return Expression(f"the {words}", words, kind)
    return None


def by_place(scene: Scene, element: Element, rng: Random) -> Expression | None:
    """Identify an element by its position among elements of its kind: "the top right button"."""
    for words, description in _attributes(element, rng, 3):
        like = scene.matches(description)
        if not like or len(like) < 2:
            continue
        places = [word for word, step in PLACES.items() if is_extreme(element, like, step)]
        if places:
            word = rng.choice(places)
            phrase = rng.choice((f"the {word} {words}", f"the {word} {words}", f"{word} {words}"))
            return Expression(phrase, bare(phrase), "place")
    return None


def by_order(scene: Scene, element: Element, rng: Random) -> Expression | None:
    """Identify an element by its number in a row or column of its kind: "the second button"."""
    for words, description in _attributes(element, rng, 3):
        like = scene.matches(description)
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
            return Expression(phrase, bare(phrase), "order")
    return None


def by_neighbour(scene: Scene, element: Element, rng: Random) -> Expression | None:
    """Identify an element by a text beside it: "the check box next to Agree"."""
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
    like = scene.matches(Description(noun=noun, shape=element.shape if noun.word == element.shape else None))
    if not like:
        return None
    for name, box in near[:6]:
        relations = [word for word, step in BESIDE.items() if beside(box, like, step) is element]
        if relations:
            quoted = rng.choice((f'"{name}"', name))
            phrase = f"the {noun.word} {rng.choice(relations)} {quoted}"
            return Expression(phrase, bare(phrase), "neighbour", beside=box)
    return None


_Way = Callable[[Scene, Element, Random], Expression | None]
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
        if scene.matches(Description(noun=noun)) == [element]:
            text = rng.choice(CLOSING[element.kind])
            return Question((element,), text, bare(text), "window-button", named=False)
    ways, weights = [way for way, _ in _WAYS], [weight for _, weight in _WAYS]
    if element.kind in ("shape", "letter"):
        weights[1] = 12.0  # mostly by their look
    while any(weights):
        (number,) = rng.choices(range(len(ways)), weights)
        expression = ways[number](scene, element, rng)
        if expression is not None:
            text = fill_template(expression.phrase, element, rng, split)
            return Question(
                (element,), text, expression.label, expression.category, expression.named, beside=expression.beside
            )
        weights[number] = 0.0
    return None


def _several(scene: Scene, rng: Random) -> Question | None:
    """Ask for all elements that match a description, or for their number."""
    visible = [element for element in scene.elements if element.visible]
    for element in rng.sample(visible, min(len(visible), 4)):
        asks_count = rng.random() < 0.35
        for _, description in _attributes(element, rng, 4):
            like = scene.matches(description)
            if not like or not (1 if asks_count else 2) <= len(like) <= MAX_POINTS:
                continue
            assert description.noun is not None
            parts = (description.size, description.color, description.state, description.noun.plural)
            words = " ".join(part for part in parts if part)
            if asks_count:
                forms: tuple[str, ...] = ("How many {} are there?", "how many {}", "Count the {}.", "count the {}")
            else:
                forms = ("the {}", "all {}", "all the {}", "Point to all {}", "Click on all the {}.", "Select the {}")
            return Question(
                tuple(like),
                rng.choice(forms).format(words),
                words,
                "count" if asks_count else "several",
                named=False,
                counted=asks_count,
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
    """Return questions about a screen: one per visible element with a unique expression, and some others.

    Args:
        screen: image and ground truth.
        rng: source of randomness.
        none: share of questions with an absent target.
        several: share of questions about several targets or their number.
        split: the words to draw from, for texts to type and absent targets.
        most: maximum number of questions.

    Returns:
        Questions in random order, at least one of them with a target; empty if no element has a unique expression.
    """
    scene = Scene(screen)
    elements = [element for element in scene.elements if element.visible]
    if most is not None and len(elements) > most:
        elements = rng.sample(elements, most)
    questions = [candidate for element in elements if (candidate := _ask_one(scene, element, rng, split))]
    if not questions:
        return []
    extra: list[Question] = []
    single = max(1 - none - several, 0.01)
    for _ in range(len(questions)):
        roll = rng.random() * single
        if roll < none and (candidate := ask_missing(scene, rng, split)):
            extra.append(candidate)
        if none <= roll < none + several and (candidate := _several(scene, rng)):
            extra.append(candidate)
    selection = questions + extra
    rng.shuffle(selection)
    if most is not None and len(selection) > most:
        selection = selection[:most]
        if not any(question.elements for question in selection):
            selection[0] = questions[0]
    return selection
