"""What is written under and around a point of a screenshot, and which kind of widget it belongs to."""

import re
from collections.abc import Iterator

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.geometry import Box, Point
from molmo_agent.pointers.reading.matching import Segment
from molmo_agent.pointers.reading.scene import Region, Scene
from molmo_agent.pointers.reading.widgets import enclosing, is_framed, mark_beside
from molmo_agent.risk.harmless import CANCEL, MENU_TITLES
from molmo_agent.risk.icons import icon_at
from molmo_agent.risk.target import Kind, Target
from molmo_agent.screen_text import TextReader

# A caption lies this far below its icon at most, in heights of its line.
_BELOW = 3.0
# A dialog is at most this share of the screen, and larger than its buttons.
_LARGEST_DIALOG = 0.6
# Frames of tabs touch each other, or nearly.
_TAB_GAP_PX = 3
_LINE_PX = 60
# A row of a list is about two lines high, and a picture with a caption is at most this share of the screen. Nothing is
# drawn on a place whose levels differ by no more than this within so many pixels.
_ROW, _LARGEST_PICTURE, _BLANK_LEVELS, _BLANK_PX = 1.5, 0.15, 16, 6
# Icons are less than so many lines high and wide.
_PICTURE_LINES = 4
# How wide the borders of frames are, and how far the levels of what is drawn differ from the ground.
_BORDER_PX, _DRAWN = 3, 60
# A strip of tabs has so many names besides the chosen one.
_STRIP_NAMES = 2
# Cells of a table begin at the same place as those above or below.
_COLUMN_PX = 4


def read_scene(image: Image, reader: TextReader) -> Scene:
    """Return the texts and regions of an RGB uint8 image of shape (height, width, 3).

    Raises:
        ModelError: the reader failed.
        UsageError: its program or package is not installed.
    """
    return Scene(image, reader.read(image))


def target_at(scene: Scene, point: Point) -> Target:
    """Return what is under and around a point."""
    segment = _segment_at(scene, point)
    region = _button_around(scene, point)
    if segment is None and region is not None:
        # The point lies beside the words, in their frame.
        inside = [one for one in scene.segments if scene.box(region).contains(one.box.center)]
        segment = inside[0] if len(inside) == 1 and is_framed(scene, inside[0].box) else None
    if segment is None and (option := _option_at(scene, point)) is not None:
        return Target("check box", option.text, dialog=_dialog(scene, point, option))
    if segment is None:
        kind: Kind = "field" if _is_empty_field(scene, region) else "icon"
        icon, likeliest = ("", "") if kind == "field" else icon_at(scene.image, point)
        row = _blank_row(scene, point)
        # What stands below a row of a list or menu is the next row.
        is_in_row = any(one.box.top <= point.y <= one.box.bottom for one in row)
        caption = "" if is_in_row else _caption(scene, point)
        beside = "" if caption else _beside(scene, point)
        near = tuple(dict.fromkeys((*(one.text for one in row), *_below_picture(scene, point))))
        return Target(kind, caption=caption, beside=beside, near=near, icon=icon, likeliest=likeliest)
    row = _row_of(scene, segment)
    beside_cancel = any(CANCEL.covers(one.text) for one in row)
    kind = _kind(scene, segment, row, beside_cancel)
    dialog, opens_list = _dialog(scene, point, segment), kind == "button" and _has_arrow(scene, segment)
    return Target(kind, segment.text, dialog=dialog, beside_cancel=beside_cancel, opens_list=opens_list)


def buttons_of(scene: Scene) -> Iterator[Target]:
    """Yield the buttons with words of a screen, from top to bottom."""
    for segment in scene.segments:
        if _is_word(segment.text) and is_framed(scene, segment.box):
            target = target_at(scene, segment.box.center)
            if target.kind == "button":
                yield target


def _kind(scene: Scene, segment: Segment, row: list[Segment], beside_cancel: bool) -> Kind:
    if _is_in_menu_bar(scene, segment, row):
        return "menu"
    # A button may have an icon that looks like the mark of a check box.
    if is_framed(scene, segment.box) and not _is_in_table(scene, segment):
        return "tab" if not beside_cancel and _is_tab(scene, segment, row) else "button"
    return "check box" if mark_beside(scene, segment.box) is not None else "text"


def _is_in_menu_bar(scene: Scene, segment: Segment, row: list[Segment]) -> bool:
    """Return whether a text stands in a row of short names with two well-known titles of menus beside it."""
    titles = [one for one in row if one.text.casefold() in MENU_TITLES]
    return len(titles) >= 2 and len(segment.words) <= 2 and not is_framed(scene, segment.box)


def _has_arrow(scene: Scene, segment: Segment) -> bool:
    """Return whether something small is drawn at the right end of the frame of a text, and nothing at its left."""
    frame = enclosing(scene, segment.box)
    if frame is None:
        return False
    left, _, right, _ = (round(edge) for edge in scene.pixels(segment.box))
    inner = scene.image[frame.top + _BORDER_PX : frame.bottom - _BORDER_PX]
    before = inner[:, frame.left + _BORDER_PX : max(frame.left, left - _BORDER_PX)]
    after = inner[:, right + _BORDER_PX : frame.right - _BORDER_PX]
    return _drawn_px(before) == 0 and _BORDER_PX < _drawn_px(after) <= frame.height


def _drawn_px(part: Image) -> int:
    """Return how many columns something is drawn in that is not of the colour of the most."""
    if not part.size:
        return 0
    away = np.abs(part.astype(np.int16) - np.median(part.reshape(-1, 3), axis=0)).max(axis=2) > _DRAWN
    return int(away.any(axis=0).sum())


def _is_tab(scene: Scene, segment: Segment, row: list[Segment]) -> bool:
    """Return whether the frame of a text touches those of its neighbours, or is a part of a strip of names."""
    frame = enclosing(scene, segment.box)
    if frame is None:
        return False
    if _is_in_strip(scene, frame, row):
        return True
    for other in row:
        beside = enclosing(scene, other.box)
        if beside is None or beside == frame or abs(beside.top - frame.top) > _TAB_GAP_PX:
            continue
        if min(abs(beside.left - frame.right), abs(frame.left - beside.right)) <= _TAB_GAP_PX:
            return True
    return False


def _is_in_strip(scene: Scene, frame: Region, row: list[Segment]) -> bool:
    """Return whether a frame lies in or beside a strip with two other names at least, which have no frames."""
    strips = [strip for one in row if (strip := enclosing(scene, one.box)) is not None and strip != frame]
    return any(
        strips.count(strip) >= _STRIP_NAMES
        and strip.top <= frame.top
        and frame.bottom <= strip.bottom
        and max(strip.left - frame.right, frame.left - strip.right) <= frame.height / 2
        for strip in strips
    )


def _is_in_table(scene: Scene, segment: Segment) -> bool:
    """Return whether a text is a cell: its row holds two others, and one of them stands below or above a cell too."""
    frame = enclosing(scene, segment.box)
    if frame is None:
        return False
    row = scene.box(frame)
    cells = [one for one in scene.segments if row.contains(one.box.center)]
    height = segment.box.bottom - segment.box.top
    columns = [
        cell
        for cell in cells
        if any(
            abs(one.box.left - cell.box.left) * scene.width <= _COLUMN_PX
            and 0.5 * height < abs(one.box.top - cell.box.top) < 2.5 * height
            for one in scene.segments
        )
    ]
    return len(cells) >= 3 and len(columns) >= 2


def _option_at(scene: Scene, point: Point) -> Segment | None:
    """Return the label at the right of a check box or radio button under a point."""
    x, y = point.to_pixels(scene.width, scene.height)
    for segment in scene.segments:
        if segment.box.top <= point.y <= segment.box.bottom and segment.box.left > point.x:
            mark = mark_beside(scene, segment.box)
            if mark is not None and mark.left <= x < mark.right and mark.top <= y < mark.bottom:
                return segment
    return None


def _blank_row(scene: Scene, point: Point) -> list[Segment]:
    """Return the texts of the row whose blank part is under a point; none where something is drawn there."""
    x, y = point.to_pixels(scene.width, scene.height)
    place = scene.image[max(0, y - _BLANK_PX) : y + _BLANK_PX + 1, max(0, x - _BLANK_PX) : x + _BLANK_PX + 1]
    around = _regions_around(scene, point)
    if not around or int(np.ptp(place, axis=(0, 1)).max()) > _BLANK_LEVELS:
        return []
    row = scene.box(around[0])
    return [
        one
        for one in scene.segments
        if row.contains(one.box.center)
        and abs((one.box.top + one.box.bottom) / 2 - point.y) <= _ROW * (one.box.bottom - one.box.top)
    ]


def _below_picture(scene: Scene, point: Point) -> list[str]:
    """Return the texts right below a picture around a point."""
    texts: list[str] = []
    for picture in _regions_around(scene, point):
        if picture.width * picture.height > _LARGEST_PICTURE * scene.width * scene.height:
            break
        texts += [
            one.text
            for one in scene.segments
            if (one.box.left <= point.x <= one.box.right or _is_under(one, picture, scene))
            and -0.5 <= (one.box.top - picture.bottom / scene.height) / (one.box.bottom - one.box.top) <= _BELOW
        ]
    return texts


def _regions_around(scene: Scene, point: Point) -> list[Region]:
    """Return the regions around a point that are mostly of one colour, smallest first."""
    x, y = point.to_pixels(scene.width, scene.height)
    return [one for one in scene.regions if one.left <= x < one.right and one.top <= y < one.bottom and one.fill > 0.3]


def _is_under(segment: Segment, picture: Region, scene: Scene) -> bool:
    """Return whether a text lies within the columns of a picture that is larger than an icon."""
    left, top, right, bottom = scene.pixels(segment.box)
    is_large = min(picture.width, picture.height) >= _PICTURE_LINES * (bottom - top)
    return is_large and picture.left <= left + _COLUMN_PX and right - _COLUMN_PX <= picture.right


def _segment_at(scene: Scene, point: Point) -> Segment | None:
    """Return the smallest text under a point, with a little space around it."""
    slack_y = 3 / scene.height
    slack_x = 6 / scene.width
    under = [
        one
        for one in scene.segments
        if _is_word(one.text)
        and one.box.left - slack_x <= point.x <= one.box.right + slack_x
        and one.box.top - slack_y <= point.y <= one.box.bottom + slack_y
    ]
    return min(under, key=lambda one: abs((one.box.top + one.box.bottom) / 2 - point.y), default=None)


def _is_word(text: str) -> bool:
    """Return whether a text has a word or number: single letters and signs are mostly icons, read as letters."""
    return re.search(r"[^\W\d_]{2}|\d", text) is not None


def _button_around(scene: Scene, point: Point) -> Region | None:
    """Return the smallest region around a point that is a line or two high, but not wider than half the screen."""
    x, y = point.to_pixels(scene.width, scene.height)
    for region in scene.regions:
        is_around = region.left <= x < region.right and region.top <= y < region.bottom
        if is_around and 14 <= region.height <= 2 * _LINE_PX and region.fill > 0.3:
            return region
    return None


def _is_empty_field(scene: Scene, region: Region | None) -> bool:
    """Return whether a region is an empty field: wide, one line high, of one colour."""
    if region is None or region.fill < 0.85 or region.width < 3 * region.height or region.width >= scene.width - 2:
        return False
    return region.height <= _LINE_PX and not any(scene.box(region).contains(one.box.center) for one in scene.segments)


def _row_of(scene: Scene, segment: Segment) -> list[Segment]:
    """Return the other texts at the height of a text."""
    middle = (segment.box.top + segment.box.bottom) / 2
    return [one for one in scene.segments if one is not segment and one.box.top < middle < one.box.bottom]


def _caption(scene: Scene, point: Point) -> str:
    """Return the words right below a place without any, or an empty string."""
    below = [
        one
        for one in scene.segments
        if one.box.left <= point.x <= one.box.right
        and 0 <= one.box.top - point.y <= _BELOW * (one.box.bottom - one.box.top)
    ]
    return min(below, key=lambda one: one.box.top).text if below else ""


def _beside(scene: Scene, point: Point) -> str:
    """Return the nearest words in the row of a place without any, or an empty string."""
    row = [one for one in scene.segments if one.box.top <= point.y <= one.box.bottom]
    return min(row, key=lambda one: _away(one, point)).text if row else ""


def _away(segment: Segment, point: Point) -> float:
    return min(abs(segment.box.left - point.x), abs(segment.box.right - point.x))


def _dialog(scene: Scene, point: Point, segment: Segment) -> tuple[str, ...]:
    """Return the other texts of the smallest panel around a point, if it is not most of the screen."""
    x, y = point.to_pixels(scene.width, scene.height)
    frame = enclosing(scene, segment.box)
    least = 3.0 * (frame.height if frame is not None else _LINE_PX / 2)
    for region in scene.regions:
        if not (region.left <= x < region.right and region.top <= y < region.bottom) or region.height < least:
            continue
        if region.width * region.height > _LARGEST_DIALOG * scene.width * scene.height:
            return ()
        box: Box = scene.box(region)
        texts = tuple(one.text for one in scene.segments if one is not segment and box.contains(one.box.center))
        if texts:
            return texts
    return ()
