"""Questions with an absent target, many of them similar to an element of the screen."""

from random import Random

from molmo_agent.envs.drawing.annotated_screen import Element
from molmo_agent.envs.drawing.icons import COLORS, ICONS, SHAPES
from molmo_agent.envs.drawing.words import WordSplit, is_held_out, label
from molmo_agent.synthetic.referring.matching import NOUNS, Description, Noun, Scene, shape_noun
from molmo_agent.synthetic.referring.names import KIND_WORDS, Question, is_image
from molmo_agent.synthetic.referring.templates import fill_template

# Letters that look alike at small sizes; a letter is never replaced by one of its own group.
_ALIKE = ("iljtfr1", "oceaqdgpb069", "nmhrukvy", "vwyx", "sz25", "b68", "g9q", "uvo")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TEXT_KINDS = ("button", "link", "checkbox", "radio", "tab", "field", "menu_item", "list_item", "app", "switch", "card")


def misspell(text: str, rng: Random) -> str | None:
    """Return a text with one or two letters replaced by others that look different; None if it is too short."""
    places = [i for i, c in enumerate(text) if c.lower() in _LETTERS]
    if len(places) < 3:
        return None
    letters = list(text)
    for i in rng.sample(places, rng.choice((1, 1, 2))):
        old = letters[i].lower()
        alike = {c for group in _ALIKE if old in group for c in group} | {old}
        new = rng.choice([c for c in _LETTERS if c not in alike])
        letters[i] = new.upper() if letters[i].isupper() else new
    return "".join(letters)


def _wrong_word(scene: Scene, rng: Random, split: WordSplit) -> tuple[str, Element] | None:
    labelled_elements = [e for e in scene.elements if e.visible and e.text and e.kind in _TEXT_KINDS]
    if not labelled_elements:
        return None
    element = rng.choice(labelled_elements)
    name = misspell(element.label, rng) if rng.random() < 0.5 else label(rng, split)
    if name is None or scene.shows(name) or (split != "all" and is_held_out(name) != (split == "held_out")):
        return None
    word = rng.choice(KIND_WORDS[element.kind])
    return rng.choice((f'the "{name}" {word}', f"the {name} {word}", f'"{name}"', name)), element


def _wrong_shape(scene: Scene, rng: Random) -> tuple[str, Element] | None:
    shapes = [e for e in scene.elements if e.kind == "shape" and e.visible and e.shape and e.color]
    if not shapes:
        return None
    element = rng.choice(shapes)
    color, shape = element.color, element.shape
    if rng.random() < 0.5:
        color = rng.choice([c for c in COLORS if c != color])
    else:
        shape = rng.choice([s for s in SHAPES if s != shape])
    assert shape is not None
    assert color is not None
    alike = ("oval", "circle", "ring"), ("square", "diamond"), ("pentagon", "hexagon"), ("gray", "white", "black")
    similar = ("red", "orange", "brown", "pink"), ("blue", "purple", "cyan"), ("yellow", "orange"), ("green", "cyan")
    for other in scene.elements:
        # The target is not absent if somebody might describe another element like this.
        near_shape = other.shape == shape or any({other.shape, shape} <= {*group} for group in alike)
        near_color = other.color in (None, color) or any({other.color, color} <= {*g} for g in (*alike, *similar))
        if other.kind in ("shape", "icon") and near_shape and near_color:
            return None
    description = Description(noun=shape_noun(shape), shape=shape, color=color)
    return (f"the {color} {shape}", element) if scene.matches(description) == [] else None


def _wrong_kind(scene: Scene, rng: Random) -> tuple[str, Element] | None:
    kinds = {e.kind for e in scene.elements}
    absent = [noun for noun in NOUNS if not kinds & (noun.kinds | noun.doubtful)]
    if not absent or not scene.elements:
        return None
    noun: Noun = rng.choice(absent)
    return rng.choice((f"the {noun.word}", f"the {noun.plural}")), rng.choice(scene.elements)


def _wrong_image(scene: Scene, rng: Random) -> tuple[str, Element] | None:
    images = [e for e in scene.elements if e.visible and is_image(e)]
    if not images:
        return None
    name = rng.choice([name for name in ICONS if name not in ("chevron", "maximize", "minus", "close", "stop")])
    if scene.shows(name) or any(e.shape == name for e in scene.elements):
        return None
    return rng.choice((f"the {name} icon", f"{name} icon")), rng.choice(images)


def ask_missing(scene: Scene, rng: Random, split: WordSplit) -> Question | None:
    """Return a question with an absent target; None if the random draw gives no surely absent target.

    Args:
        scene: the screen.
        rng: source of randomness.
        split: the words to draw from.
    """
    roll = rng.random()
    if roll < 0.6:
        candidate = _wrong_word(scene, rng, split)
    elif roll < 0.8:
        candidate = _wrong_shape(scene, rng) or _wrong_image(scene, rng)
    else:
        candidate = _wrong_kind(scene, rng)
    if candidate is None:
        return None
    phrase, like = candidate
    text = fill_template(phrase, like, rng, split)
    return Question((), text, phrase.replace('"', "").removeprefix("the ").lower(), "absent", named=False)
