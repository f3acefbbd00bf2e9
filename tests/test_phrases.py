"""Questions about screens: each has one right answer, judged here by other means than those that made it."""

import re
from collections import Counter
from random import Random

import numpy as np
import pytest

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen, TextRun
from molmo_agent.envs.drawing.words import is_held_out
from molmo_agent.synthetic.referring.absent import misspell
from molmo_agent.synthetic.referring.matching import NOUNS, Description, Scene, beside, in_line, is_extreme
from molmo_agent.synthetic.referring.names import Question, ask_all, describe
from molmo_agent.synthetic.referring.questions import MAX_POINTS, ask
from molmo_agent.synthetic.sample import draw

SOURCES = (("desktop", 640, 480), ("shapes", 400, 300), ("panel", 300, 200), ("page", 160, 210), ("page", 320, 420))
SOURCES += (("phone", 360, 640), (None, 640, 480))
KINDS = {noun.word: noun.kinds for noun in NOUNS} | {
    noun.plural: noun.kinds for noun in NOUNS if noun.word not in ("option",)
}
KINDS |= {word: frozenset({"letter"}) for word in ("letter", "letters", "digit", "digits")}
KINDS |= {word: frozenset({"shape", "letter"}) for word in ("item", "items")}
ATTRIBUTES = re.compile(
    r"^(?:(checked|unchecked|selected|disabled) )?(?:(small|medium|large) )?(?:([a-z]+) )??([a-z][a-z -]*)$"
)


def asked(count: int, **options: float) -> list[tuple[Screen, Question]]:
    found = []
    for number, (style, width, height) in enumerate(SOURCES):
        for seed in range(count):
            screen = draw(1000 * number + seed, style, width=width, height=height, split="train")
            found += [(screen, question) for question in ask(screen, Random(seed), **options)]  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def questions() -> list[tuple[Screen, Question]]:
    return asked(16, none=0.15, several=0.15)


def element(number: int, kind: str, label: str, box: PixelBox, **facts: str) -> Element:
    return Element(number, kind, label, box, visible=True, text=bool(label), **facts)  # type: ignore[arg-type]


def screen_of(*elements: Element, texts: tuple[TextRun, ...] = ()) -> Screen:
    return Screen(np.zeros((200, 300, 3), np.uint8), elements, texts)


def like(screen: Screen, words: str, target: Element) -> list[Element]:
    """Read "small red circles" or "checked checkbox" and return everything visible that it is true of."""
    colors = {e.color for e in screen.elements if e.color} | {None}
    shapes = {e.shape for e in screen.elements if e.kind == "shape"}
    parts = words.split()
    state = parts.pop(0) if parts[0] in ("checked", "unchecked", "selected", "disabled") else None
    size = parts.pop(0) if parts[0] in ("small", "medium", "large") and len(parts) > 1 else None
    color = parts.pop(0) if parts[0] in colors and len(parts) > 1 else None
    noun = " ".join(parts)
    shape = next((s for s in shapes if noun in (s, f"{s}s", f"{s}es")), None)
    kinds = frozenset({"shape"}) if shape else KINDS.get(noun, frozenset())
    if noun in ("option", "options"):
        kinds = frozenset({target.kind})
    assert kinds, words
    digits = noun.startswith("digit")
    return [
        e
        for e in screen.elements
        if e.visible
        and e.kind in kinds
        and (size is None or e.size == size)
        and (color is None or e.color == color)
        and (state is None or e.state == state)
        and (shape is None or e.shape == shape)
        and (e.kind != "letter" or noun in ("item", "items") or e.label.isdigit() == digits)
    ]


def test_all_ways_to_ask_come_up(questions: list[tuple[Screen, Question]]) -> None:
    counts = Counter(question.category for _, question in questions)
    ways = ("place", "order", "neighbour", "look", "shape", "letter", "several", "count", "absent", "window-button")
    assert {name for name in ways if counts[name] < 5} == set()
    assert sum(counts[name] for name in counts if name.startswith("text-")) > 0.2 * counts.total()
    texts = {question.text.split()[0].lower() for _, question in questions}
    assert texts >= {"click", "press", "select", "where", "tick", "close", "type", "open", "find", "the"}


def test_a_label_is_asked_for_where_nothing_else_of_its_kind_is_called_so(
    questions: list[tuple[Screen, Question]],
) -> None:
    checked = 0
    for screen, question in questions:
        if question.named and question.element.kind not in ("shape", "letter"):
            target = question.element
            same = [e for e in screen.elements if e.visible and describe(e).casefold() == describe(target).casefold()]
            assert [e.id for e in same if e.kind == target.kind] == [target.id]
            assert target.visible
            if question.text.strip('"').casefold() == describe(target).casefold():
                assert len(same) == 1, question
                assert sum(run.text.casefold() == question.label for run in screen.texts) <= 1, question
            checked += 1
    assert checked > 500


def test_looks_and_states_fit_what_is_asked_for_and_nothing_else(questions: list[tuple[Screen, Question]]) -> None:
    checked = Counter[str]()
    for screen, question in questions:
        if question.category in ("look", "shape", "letter", "several", "count") and not question.named:
            found = {e.id for e in like(screen, question.label, question.element)}
            assert found == {e.id for e in question.elements}, question
            checked[question.category] += 1
    assert min(checked[name] for name in ("look", "shape", "several", "count")) > 5
    assert max(len(question.elements) for _, question in questions) <= MAX_POINTS


def test_places_are_those_of_the_one_that_is_farthest_there(questions: list[tuple[Screen, Question]]) -> None:
    checked = 0
    for screen, question in questions:
        if question.category != "place":
            continue
        sides = (
            r"((?:(?:top|upper|bottom|lower) (?:left|right))|leftmost|rightmost|topmost|top|highest|bottom|lowest) (.+)"
        )
        found = re.fullmatch(sides, question.label)
        assert found, question
        others = [e for e in like(screen, found[2], question.element) if e is not question.element]
        assert others
        left, top, right, bottom = question.element.box
        for other in others:
            if "left" in found[1]:
                assert left <= other.box[0] + 1, question
            if "right" in found[1]:
                assert right >= other.box[2] - 1, question
            if re.search("top|upper|highest", found[1]):
                assert top <= other.box[1] + 1, question
            if re.search("bottom|lower|lowest", found[1]):
                assert bottom >= other.box[3] - 1, question
        checked += 1
    assert checked > 50


def test_numbers_are_counted_along_one_row_or_column(questions: list[tuple[Screen, Question]]) -> None:
    checked = 0
    names = ("first", "second", "third", "fourth", "fifth", "sixth")
    for screen, question in questions:
        found = re.fullmatch(rf"({'|'.join(names)}|last|middle) (.+?)(?: from the (\w+))?", question.label)
        if question.category != "order":
            continue
        assert found, question
        row = like(screen, found[2], question.element)
        spread = [max(e.center[i] for e in row) - min(e.center[i] for e in row) for i in (0, 1)]
        row.sort(key=lambda e: e.center[spread[1] > spread[0]], reverse=found[3] in ("right", "bottom"))
        number = {"last": -1, "middle": len(row) // 2}.get(found[1])
        assert row[names.index(found[1]) if number is None else number] is question.element, question
        checked += 1
    assert checked > 20


def test_neighbours_are_the_nearest_of_their_kind_on_that_side(questions: list[tuple[Screen, Question]]) -> None:
    checked = 0
    for screen, question in questions:
        if question.category != "neighbour":
            continue
        sides = r"(.+?) (below|under|above|to the left of|to the right of|next to|beside) (.+)"
        found = re.fullmatch(sides, question.label)
        assert found, question
        (anchor,) = [run.box for run in screen.texts if run.text.strip().casefold() == found[3]]
        assert question.beside == anchor

        def distance(box: PixelBox, anchor: PixelBox = anchor) -> float:
            across = max(anchor[0] - box[2], box[0] - anchor[2], 0)
            return float(across**2 + max(anchor[1] - box[3], box[1] - anchor[3], 0) ** 2)

        box = question.element.box
        holds = {
            "below": box[1] >= anchor[3] - 2,
            "under": box[1] >= anchor[3] - 2,
            "above": box[3] <= anchor[1] + 2,
            "to the left of": box[2] <= anchor[0] + 2,
            "to the right of": box[0] >= anchor[2] - 2,
        }
        assert holds.get(found[2], True), question
        for other in like(screen, found[1], question.element):
            middle = [(other.box[i] + other.box[i + 2]) / 2 - (anchor[i] + anchor[i + 2]) / 2 for i in (0, 1)]
            there = {"below": middle[1] > 0, "under": middle[1] > 0, "above": middle[1] < 0}
            there |= {"to the left of": middle[0] < 0, "to the right of": middle[0] > 0}
            around = other.box[0] <= anchor[0] and other.box[2] >= anchor[2] and other.box[1] <= anchor[1]
            if other is not question.element and there.get(found[2], True) and not around:
                assert distance(other.box) > distance(box), question
        checked += 1
    assert checked > 30


def test_what_is_not_there_is_not_there(questions: list[tuple[Screen, Question]]) -> None:
    checked = Counter[str]()
    for screen, question in questions:
        if question.elements:
            continue
        assert question.category == "absent"
        told = {e.label.casefold() for e in screen.elements} | {run.text.casefold() for run in screen.texts}
        color, _, shape = question.label.partition(" ")
        shown = {(e.color, e.shape) for e in screen.elements}
        if question.label in KINDS:
            assert not [e for e in screen.elements if e.kind in KINDS[question.label]], question
            checked["kind"] += 1
        elif (color, shape) not in shown and any(s == shape for _, s in shown | {(None, "square")}):
            checked["shape"] += 1
        assert question.label not in told, question
        assert (color, shape) not in shown, question
        checked["all"] += 1
    assert checked["all"] > 100
    assert checked["kind"] > 10


def test_the_shares_of_questions_without_answer_and_with_several_are_as_chosen() -> None:
    counts = Counter(
        "none" if not question.elements else "several" if question.category in ("several", "count") else "one"
        for _, question in asked(12)
    )
    assert 0.04 < counts["none"] / counts.total() < 0.12
    assert 0.02 < counts["several"] / counts.total() < 0.1
    assert {len(question.elements) for _, question in asked(2, none=0, several=0)} == {1}


def test_the_same_screen_and_chance_ask_the_same() -> None:
    screen = draw(5, "page", width=160, height=210, split="train")
    assert ask(screen, Random(3)) == ask(screen, Random(3))
    assert [q.text for q in ask(screen, Random(3))] != [q.text for q in ask(screen, Random(4))]


def test_at_most_so_many_questions_and_one_of_them_has_a_point() -> None:
    for seed in range(30):
        screen = draw(seed, "panel", width=300, height=300, split="train")
        few = ask(screen, Random(seed), none=0.8, several=0.1, most=3)
        assert len(few) <= 3
        assert any(question.elements for question in few)
    assert ask(screen_of(), Random(0)) == []


def test_made_up_words_are_of_the_split() -> None:
    for seed in range(40):
        screen = draw(seed, "page", width=160, height=210, split="held_out_words")
        for question in ask(screen, Random(seed), none=0.5, split="held_out"):
            name = re.search(r'"([^"]+)"', question.text)
            if question.category == "absent" and name and "and" not in name[1]:
                assert is_held_out(name[1]), question


def test_a_misspelling_differs_in_one_or_two_letters_that_look_different() -> None:
    rng = Random(0)
    for word in ("Submit", "illicit", "OK then", "noon"):
        for _ in range(30):
            other = misspell(word, rng)
            assert other is not None
            changed = [(a, b) for a, b in zip(word, other, strict=True) if a != b]
            assert 1 <= len(changed) <= 2
            assert all(a.isupper() == b.isupper() for a, b in changed)
            assert not any({a.lower(), b.lower()} <= set("ilj") for a, b in changed)
    assert misspell("7 a", rng) is None


BUTTON = next(noun for noun in NOUNS if noun.word == "button")


def test_something_half_hidden_or_alike_makes_a_description_doubtful() -> None:
    button = element(0, "button", "Save", (10, 10, 50, 30))
    wanted = Description(noun=BUTTON)
    assert Scene(screen_of(button)).matches(wanted) == [button]
    hidden = Element(1, "button", "Open", (60, 10, 90, 30), visible=False)
    assert Scene(screen_of(button, hidden)).matches(wanted) is None
    icon = element(1, "icon", "trash", (60, 10, 90, 30), shape="trash")
    assert Scene(screen_of(button, icon)).matches(wanted) is None
    assert Scene(screen_of(button, icon)).matches(Description(noun=BUTTON, name="save")) == [button]
    twice = (
        TextRun("Save", (12.0, 20.0, 30.0, 40.0, 48.0), 12, 28),
        TextRun("SAVE", (100.0, 101, 102, 103, 104), 5, 9),
    )
    assert Scene(screen_of(button, texts=twice)).matches(Description(name="save")) is None


def test_what_two_things_are_called_by_is_not_asked_for() -> None:
    back, key = (
        element(0, "button", "", (5, 5, 25, 25), shape="back"),
        element(1, "navigation", "Back", (5, 150, 45, 190)),
    )
    letter, button = (
        element(2, "letter", "X", (60, 60, 80, 80), color="red"),
        element(3, "button", "X", (100, 60, 140, 80)),
    )
    for seed in range(60):
        texts = {question.text.lower() for question in ask(screen_of(back, key, letter, button), Random(seed), none=0)}
        assert not any("back" in text for text in texts)
        assert not texts & {"x", '"x"', "the x"}
        assert not any("back" in question.text for question in ask_all((back, key), Random(seed)))
    assert any("back" in question.text for question in ask_all((back,), Random(0)))


def test_the_farthest_leads_by_a_margin_and_a_line_is_straight() -> None:
    a, b = element(0, "button", "a", (10, 10, 50, 30)), element(1, "button", "b", (12, 60, 52, 80))
    c = element(2, "button", "c", (110, 12, 150, 32))
    assert not is_extreme(a, [a, b], (-1, 0)), "two pixels are no difference"
    assert is_extreme(a, [a, b], (0, -1))
    assert is_extreme(a, [a, b, c], (-1, -1))
    assert not is_extreme(a, [a], (-1, 0)), "one alone is not the leftmost of any"
    assert in_line([b, a]) == ("column", [a, b])
    assert in_line([c, a]) == ("row", [a, c])
    assert in_line([a, b, c]) is None


def test_beside_means_close_with_no_rival() -> None:
    anchor = (100.0, 50.0, 140.0, 62.0)
    near, far = element(0, "field", "", (100, 70, 180, 90)), element(1, "field", "", (100, 160, 180, 180))
    rival = element(2, "field", "", (190, 70, 260, 90))
    assert beside(anchor, [near, far], (0, 1)) is near
    assert beside(anchor, [far], (0, 1)) is None, "too far away"
    assert beside(anchor, [near, rival], (0, 1)) is near
    assert beside(anchor, [near, element(3, "field", "", (90, 66, 99, 80))], (0, 1)) is None
    assert beside(anchor, [near], (0, -1)) is None
    own = element(4, "button", "here", (95, 45, 145, 67))
    assert beside(anchor, [own], (0, 0)) is None, "the text is written on it"
