"""A large screen in windows that a small model can read: each is asked about, and the surest answer counts.

A model that shrinks what is larger than its crops cannot read a large screen. Here the picture is cut into as few
windows of one size as cover it, neighbours sharing a strip, so that hardly anything lies in two halves. Each costs what
a small picture does: there are at most six, and on very large screens they are larger instead of more.
"""

import dataclasses
from collections.abc import Sequence
from itertools import product

import numpy as np

from molmo_agent.episode import Image, PointResult
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits
from molmo_agent.pointers.wrapped import WrappedPointer
from molmo_agent.transforms import ImageTransform

# Of a window's side: what neighbours share at least; and how large a picture may be that is still taken whole.
_SHARED, _LARGER = 0.15, 1.25
MOST = 6


def spans(length: int, window: int) -> list[tuple[int, int]]:
    """Return the [first, end) of as few windows as cover a length, evenly spread; all of it if it is hardly longer."""
    if length <= window * _LARGER:
        return [(0, length)]
    shared = round(window * _SHARED)
    count = -(-(length - shared) // (window - shared))
    firsts = [round(number * (length - window) / (count - 1)) for number in range(count)]
    return [(first, first + window) for first in firsts]


def on_canvas(view: ImageTransform, canvases: Sequence[tuple[int, int]]) -> ImageTransform:
    """Return a view, padded right and below to the smallest canvas that holds it; as it is where none does.

    Args:
        view: of an image.
        canvases: (width, height) in pixels.
    """
    fitting = [canvas for canvas in canvases if canvas[0] >= view.width and canvas[1] >= view.height]
    if not fitting:
        return view
    width, height = min(fitting, key=lambda canvas: canvas[0] * canvas[1])
    padding = (width - view.width, height - view.height)
    return view.pad(0, 0, *padding) if any(padding) else view


def windows_of(width: int, height: int, window: tuple[int, int], *, turn: bool = True) -> list[ImageTransform]:
    """Return the views of a picture, row by row; one that is all of it where it is hardly larger than a window.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        window: (width, height) of a window, in pixels.
        turn: turn the window for a picture that is higher than wide.
    """
    across, down = window if width >= height or not turn else window[::-1]
    rows, columns = spans(height, down), spans(width, across)
    while len(rows) * len(columns) > MOST:
        # Rounded up: a side of less than 20 px would never grow.
        across, down = -(-across * 21 // 20), -(-down * 21 // 20)
        rows, columns = spans(height, down), spans(width, across)
    whole = ImageTransform.identity(width, height)
    return [whole.crop(left, top, right, bottom) for (top, bottom), (left, right) in product(rows, columns)]


class WindowedPointer(WrappedPointer):
    """A pointing model that reads large pictures window by window.

    Meant for one thing at a time: of several in different windows only those of the surest window are found.

    Args:
        model: gives a confidence; windows without one count least.
        window: (width, height) in pixels of what the model reads well.
        canvases: (width, height) in pixels of the images it was trained on, where it reads no others: smaller images
            and windows are padded to the smallest canvas that holds them.

    Raises:
        ValueError: a window without an area.
    """

    def __init__(self, model: PointingModel, window: tuple[int, int], canvases: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(model)
        if min(window) < 1:
            raise ValueError(f"expected a window of at least one pixel, got {window[0]}x{window[1]}")
        self.window, self.canvases = window, tuple(canvases)

    @property
    def traits(self) -> ModelTraits:
        """What the model inside says of itself, but that images of any size may come."""
        return dataclasses.replace(model_traits(self.inner), window=None, canvases=())

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions; those about the same array share its windows."""
        parts: dict[int, list[tuple[ImageTransform, Image]]] = {}
        for image in images:
            if id(image) not in parts:
                parts[id(image)] = [(view, _part(image, view)) for view in self.views(image)]
        questions = [
            (part, text) for image, text in zip(images, instructions, strict=True) for _, part in parts[id(image)]
        ]
        answers = iter(self.inner.point_batch([part for part, _ in questions], [text for _, text in questions]))
        return [_surest([(view, next(answers)) for view, _ in parts[id(image)]]) for image in images]

    def views(self, image: Image) -> list[ImageTransform]:
        """Return what each window of an image shows."""
        height, width = image.shape[:2]
        # A turned window is a shape of its own, which a model with canvases has to know.
        turn = not self.canvases or self.window[::-1] in self.canvases
        if any(width <= across and height <= down for across, down in self.canvases):
            views = [ImageTransform.identity(width, height)]
        else:
            views = windows_of(width, height, self.window, turn=turn)
        return [on_canvas(view, self.canvases) for view in views]


def _part(image: Image, view: ImageTransform) -> Image:
    """Return what a view shows; padding has the colour of the image's last pixel, mostly that of the background."""
    part = image
    for step in view.steps:
        left, top, right, bottom = map(int, step.values)
        if step.name == "crop":
            part = part[top:bottom, left:right]
        else:
            part = np.pad(part, ((top, bottom), (left, right), (0, 0)), mode="edge")
    if part.shape == image.shape:
        return image
    part = np.ascontiguousarray(part)
    part.flags.writeable = False
    return part


def _in_whole(view: ImageTransform, result: PointResult) -> PointResult:
    """Return an answer about a view as one about the whole image; ``out_of_range`` for a point in the padding."""
    if not view.steps or result.status != "ok":
        return result
    try:
        points = tuple(dataclasses.replace(one, point=view.to_whole(one.point)) for one in result.points)
    except ValueError:
        reply = f"a point outside of the image, in its padding: {result.reply}"
        return PointResult(status="out_of_range", reply=reply, latency_s=result.latency_s)
    # The reply is about the view.
    return dataclasses.replace(result, points=points, composed=True)


def _surest(answers: Sequence[tuple[ImageTransform, PointResult]]) -> PointResult:
    """Return the surest point; without any, that there is none, or why it is not known."""
    if len(answers) == 1:
        return _in_whole(*answers[0])
    seconds = sum(result.latency_s for _, result in answers)
    placed = [(view, _in_whole(view, result)) for view, result in answers]
    hits = [(view, result) for view, result in placed if result.status == "ok"]
    if hits:
        view, best = max(hits, key=lambda pair: -1.0 if pair[1].confidence is None else pair[1].confidence)
        reply = f"in the window {view.describe()}: {best.reply}"
        return dataclasses.replace(best, reply=reply, latency_s=seconds)
    # A window that was not answered for may hold it.
    unanswered = [result for _, result in placed if result.status != "none"]
    return dataclasses.replace((unanswered or [placed[0][1]])[0], latency_s=seconds)
