"""The families of models that are known: in which scale each generation writes its points, and how it is asked.

The scale follows from the generation in a model's name, or is declared in its address; it is never guessed from
answers. A generation that is not listed is refused: Qwen2-VL, Qwen2.5-VL and Qwen3-VL write 1000ths, pixels, and
1000ths again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.point_text.parse import DIALECTS, SCALES, Scale
from molmo_agent.pointers.served.image_size import ImageLimits

# Image processors of Qwen2-VL and Qwen2.5-VL work in multiples of 28 pixels, those of Qwen3-VL in multiples of 32. For
# answers in pixels the image stays within what every server leaves as it is: llama.cpp and Ollama enlarge images below
# 1024 tokens, hosted servers and older processors shrink those above 1280.
_PIXELS_28 = ImageLimits(multiple=28, min_pixels=1024 * 28 * 28, max_pixels=1280 * 28 * 28)
_RELATIVE_28 = ImageLimits(multiple=28, min_pixels=100 * 28 * 28, max_pixels=2700 * 28 * 28)
_RELATIVE_32 = ImageLimits(multiple=32, min_pixels=256 * 256, max_pixels=2560 * 32 * 32)

_NONE = " If it is not in the image, answer: There are none."
_JSON = 'Point to {}. Answer with JSON: [{{"point_2d": [x, y], "label": "..."}}], '
_CLICK = "Click on {}. Answer with one line: Action: click(start_box='(x,y)')"
_CODE = "Click on {}. Answer with one line: pyautogui.click(x=..., y=...)"
_PAIR = "Point to {}. Answer with its position alone: (x, y)"
_BOX = "Find {}. Answer with its box alone: [x1, y1, x2, y2]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to talk to a model: what it is sent and asked, and how it writes points."""

    # See molmo_agent.point_text.parse; None: the dialect's own scale.
    dialect: str
    scale: Scale | None = None
    question: str = "Point to {}"
    # None: images are sent as they are.
    limits: ImageLimits | None = None

    @property
    def in_pixels(self) -> bool:
        """Whether points are in pixels of the image that is sent."""
        return (self.scale or DIALECTS[self.dialect].scales[0]) == "pixels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models of one name; each generation has a profile.

    Args:
        name: for people.
        pattern: finds the family in a normalized name; the group ``gen`` is the generation.
        generations: generation -> profile; "" is a name without one.
        base: whether other families are built on it and may have its name in theirs.
    """

    name: str
    pattern: str
    generations: Mapping[str, Profile]
    base: bool = False

    @property
    def newest(self) -> Profile:
        """The profile of the last generation that is known."""
        return tuple(self.generations.values())[-1]


def _gen(stem: str, after: str = "") -> str:
    # Not the number of parameters: "7b", "0.5b", "30b".
    return rf"(?<![a-z]){stem}(?![a-z])[-v]*(?P<gen>\d(?:[.-]?\d(?!\d))?(?![\d.]*b(?![a-z])))?{after}"


def _qwen(scale: Scale, limits: ImageLimits) -> Profile:
    unit = "in pixels of the image." if scale == "pixels" else "values from 0 to 1000."
    return Profile(dialect="qwen", scale=scale, question=_JSON + unit + _NONE, limits=limits)


def _gui(question: str, scale: Scale, limits: ImageLimits | None = None) -> Profile:
    return Profile(dialect="gui", scale=scale, question=question, limits=limits)


_GEMINI = Profile(
    dialect="gemini",
    question='Point to {}. Answer with JSON: [{{"point": [y, x], "label": "..."}}], values from 0 to 1000.' + _NONE,
)
_INTERNVL = _gui("Find {}. Answer with its box: <box>[[x1, y1, x2, y2]]</box>." + _NONE, 1000)
_HOLO = 'Point to {}. Answer with JSON: {{"x": ..., "y": ...}}'
_MAI = 'Point to {}. Answer with: <answer>{{"coordinate": [x, y]}}</answer>'

FAMILIES = (
    Family(
        name="Molmo",
        pattern=_gen("molmo(?:e(?![a-z]))?"),
        generations={"": Profile(dialect="molmo"), "1": Profile(dialect="molmo"), "2": Profile(dialect="molmo2")},
    ),
    Family(
        name="UI-TARS",
        pattern=_gen("ui-?tars"),
        generations={
            "": _gui(_CLICK, 1000, _RELATIVE_28),
            "1": _gui(_CLICK, 1000, _RELATIVE_28),
            "1.5": _gui(_CLICK, "pixels", _PIXELS_28),
        },
    ),
    Family(name="OS-Atlas", pattern=_gen("os-?atlas"), generations={"": _gui(_BOX, 1000, _RELATIVE_28)}),
    Family(
        name="GUI-Owl",
        pattern=_gen("gui-?owl"),
        generations={"": _gui(_PAIR, "pixels", _PIXELS_28), "1.5": _gui(_PAIR, 1000, _RELATIVE_32)},
    ),
    Family(
        name="UI-Venus",
        pattern=_gen("ui-?venus"),
        generations={
            "": _gui(_BOX, "pixels", _PIXELS_28),
            "1": _gui(_BOX, "pixels", _PIXELS_28),
            "1.5": _gui(_PAIR, 1000, _RELATIVE_32),
        },
    ),
    Family(
        name="Holo",
        pattern=_gen("holo"),
        generations={
            "1": _gui(_HOLO, "pixels", _PIXELS_28),
            "1.5": _gui(_HOLO, "pixels", _PIXELS_28),
            "2": _gui(_HOLO + ", values from 0 to 1000.", 1000, _RELATIVE_32),
        },
    ),
    Family(name="MAI-UI", pattern=_gen("mai-?ui"), generations={"": _gui(_MAI, 999, _RELATIVE_32)}),
    Family(name="GTA", pattern=_gen("gta"), generations={"1": _gui(_PAIR, "pixels", _PIXELS_28)}),
    Family(name="OpenCUA", pattern=_gen("open-?cua"), generations={"": _gui(_CODE, "pixels", _PIXELS_28)}),
    Family(name="Jedi", pattern=_gen("jedi"), generations={"": _gui(_PAIR, "pixels", _PIXELS_28)}),
    Family(name="UGround", pattern=_gen("uground"), generations={"1": _gui(_PAIR, 1000, _RELATIVE_28)}),
    Family(name="Aguvis", pattern=_gen("aguvis"), generations={"": _gui(_CODE, 1, _RELATIVE_28)}),
    Family(
        name="ShowUI",
        pattern=_gen("show-?ui"),
        generations={"": _gui("Point to {}. Answer with [x, y], from 0 to 1.", 1, _RELATIVE_28)},
    ),
    Family(
        name="RoboPoint",
        pattern=_gen("robopoint"),
        generations={"": Profile(dialect="tuple"), "1": Profile(dialect="tuple")},
    ),
    Family(
        name="Gemini",
        pattern=_gen("gemini(?:-robotics-er)?"),
        generations=dict.fromkeys(("1.5", "2", "2.5", "3"), _GEMINI),
        base=True,
    ),
    Family(
        name="InternVL",
        pattern=_gen("intern-?vl"),
        generations=dict.fromkeys(("2", "2.5", "3", "3.5"), _INTERNVL),
        base=True,
    ),
    Family(
        name="Qwen-VL",
        # From 3.5 on, models without "VL" in their names see images too; before, those read text alone.
        pattern=_gen("qwen", "(?:-?vl|(?<=[3-9][.-][0-9])|(?<=[3-9][5-9])(?![0-9]))(?![a-z])"),
        generations={
            # It may answer with boxes in its own tokens, too.
            "2": replace(_qwen(1000, _RELATIVE_28), dialect="gui"),
            "2.5": _qwen("pixels", _PIXELS_28),
            "3": _qwen(1000, _RELATIVE_32),
            "3.5": _qwen(1000, _RELATIVE_32),
        },
        base=True,
    ),
)
"""Known families. Their own reports, model cards and code say what the scales are."""

OPTIONS = ("dialect", "scale", "max_tokens", "max_pixels")
"""What the address of a model can declare, after its name."""


def _normalized(model: str) -> str:
    """Return a name in the spelling that the patterns expect: lower case, "-" between words, "2.5" for "2p5"."""
    plain = re.sub(r"[_\s]+", "-", model.lower())
    return re.sub(r"(?<=\d)p(?=\d)", ".", plain)


def _generation(text: str | None) -> str:
    return ".".join(re.findall(r"\d", text or "")).removesuffix(".0")


def _elsewhere(plain: str, match: re.Match[str]) -> str:
    """Return a generation that stands further on in a name, such as ``ui-venus-ground-1.5-8b``; "" if there is none."""
    number = re.match(r"[^/:]*?(?<![\da-z.])v?(\d\.\d)(?![\d.]*b|\d)", plain[match.end() :])
    return number[1] if number else ""


def _matches(model: str) -> list[tuple[Family, str]]:
    """Return the families that a name mentions, those built on others first, each with the generation."""
    plain = _normalized(model)
    matches = [
        (family, _generation(match["gen"] or _elsewhere(plain, match)))
        for family in FAMILIES
        for match in re.finditer(family.pattern, plain)
    ]
    return sorted(matches, key=lambda match: match[0].base)


def generation_of(model: str, family: str) -> str | None:
    """Return the generation that a name gives of a family; None if it names another family, or none of them."""
    matches = _matches(model)
    return matches[0][1] or None if [one.name for one, _ in matches] == [family] else None


def _how_to_declare(model: str, dialect: str = "gui") -> str:
    scales = DIALECTS[dialect].scales
    if len(scales) == 1:
        return f"declare how it writes points: ...#{model}?dialect={dialect}"
    return (
        f"declare how it writes points: ...#{model}?dialect={dialect}&scale=1000 "
        f"(scale: {', '.join(map(str, scales))}; dialect: {', '.join(DIALECTS)})"
    )


def profile_of_name(model: str) -> Profile:
    """Return the profile of a model by its name.

    Raises:
        UsageError: a name of no known family, of an unknown generation, or of generations with different scales.
    """
    matches = _matches(model)
    if not matches:
        names = ", ".join(family.name for family in FAMILIES)
        raise UsageError(f"{model!r} is of no family whose scale is known ({names}); {_how_to_declare(model)}")
    for family, generation in matches:
        if generation not in family.generations:
            names = ", ".join(filter(None, family.generations)) or "no other generation"
            got = f"generation {generation}" if generation else "no generation in its name"
            raise UsageError(
                f"{model!r}: the scale of {family.name} depends on its generation; known: {names}; got {got}. "
                f"Use the model's full name, or {_how_to_declare(model, family.newest.dialect)}"
            )
    profiles = [family.generations[generation] for family, generation in matches]
    if len({(profile.scale or profile.dialect) for profile in profiles}) > 1:
        names = " and ".join(f"{family.name} {generation}".strip() for family, generation in matches)
        raise UsageError(f"{model!r} names {names}, which write points in different scales; {_how_to_declare(model)}")
    return profiles[0]


def read_scale(text: str) -> Scale:
    """Return a declared scale.

    Raises:
        UsageError: there is no such scale.
    """
    for scale in SCALES:
        if str(scale) == text.strip().lower():
            return scale
    raise UsageError(f"expected one of the scales {', '.join(map(str, SCALES))}, got {text!r}")


def profile_of(
    model: str, dialect: str | None = None, scale: Scale | None = None, max_pixels: int | None = None
) -> Profile:
    """Return the profile of a model, by its name and by what is declared.

    Args:
        model: the name that the server knows it by.
        dialect: how it writes points; None: as its family does.
        scale: the scale of its points; None: that of its generation, or the dialect's.
        max_pixels: the server shrinks images with more pixels; None: the family's limit.

    Raises:
        UsageError: the name says too little, or the declaration does not fit.
    """
    if dialect is not None and dialect not in DIALECTS:
        raise UnknownNameError("dialect", dialect, DIALECTS)
    try:
        profile = profile_of_name(model)
    except UsageError:
        if dialect is None and scale is None:
            raise
        profile = None
    if profile is None or (dialect is not None and dialect != profile.dialect):
        if profile is not None and dialect is not None and profile.scale in DIALECTS[dialect].scales:
            scale = scale or profile.scale
        profile = _declared(model, dialect, scale)
    if scale is not None and scale not in DIALECTS[profile.dialect].scales:
        known = " or ".join(map(str, DIALECTS[profile.dialect].scales))
        raise UsageError(f"the dialect {profile.dialect!r} has the scale {known}, got scale={scale}")
    if scale is not None and scale != profile.scale:
        profile = replace(profile, scale=scale, question=_question(profile.dialect, scale))
    if profile.in_pixels and profile.limits in (None, _RELATIVE_28):
        profile = replace(profile, limits=_PIXELS_28)
    if max_pixels is not None:
        limits = profile.limits or ImageLimits(multiple=1, min_pixels=1, max_pixels=max_pixels)
        profile = replace(
            profile, limits=replace(limits, max_pixels=max_pixels, min_pixels=min(limits.min_pixels, max_pixels))
        )
    return profile


def _declared(model: str, dialect: str | None, scale: Scale | None) -> Profile:
    """Return the profile of a dialect that a user names, or of a scale alone."""
    family = next((family for family, _ in _matches(model)), None)
    if dialect is None:
        dialect = family.newest.dialect if family else "gui"
    if scale is None and (dialect == "gui" or (family and len(DIALECTS[dialect].scales) > 1)):
        raise UsageError(
            f"{model!r}: the dialect {dialect!r} is written in several scales; {_how_to_declare(model, dialect)}"
        )
    return Profile(dialect=dialect, scale=scale, question=_question(dialect, scale))


def _question(dialect: str, scale: Scale | None) -> str:
    """Return a question that names the form of the answer, for a model whose own wording is not known."""
    unit = "in pixels of the image." if scale in (None, "pixels") else f"values from 0 to {scale}."
    return {"qwen": _JSON + unit + _NONE, "gemini": _GEMINI.question, "gui": f"{_PAIR}, {unit}{_NONE}"}.get(
        dialect, "Point to {}"
    )
