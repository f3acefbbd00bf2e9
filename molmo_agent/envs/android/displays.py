"""The displays of a phone, as its window and display services report them, and the one that the user looks at.

A phone may have several: both screens of one that folds, a monitor on its cable, virtual displays of apps. Only what is
reported for one of them is used together: its size, its rotation, its window in front. Formats: Android 7 to 16.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from molmo_agent.errors import EnvError, UsageError

# Filtered on the phone: the whole of it is hundreds of kilobytes.
ASK = (
    "dumpsys window | grep -E 'Display: mDisplayId=|mCurrentFocus=|mDreamingLockscreen=|mShowingLockscreen=|"
    "^ *showing=| cur=[0-9]'; dumpsys display | grep -E 'orientation=|DisplayInfo='"
)
MAIN = 0
"""The id of the display that is always there."""

_SIZE = r"(\d+)x(\d+)"


@dataclass(frozen=True, slots=True)
class Display:
    """A display of a phone."""

    # Its logical id, which `input -d` takes.
    id: int
    # (width, height) in the present rotation, in the units of touches; None if not reported.
    size: tuple[int, int] | None = None
    # (width, height) of its pixels in the present rotation; another size after `wm size`. None if not reported.
    pixels: tuple[int, int] | None = None
    # Quarter turns; None if not reported.
    rotation: int | None = None
    # "internal", "external", "virtual", ...; empty if not reported.
    kind: str = ""
    on: bool = True
    # Its physical id, which `screencap -d` takes; empty if not reported, and for virtual displays.
    physical: str = ""
    # The title of the window in front, "com.android.settings/.Settings"; empty while they change.
    focus: str = ""

    def describe(self) -> str:
        """Return ``2 (virtual, 500x500)``."""
        words = [self.kind, "x".join(map(str, self.size or ())), "" if self.on else "off"]
        return f"{self.id} ({', '.join(filter(None, words)) or 'no details'})"


@dataclass(slots=True)
class _Report:
    """What was found about one display."""

    cur: tuple[int, int] | None = None
    init: tuple[int, int] | None = None
    frame: tuple[int, int] | None = None
    rotation: int | None = None
    kind: str = ""
    active: list[bool] = field(default_factory=list)
    physical: str = ""
    focus: str | None = None


def read_displays(dump: str) -> dict[int, Display]:
    """Return the displays in what the phone answers to :data:`ASK`, by id. The main one is always among them."""
    reports: dict[int, _Report] = {MAIN: _Report()}
    _read_windows(dump, reports)
    # Viewports come first: an inactive one may name the display that another viewport shows at present.
    viewports = re.findall(r"DisplayViewport\{([^}]*)\}", dump)
    for text in sorted(viewports, key=_is_inactive):
        _read_viewport(text, reports)
    for text in re.findall(r"m(?:Override|Base)DisplayInfo=DisplayInfo\{(.*)", dump):
        _read_info(text, reports)
    main = reports[MAIN]
    if main.rotation is None and not viewports and (turns := re.search(r"orientation=(\d)", dump)):
        main.rotation = int(turns[1])
    if main.focus is None and (titles := _focuses(dump)):
        # Before Android 10 it is reported for the phone as a whole.
        main.focus = titles[0]
    return {number: _display(number, report) for number, report in sorted(reports.items())}


def choose_display(displays: dict[int, Display], wanted: int | None, serial: str) -> Display:
    """Return a display by its id; None: the main one, or on a folded phone the built-in one that is on.

    Raises:
        UsageError: the phone has no such display.
        EnvError: the display is off.
    """
    if wanted is not None and wanted not in displays:
        raise UsageError(f"the phone {serial!r} has no display {wanted}; it has {describe_displays(displays.values())}")
    display = displays[MAIN if wanted is None else wanted]
    if display.on:
        return display
    others = [other for other in displays.values() if other.on and other.kind == "internal"]
    if wanted is None and others:
        return others[0]
    raise EnvError(
        f"display {display.id} of the phone {serial!r} is off, as on the inner side of a folded phone; it has "
        f"{describe_displays(displays.values())}. Switch it on or unfold the phone, or choose another display"
    )


def describe_displays(displays: Iterable[Display]) -> str:
    """Return ``0 (internal, 1080x2400), 2 (virtual, 500x500)``."""
    return ", ".join(display.describe() for display in displays)


def _read_windows(dump: str, reports: dict[int, _Report]) -> None:
    head, *parts = re.split(r"Display: mDisplayId=(\d+)", dump)
    blocks = list(zip(parts[::2], parts[1::2], strict=True))
    if str(MAIN) not in parts[::2]:
        # What stands under no heading is about the one display that there always is.
        blocks.append((str(MAIN), head))
    for number, block in blocks:
        report = reports.setdefault(int(number), _Report())
        if report.cur is None and (line := re.search(rf"^.* cur={_SIZE}.*$", block, re.MULTILINE)):
            report.cur = int(line[1]), int(line[2])
            report.init = _size(re.search(rf"\binit={_SIZE}", line[0]))
        if report.focus is None and (titles := _focuses(block)):
            report.focus = titles[0]


def _focuses(dump: str) -> list[str]:
    """Return the titles after each ``mCurrentFocus=``, empty where no window has it."""
    lines = re.findall(r"mCurrentFocus=(?:Window\{\S+ (?:u\d+ )?([^}\n]*)\}|null)", dump)
    return [title.strip() for title in lines]


def _is_inactive(viewport: str) -> bool:
    return "isActive=false" in viewport or "valid=false" in viewport


def _read_viewport(text: str, reports: dict[int, _Report]) -> None:
    number = re.search(r"\bdisplayId=(\d+)", text)
    report = reports.setdefault(int(number[1]) if number else MAIN, _Report())
    report.active.append(not _is_inactive(text))
    if report.rotation is None and (turns := re.search(r"\borientation=(\d)", text)):
        report.rotation = int(turns[1])
    frame = re.search(r"logicalFrame=Rect\((\d+), (\d+) - (\d+), (\d+)\)", text)
    if report.frame is None and frame:
        left, top, right, bottom = map(int, frame.groups())
        report.frame = right - left, bottom - top
    _read_words(report, re.search(r"\btype=(\w+)", text), re.search(r"uniqueId='local:(\d+)'", text))


def _read_info(text: str, reports: dict[int, _Report]) -> None:
    if not (number := re.search(r"\bdisplayId (\d+)", text)):
        return
    report = reports.setdefault(int(number[1]), _Report())
    if state := re.search(r"\bstate (\w+)", text):
        report.active.append(state[1] != "OFF")
    if report.rotation is None and (turns := re.search(r"\brotation (\d)\b", text)):
        report.rotation = int(turns[1])
    report.frame = report.frame or _size(re.search(r"\breal (\d+) x (\d+)", text))
    _read_words(report, re.search(r"\btype (\w+)", text), re.search(r'uniqueId "local:(\d+)"', text))


def _read_words(report: _Report, kind: re.Match[str] | None, physical: re.Match[str] | None) -> None:
    # Before Android 10 a viewport and a built-in display may have other words, such as BUILT_IN.
    word = kind[1].lower() if kind else ""
    report.kind = report.kind or ("internal" if word == "built_in" else word)
    report.physical = report.physical or (physical[1] if physical else "")


def _size(match: re.Match[str] | None) -> tuple[int, int] | None:
    return (int(match[1]), int(match[2])) if match else None


def _display(number: int, report: _Report) -> Display:
    size, pixels, rotation = report.cur or report.frame, report.init, report.rotation
    if size and pixels:
        # Reported as in rotation 0.
        turned = rotation % 2 if rotation is not None else (size[0] > size[1]) != (pixels[0] > pixels[1])
        pixels = (pixels[1], pixels[0]) if turned else pixels
    return Display(
        id=number,
        size=size,
        pixels=pixels,
        rotation=rotation,
        kind=report.kind,
        on=any(report.active) or not report.active,
        physical=report.physical,
        focus=report.focus or "",
    )
