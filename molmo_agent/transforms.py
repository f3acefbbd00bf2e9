"""Map points of an image back to the device that it was captured from.

A transform records the history of an image. It starts as the upright capture, in physical pixels. Its steps are the
changes of the image since (``crop``, ``resize``, ``rotate``, ``pad``) and the device's input units
(``scale``, ``offset``). The two ends are independent: image steps change the image end, unit steps the device end.

    ImageTransform.identity(2560, 1600)         # the captured monitor, physical pixels
        .crop(0, 0, 1280, 1600).resize(640, 800)   # the part in the observation
        .scale(2).offset(-1280, 0)                 # input: 2 pixels per unit, left of the main monitor

An image processor describes its crops the same way from ``identity(width, height)`` of the observation, and
``screen.compose(crop)`` maps the crop to the device.

Arithmetic is in exact rationals, so steps that cancel each other have no effect: the rule
``pixel = min(floor(fraction * size), size - 1)`` is applied once, on the pixels of the capture, however long the chain.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from molmo_agent.geometry import Point

# Positions this close to the visible region (in captured pixels) count as on its edge: rounding errors of points.
_EDGE_PX = Fraction(1, 10**6)

# One row of the affine map: (coefficient of the fraction x, of the fraction y, constant), in captured pixels.
_Row = tuple[Fraction, Fraction, Fraction]


def _exact(value: float) -> Fraction:
    """Return the decimal number that a float is printed as, not its binary value: 1.1 is 11/10."""
    return Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)


def _check_size(what: str, width: int, height: int) -> None:
    if not all(isinstance(side, int) and side > 0 for side in (width, height)):
        raise ValueError(f"{what} must be whole pixels, at least 1 x 1, got {width!r} x {height!r}")


@dataclass(frozen=True, slots=True)
class TransformStep:
    """One step: the name of a builder and its arguments."""

    name: str
    values: tuple[float, ...]

    def describe(self) -> str:
        """Return ``crop(0, 0, 1280, 1600)``."""
        return f"{self.name}({', '.join(f'{value:g}' for value in self.values)})"


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """An invertible chain of steps between an image and the device that it was captured from.

    Make one with :meth:`identity` and the builders; each returns a new transform.
    """

    # (width, height) of the upright capture in physical pixels.
    capture_size: tuple[int, int]
    # In the order of the builder calls.
    steps: tuple[TransformStep, ...] = ()

    # Everything below is computed from the two fields above.
    width: int = field(init=False, repr=False, compare=False)
    height: int = field(init=False, repr=False, compare=False)
    _rows: tuple[_Row, _Row] = field(init=False, repr=False, compare=False)
    # (first, past the last) position of the capture that the image shows, per axis, in captured pixels.
    _region: tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]] = field(init=False, repr=False, compare=False)
    # Input unit = captured pixel * factor + shift, as (factor, shift) per axis.
    _units: tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_size("a capture", *self.capture_size)
        width, height = self.capture_size
        zero, one = Fraction(0), Fraction(1)
        self._set(
            width=width,
            height=height,
            _rows=((Fraction(width), zero, zero), (zero, Fraction(height), zero)),
            _region=((zero, Fraction(width)), (zero, Fraction(height))),
            _units=((one, zero), (one, zero)),
        )
        for step in self.steps:
            apply = _STEPS.get(step.name)
            if apply is None:
                raise ValueError(f"expected a step among {', '.join(_STEPS)}, got {step.name!r}")
            try:
                apply(self, *step.values)
            except TypeError as error:
                raise ValueError(f"the values of step {step.name!r} do not fit it, got {step.values!r}") from error

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, name: str, *values: float) -> Self:
        return type(self)(self.capture_size, (*self.steps, TransformStep(name, values)))

    # --- Builders: changes of the image ---------------------------------------------------------------------------

    @classmethod
    def identity(cls, width: int, height: int) -> Self:
        """Return the transform of an untouched capture of ``width`` x ``height`` pixels, one input unit per pixel."""
        return cls((width, height))

    def crop(self, left: int, top: int, right: int, bottom: int) -> Self:
        """Cut out a rectangle of the image's pixels; right and bottom are exclusive."""
        return self._with("crop", left, top, right, bottom)

    def resize(self, width: int, height: int) -> Self:
        """Scale the image to ``width`` x ``height`` pixels, whatever its aspect ratio."""
        return self._with("resize", width, height)

    def rotate(self, degrees: int) -> Self:
        """Turn the image clockwise by 0, 90, 180 or 270 degrees."""
        return self._with("rotate", degrees)

    def pad(self, left: int, top: int, right: int, bottom: int) -> Self:
        """Add borders, in pixels. A point on a border raises ValueError in :meth:`to_device`."""
        return self._with("pad", left, top, right, bottom)

    def compose(self, inner: "ImageTransform") -> Self:
        """Return this transform with the image steps of ``inner`` appended.

        Raises:
            ValueError: ``inner`` starts from an image of another size, or has input units of its own.
        """
        if inner.capture_size != (self.width, self.height):
            raise ValueError(
                f"expected a transform of an image of {self.width} x {self.height} pixels, "
                f"got one of {inner.capture_size[0]} x {inner.capture_size[1]}"
            )
        foreign = [step.describe() for step in inner.steps if step.name in ("scale", "offset")]
        if foreign:
            raise ValueError(f"input units belong to the outer transform, got {', '.join(foreign)} on the inner one")
        return type(self)(self.capture_size, self.steps + inner.steps)

    # --- Builders: the device's input units -----------------------------------------------------------------------

    def scale(self, pixels_per_unit: float, vertical: float | None = None) -> Self:
        """Declare how many physical pixels one input unit is: 1, 1.25, 2 ... (HiDPI); ``vertical`` if it differs."""
        return self._with("scale", pixels_per_unit, pixels_per_unit if vertical is None else vertical)

    def offset(self, x: float, y: float) -> Self:
        """Declare the position of the capture's top left corner; may be negative.

        Before ``scale`` the offset is in physical pixels, after it in input units.
        """
        return self._with("offset", x, y)

    # --- Using ----------------------------------------------------------------------------------------------------

    def to_device(self, point: Point) -> tuple[int, int]:
        """Return the input units (x, y) of the captured pixel under a point of the image.

        Assumes that the operating system maps unit ``u`` to the physical pixel ``floor(u * pixels_per_unit)``. If no
        unit maps to the pixel (HiDPI), returns the unit whose span contains the pixel's middle. The result always
        lies in :attr:`device_region`.

        Raises:
            ValueError: the point is on padding, or no input unit falls into the captured region.
        """
        return self._to_unit(0, self._capture_pixel(0, point)), self._to_unit(1, self._capture_pixel(1, point))

    def from_device(self, x: int, y: int) -> Point:
        """Return the point of the image at the middle of the captured pixel at the input units (x, y).

        Raises:
            ValueError: the image does not show that pixel.
        """
        pixels = []
        for (factor, shift), (first, end), unit in zip(self._units, self._region, (x, y), strict=True):
            pixel = math.floor((unit - shift) / factor)
            if not math.floor(first) <= pixel < math.ceil(end):
                raise ValueError(f"({x}, {y}) is outside of the captured region {self.device_region} (input units)")
            # A crop of a resized image may show only a part of its outermost pixels.
            pixels.append((max(first, Fraction(pixel)) + min(end, Fraction(pixel + 1))) / 2)
        return self.from_capture(*pixels)

    def to_capture(self, point: Point) -> tuple[float, float]:
        """Return the position (x, y) of a point in the upright capture, in pixels with their fractions."""
        return float(self._position(0, point)), float(self._position(1, point))

    def to_whole(self, point: Point) -> Point:
        """Return the point of the whole upright capture that a point of the image shows."""
        (x, y), (width, height) = self.to_capture(point), self.capture_size
        return Point(x / width, y / height)

    def from_capture(self, x_px: float | Fraction, y_px: float | Fraction) -> Point:
        """Return the point of the image that shows a position of the upright capture.

        Raises:
            ValueError: the image does not show that position.
        """
        for position, (first, end) in zip((x_px, y_px), self._region, strict=True):
            if not first - _EDGE_PX <= position <= end + _EDGE_PX:
                raise ValueError(f"the image does not show ({float(x_px):g}, {float(y_px):g}) of its capture")
        (ax, bx, cx), (ay, by, cy) = self._rows
        dx, dy = Fraction(x_px) - cx, Fraction(y_px) - cy
        determinant = ax * by - bx * ay
        x, y = (by * dx - bx * dy) / determinant, (ax * dy - ay * dx) / determinant
        return Point(*(min(max(float(fraction), 0.0), 1.0) for fraction in (x, y)))

    @property
    def device_region(self) -> tuple[int, int, int, int]:
        """The input units that fall into what the image shows: (left, top, right, bottom), the last two exclusive."""
        (left, right), (top, bottom) = self._unit_range(0), self._unit_range(1)
        return left, top, right, bottom

    def describe(self) -> str:
        """Return one line for people: ``capture 2560 x 1600, crop(0, 0, 1280, 1600), scale(2, 2)``."""
        width, height = self.capture_size
        return ", ".join([f"capture {width} x {height}", *(step.describe() for step in self.steps)])

    def to_dict(self) -> dict[str, Any]:
        """Return the chain as JSON-ready values: ``{"capture": [w, h], "steps": [["crop", 0, 0, 9, 9], ...]}``."""
        return {"capture": list(self.capture_size), "steps": [[step.name, *step.values] for step in self.steps]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: a field is missing, a step is unknown or does not fit the image before it.
        """
        try:
            width, height = data["capture"]
            steps = tuple(TransformStep(name, tuple(values)) for name, *values in data["steps"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'expected {{"capture": [w, h], "steps": [[name, ...], ...]}}, got {data!r}') from error
        return cls((width, height), steps)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _position(self, axis: int, point: Point) -> Fraction:
        a, b, c = self._rows[axis]
        # The product is taken in float64 as in `geometry.to_pixel`, so that an untouched capture gives its pixel.
        position = c + Fraction(point.x * float(a) if a else point.y * float(b))
        first, end = self._region[axis]
        if not first - _EDGE_PX <= position <= end + _EDGE_PX:
            raise ValueError(f"({point.x:g}, {point.y:g}) is on the padding of the image; there is nothing to act on")
        return min(max(position, first), end)

    def _capture_pixel(self, axis: int, point: Point) -> int:
        a, b, _ = self._rows[axis]
        position = self._position(axis, point)
        # A pixel includes its left and top edge. In a rotated image, that edge may be on the other side.
        pixel = math.floor(position) if a + b > 0 else math.ceil(position) - 1
        first, end = self._region[axis]
        return min(max(pixel, math.floor(first)), math.ceil(end) - 1)

    def _to_unit(self, axis: int, pixel: int) -> int:
        factor, shift = self._units[axis]
        start, end = pixel * factor + shift, (pixel + 1) * factor + shift
        unit = math.floor((start + end) / 2)
        if unit < start and math.ceil(start) < end:
            unit = math.ceil(start)
        first, past = self._unit_range(axis)
        if first >= past:
            raise ValueError("no input unit falls into the captured region; capture a larger one")
        return min(max(unit, first), past - 1)

    def _unit_range(self, axis: int) -> tuple[int, int]:
        (factor, shift), (first, end) = self._units[axis], self._region[axis]
        return math.ceil(math.floor(first) * factor + shift), math.ceil(math.ceil(end) * factor + shift)

    def _view(self, width: int, height: int, x: _Row, y: _Row) -> None:
        """Set a new image of ``width`` x ``height``; rows ``x`` and ``y`` map its fractions to the old image's."""

        def through(row: _Row) -> _Row:
            a, b, c = row
            return a * x[0] + b * y[0], a * x[1] + b * y[1], a * x[2] + b * y[2] + c

        rows = (through(self._rows[0]), through(self._rows[1]))
        region = []
        for (a, b, c), (first, end) in zip(rows, self._region, strict=True):
            edges = sorted((c, a + b + c))
            region.append((max(first, edges[0]), min(end, edges[1])))
            if region[-1][0] >= region[-1][1]:
                raise ValueError("the crop shows nothing but padding")
        self._set(width=width, height=height, _rows=rows, _region=tuple(region))

    def _crop(self, left: int, top: int, right: int, bottom: int) -> None:
        if not (0 <= left < right <= self.width and 0 <= top < bottom <= self.height):
            raise ValueError(
                f"expected a crop inside {self.width} x {self.height} pixels with left < right and top < bottom, "
                f"got ({left}, {top}, {right}, {bottom})"
            )
        self._window(left, top, right, bottom)

    def _pad(self, left: int, top: int, right: int, bottom: int) -> None:
        if min(left, top, right, bottom) < 0:
            raise ValueError(f"expected borders of 0 pixels or more, got ({left}, {top}, {right}, {bottom})")
        self._window(-left, -top, self.width + right, self.height + bottom)

    def _window(self, left: int, top: int, right: int, bottom: int) -> None:
        if not all(isinstance(edge, int) for edge in (left, top, right, bottom)):
            raise ValueError(f"expected whole pixels, got ({left}, {top}, {right}, {bottom})")
        zero = Fraction(0)
        self._view(
            right - left,
            bottom - top,
            (Fraction(right - left, self.width), zero, Fraction(left, self.width)),
            (zero, Fraction(bottom - top, self.height), Fraction(top, self.height)),
        )

    def _resize(self, width: int, height: int) -> None:
        _check_size("an image", width, height)
        # Fractions of the image do not change.
        self._set(width=width, height=height)

    def _rotate(self, degrees: int) -> None:
        zero, one = Fraction(0), Fraction(1)
        same_x, same_y, over_x, over_y = (one, zero, zero), (zero, one, zero), (-one, zero, one), (zero, -one, one)
        if degrees == 0:
            self._view(self.width, self.height, same_x, same_y)
        elif degrees == 90:
            self._view(self.height, self.width, same_y, over_x)
        elif degrees == 180:
            self._view(self.width, self.height, over_x, over_y)
        elif degrees == 270:
            self._view(self.height, self.width, over_y, same_x)
        else:
            raise ValueError(f"degrees must be 0, 90, 180 or 270 (clockwise), got {degrees!r}")

    def _scale(self, horizontal: float, vertical: float) -> None:
        if not all(math.isfinite(value) and value > 0 for value in (horizontal, vertical)):
            raise ValueError(f"pixels per unit must be a number above 0, got ({horizontal!r}, {vertical!r})")
        ratios = (_exact(horizontal), _exact(vertical))
        self._set(_units=tuple((f / ratio, s / ratio) for (f, s), ratio in zip(self._units, ratios, strict=True)))

    def _offset(self, x: float, y: float) -> None:
        if not all(math.isfinite(value) for value in (x, y)):
            raise ValueError(f"an offset must be finite, got ({x!r}, {y!r})")
        shifts = (_exact(x), _exact(y))
        self._set(_units=tuple((f, s + shift) for (f, s), shift in zip(self._units, shifts, strict=True)))


_STEPS: dict[str, Callable[..., None]] = {
    "crop": ImageTransform._crop,
    "resize": ImageTransform._resize,
    "rotate": ImageTransform._rotate,
    "pad": ImageTransform._pad,
    "scale": ImageTransform._scale,
    "offset": ImageTransform._offset,
}
