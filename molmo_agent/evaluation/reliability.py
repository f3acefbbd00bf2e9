"""Reliability of confidences, as figures ready for JSON and as a diagram."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from molmo_agent.evaluation.metrics.calibration import calibration_error, reliability
from molmo_agent.files import whole_file
from molmo_agent.visible_text import visible_text

PLOT_FILE = "reliability.png"
_SIDE, _MARGIN = 300, 44
_INK, _GRID = (40, 40, 48), (224, 226, 232)
_GRAY, _LINE = (120, 126, 138), (230, 0, 92)


def figures_of(confidences: Sequence[float], hits: Sequence[bool]) -> dict[str, Any]:
    """Return "n", "ece" (the expected calibration error) and "bins": the non-empty bins of equal width.

    Args:
        confidences: in [0, 1], at least one.
        hits: whether each answer was right.
    """
    bins = [asdict(one) for one in reliability(confidences, hits)]
    return {"n": len(hits), "ece": calibration_error(confidences, hits), "bins": bins}


def draw_reliability(series: Mapping[str, Mapping[str, Any]], out: Path) -> Path:
    """Draw the share of hits over the confidence, one panel per series, with the number of answers per bin.

    Args:
        series: figures of :func:`figures_of` by title, at least one; the last is drawn in colour.
        out: a PNG file.
    """
    wide = _SIDE + 2 * _MARGIN
    sheet = Image.new("RGB", (len(series) * wide, wide), "white")
    for number, (title, figures) in enumerate(series.items()):
        color = _LINE if number == len(series) - 1 else _GRAY
        sheet.paste(_panel(title, figures, color), (number * wide, 0))
    with whole_file(out) as part:
        sheet.save(part)
    return out


def draw_calibration(calibration: Mapping[str, Any] | None, out: Path) -> Path | None:
    """Draw the reliability of a model's confidences, before and after calibration.

    Args:
        calibration: the suite's calibration figures; None if the model reports no confidence.
        out: a PNG file; removed if there is nothing to draw.

    Returns:
        ``out``; None if there is nothing to draw.
    """
    if calibration is None:
        out.unlink(missing_ok=True)
        return None
    series = {"not calibrated": calibration["own"], "calibrated": calibration["given"]}
    return draw_reliability({name: one for name, one in series.items() if one}, out)


def _panel(title: str, figures: Mapping[str, Any], color: tuple[int, int, int]) -> Image.Image:
    panel = Image.new("RGB", (_SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN), "white")
    pen, font, small = ImageDraw.Draw(panel), ImageFont.load_default(12), ImageFont.load_default(10)
    left, bottom = _MARGIN + 14, _MARGIN + _SIDE
    pale = tuple(round(255 - (255 - part) * 0.25) for part in color)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x * _SIDE, bottom - y * _SIDE

    pen.text((left, 14), f"{visible_text(title)}: ECE {figures['ece']:.3f}, n = {figures['n']}", fill=_INK, font=font)
    for part in range(5):
        share = part / 4
        pen.line([place(0, share), place(1, share)], fill=_GRID)
        pen.text((left - 6, place(0, share)[1]), f"{share:.2g}", fill=_INK, font=font, anchor="rm")
        pen.text((place(share, 0)[0], bottom + 6), f"{share:.2g}", fill=_INK, font=font, anchor="mt")
    pen.text((left + _SIDE / 2, bottom + 24), "confidence (x), hit rate (y)", fill=_INK, font=font, anchor="mt")
    for one in figures["bins"]:
        (x0, y0), (x1, y1) = place(one["low"], one["hits"] / one["n"]), place(one["high"], 0)
        pen.rectangle([x0 + 2, y0, x1 - 2, y1], fill=pale)
    # Perfect calibration lies on this line.
    pen.line([place(0, 0), place(1, 1)], fill=_GRID, width=2)
    dots = [place(one["confidence"], one["hits"] / one["n"]) for one in figures["bins"]]
    if len(dots) > 1:
        pen.line(dots, fill=color, width=2)
    for dot in dots:
        pen.circle(dot, 3, fill=color)
    for one in figures["bins"]:
        middle = place((one["low"] + one["high"]) / 2, 0)[0]
        pen.text((middle, bottom - 3), f"{one['n']}", fill=_INK, font=small, anchor="mb")
    return panel
