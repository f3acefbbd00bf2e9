"""Random phone screens with ground truth: training data, in the same form as the desktop's."""

import random
from dataclasses import replace
from typing import Literal

from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.envs.sim_phone.commands import perform
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.layout import lay_out
from molmo_agent.envs.sim_phone.looks import HELD_OUT_FAMILIES, held_out_look
from molmo_agent.envs.sim_phone.other_words import OtherWords
from molmo_agent.envs.sim_phone.pages import Command
from molmo_agent.envs.sim_phone.state import Phone
from molmo_agent.envs.sim_phone.touch import focus

LookSplit = Literal["train", "held_out_fonts", "held_out_looks"]


def sample_screen(
    seed: int,
    width: int = 360,
    height: int = 640,
    *,
    split: WordSplit = "train",
    look: LookSplit = "train",
    rotation: int | None = None,
) -> Screen:
    """Return a screen: some page of some app, scrolled somewhere, now and then with a menu or the keyboard.

    Args:
        seed: the same seed makes the same screen.
        width: pixels, held upright.
        height: pixels, held upright.
        split: the words that may appear. Fixed texts of every phone ("Settings") are replaced where the split
            excludes them, and on half of the training screens, because real phones word them in many ways.
        look: what training never shows: fonts, or a look (square corners, black and one bright colour).
        rotation: quarter turns; None: one screen in five is held sideways.
    """
    rng = random.Random(f"screen {seed}")
    phone = make_phone(rng.getrandbits(32), width, height, split=split)
    random_rotation = rng.choice((0, 0, 0, 0, 1))
    phone.rotation = random_rotation if rotation is None else rotation
    if rng.random() < 0.85:
        for command in rng.choice(_ways(phone, rng)):
            perform(phone, command)
    if phone.top is not None and (layout := lay_out(phone)) is not None:
        phone.top.offset = rng.randint(0, layout.reach)
        fields = [item.label for item, _ in (*layout.items, *layout.footer) if item.kind == "field"]
        if fields and rng.random() < 0.4:
            focus(phone, rng.choice(fields))
    elif rng.random() < 0.2:
        perform(phone, ("menu", "app", "Clock"), (rng.randrange(width), rng.randrange(height)))
    if look == "held_out_fonts":
        family = rng.choice(HELD_OUT_FAMILIES)
        phone.looks = (replace(phone.looks[0], family=family), replace(phone.looks[1], family=family))
    elif look == "held_out_looks":
        phone.looks = (held_out_look(phone.looks[0], rng), held_out_look(phone.looks[1], rng))
    everywhere = split == "held_out" or rng.random() < 0.5
    words = OtherWords(rng, split, everywhere) if split != "all" else None
    return draw(phone, words).screen


def _ways(phone: Phone, rng: random.Random) -> list[list[Command]]:
    """Return commands that lead to the pages of a phone."""
    note, contact = rng.choice(phone.notes).title, rng.choice(phone.contacts).name
    inside: list[Command] = [
        ("open", "Settings", "display"),
        ("open", "Settings", "sound"),
        ("open", "Clock", "new"),
        ("open", "Contacts", "contact", contact),
        ("open", "Notes", "note", note),
        ("Delete", "note", note),
        ("open", "Messages", "thread", rng.choice(phone.threads).name),
        ("open", "Shop", "product", rng.choice(phone.products).name),
    ]
    own = ("Settings", "Clock", "Contacts", "Notes", "Messages", "Shop")
    # The others all have the same kind of page.
    others = rng.sample([app.label for app in phone.apps if app.label not in own], 2)
    mains: list[list[Command]] = [[("launch", label)] for label in (*own, *others)]
    return [*mains, *([("launch", "Notes" if way[0] == "Delete" else way[1]), way] for way in inside)]
