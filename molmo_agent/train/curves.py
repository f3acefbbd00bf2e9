"""Plot a run's metrics."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from molmo_agent.files import whole_file
from molmo_agent.parse import json_lines

_WIDTH, _HEIGHT, _MARGIN = 460, 240, 44
_INK, _GRID, _LINE = (40, 40, 48), (224, 226, 232), (230, 0, 92)


def draw_curves(metrics: Path, out: Path) -> Path | None:
    """Draw loss, token accuracy, gradient norm, learning rate and held-out loss; return None without any step."""
    if not metrics.exists():
        return None
    records = [record for _, record in json_lines(metrics, nan=True, on_cut_end=warnings.warn)]
    if not records:
        return None
    steps = [record["step"] for record in records]
    charts = {
        "loss per token": [record["loss"] for record in records],
        "share of right tokens": [record["accuracy"] for record in records],
        "gradient norm": [record["gradient_norms"]["total"] for record in records],
        "learning rate of the decoder": [record["learning_rates"]["llm"] for record in records],
    }
    drawings = [_draw_chart(title, steps, values) for title, values in charts.items()]
    measured = [record for record in records if "validation" in record]
    if measured:
        steps = [record["step"] for record in measured]
        for title, key in (("held-out loss per token", "loss"), ("share of exact held-out answers", "exact")):
            drawings.append(_draw_chart(title, steps, [record["validation"][key] for record in measured]))
    sheet = Image.new("RGB", (2 * _WIDTH, (len(drawings) + 1) // 2 * _HEIGHT), "white")
    for number, drawing in enumerate(drawings):
        sheet.paste(drawing, (number % 2 * _WIDTH, number // 2 * _HEIGHT))
    with whole_file(out) as part:
        sheet.save(part)
    return out


def _draw_chart(title: str, steps: Sequence[int], values: Sequence[float]) -> Image.Image:
    chart = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen, font = ImageDraw.Draw(chart), ImageFont.load_default(12)
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * spread, high + 0.05 * spread
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    left, top, right, bottom = _MARGIN + 14, 30, _WIDTH - 16, _HEIGHT - 30
    pen.text((left, 8), title, fill=_INK, font=font)
    for part in range(5):
        y = bottom - part / 4 * (bottom - top)
        pen.line([(left, y), (right, y)], fill=_GRID)
        pen.text((left - 6, y), f"{low + part / 4 * (high - low):.3g}", fill=_INK, font=font, anchor="rm")
    for step, anchor in ((first, "lt"), (last, "rt")):
        pen.text((left if step == first else right, bottom + 6), f"{step}", fill=_INK, font=font, anchor=anchor)
    points = [
        (
            left + (step - first) / (last - first) * (right - left),
            bottom - (value - low) / (high - low) * (bottom - top),
        )
        for step, value in zip(steps, values, strict=True)
    ]
    if len(points) == 1:
        pen.circle(points[0], 3, fill=_LINE)
    else:
        pen.line(points, fill=_LINE, width=2)
    return chart
