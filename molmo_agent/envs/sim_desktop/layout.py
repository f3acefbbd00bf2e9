"""Place widgets one below the other in a window; widgets that do not fit are omitted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from molmo_agent.envs.drawing.canvas import IntBox
from molmo_agent.envs.drawing.fonts import Face, face
from molmo_agent.envs.sim_desktop.looks import Look
from molmo_agent.envs.sim_desktop.state import Widget


@dataclass(slots=True)
class Flow:
    """A column that widgets are added to from the top.

    Every method returns whether there was room. Coordinates are those of the window's content, in pixels.
    """

    look: Look
    left: int
    top: int
    right: int
    bottom: int
    widgets: list[Widget] = field(default_factory=list)
    # Which tab the widgets belong to.
    page: str | None = None

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """The remaining height in pixels."""
        return self.bottom - self.top

    def add(self, widget: Widget) -> Widget:
        """Add a widget whose box is already set."""
        widget.page = self.page
        self.widgets.append(widget)
        return widget

    def _advance(self, height: int, gap: int | None = None) -> None:
        self.top += height + (self.look.pad if gap is None else gap)

    def part(self, left: int, right: int) -> "Flow":
        """Return a flow beside this one that shares its widgets."""
        return Flow(self.look, left, self.top, right, self.bottom, self.widgets, self.page)

    def text(self, text: str, *, bold: bool = False, font_size: int | None = None, gap: int | None = None) -> bool:
        """Add one line of text."""
        widget = Widget("text", text, (0, 0, 0, 0), bold=bold, font_size=font_size)
        letters = self._face(widget)
        width = letters.width(text)
        if letters.height > self.height or width > self.width:
            return False
        widget.box = (self.left, self.top, self.left + width, self.top + letters.height)
        self.add(widget)
        self._advance(letters.height, gap)
        return True

    def _face(self, widget: Widget) -> Face:
        if widget.font_size:
            return face(widget.family or self.look.family, widget.font_size, widget.bold)
        return self.look.bold if widget.bold else self.look.text

    def field(
        self, label: str, *, side: str, label_width: int = 0, kind: str = "field", value: str = ""
    ) -> Widget | None:
        """Add a field or drop-down with its label at a ``side``: "left", "above" or "inside"; None if no room."""
        look, letters = self.look, self.look.text
        row = look.row
        label_width = max(label_width, letters.width(label))
        if side == "left" and label_width + look.u(60) > self.width:
            side = "above"
        height = row + (letters.height + look.u(3) if side == "above" else 0)
        if height > self.height or label_width > self.width or self.width < look.u(50):
            return None
        top = self.top + height - row
        left = self.left + (label_width + look.u(8) if side == "left" else 0)
        right = min(self.right, left + look.u(330))
        at = None
        if side == "left":
            at = (self.left, top + (row - letters.height) // 2)
        elif side == "above":
            at = (self.left, self.top)
        widget = Widget(kind, label, (left, top, right, top + row), label_at=at, value=value)
        widget.caret = len(value)
        self.add(widget)
        self._advance(height)
        return widget

    def box(self, kind: str, label: str, *, checked: bool = False, group: str = "") -> Widget | None:
        """Add a check box or radio button with its label to the right; None if no room."""
        look, letters = self.look, self.look.text
        side = max(round(letters.size * 1.05), 9)
        height = max(side, letters.height)
        if height > self.height or side + look.u(6) + letters.width(label) > self.width:
            return None
        top = self.top + (height - side) // 2
        at = (self.left + side + look.u(6), self.top + (height - letters.height) // 2)
        widget = Widget(kind, label, (self.left, top, self.left + side, top + side), at, checked=checked, group=group)
        self.add(widget)
        self._advance(height, look.u(5 * look.air))
        return widget

    def button_width(self, label: str, icon: str | None = None) -> int:
        """Return how wide a button with this label is."""
        extra = self.look.text.size + self.look.u(5) if icon else 0
        return max(self.look.text.width(label) + extra + 2 * self.look.u(11), self.look.u(44))

    def buttons(
        self, labels: Sequence[str], *, align: str = "left", primary: int = -1, icon: str | None = None
    ) -> bool:
        """Add a row of buttons; those that do not fit are omitted."""
        look = self.look
        if look.row + look.u(2) > self.height:
            return False
        fitting: list[tuple[str, int]] = []
        total_width = 0
        for label in labels:
            width = self.button_width(label, icon)
            if total_width + width > self.width:
                break
            fitting.append((label, width))
            total_width += width + look.u(8)
        x = self.left if align == "left" else self.right - total_width + look.u(8)
        for i, (label, width) in enumerate(fitting):
            box = (x, self.top, x + width, self.top + look.row + look.u(2))
            self.add(Widget("button", label, box, primary=i == primary % len(labels) and primary >= 0, icon=icon))
            x += width + look.u(8)
        self._advance(look.row + look.u(2))
        return bool(fitting)

    def links(self, labels: Sequence[str], *, vertical: bool = False) -> bool:
        """Add links in a row or, ``vertical``, one below the other."""
        letters = self.look.text
        x = self.left
        if letters.height + 2 > self.height:
            return False
        any_fits = False
        for label in labels:
            width = letters.width(label)
            if x + width > self.right or letters.height + 2 > self.height:
                break
            self.add(Widget("link", label, (x, self.top, x + width, self.top + letters.height + 2)))
            any_fits = True
            if vertical:
                self._advance(letters.height + 2, self.look.u(4))
            else:
                x += width + self.look.u(16)
        if not vertical:
            self._advance(letters.height + 2)
        return any_fits

    def list(
        self,
        label: str,
        items: Sequence[str],
        *,
        rows: int,
        icon: str | None = None,
        columns: Sequence[Sequence[str]] = (),
    ) -> Widget | None:
        """Add a list with a limited number of visible rows; None if not even two fit."""
        row_height = self.look.text.height + 2 * self.look.u(2.5 * self.look.air)
        rows = min(rows, (self.height - 2) // row_height)
        if rows < 2:
            return None
        box = (self.left, self.top, self.right, self.top + rows * row_height + 2)
        widget = Widget("list", label, box, items=list(items), icon=icon, row_height=row_height)
        widget.columns = [list(cells) for cells in columns]
        self.add(widget)
        self._advance(box[3] - box[1])
        return widget

    def slider(self, label: str, level: float, *, label_width: int = 0) -> Widget | None:
        """Add a slider with its label to the left, or above where that is too narrow; None if no room."""
        look, letters = self.look, self.look.text
        knob = look.u(15)
        label_width = max(label_width, letters.width(label))
        beside = label_width + look.u(80) <= self.width
        height = max(knob, letters.height) if beside else letters.height + look.u(3) + knob
        if height > self.height or label_width > self.width:
            return None
        left = self.left + (label_width + look.u(8) if beside else 0)
        right = min(self.right, left + look.u(240))
        top = self.top + ((height - knob) // 2 if beside else height - knob)
        at = (self.left, self.top + ((height - letters.height) // 2 if beside else 0))
        widget = self.add(Widget("slider", label, (left, top, right, top + knob), at, level=level))
        self._advance(height)
        return widget

    def tabs(self, labels: Sequence[str], selected: int) -> bool:
        """Add a row of tabs across the column."""
        look = self.look
        height = look.row + look.u(2)
        if height + look.u(40) > self.height:
            return False
        x = self.left
        count = 0
        for label in labels:
            width = look.text.width(label) + 2 * look.u(10)
            if x + width > self.right:
                break
            self.add(Widget("tab", label, (x, self.top, x + width, self.top + height), group="tabs"))
            x += width
            count += 1
        for widget in self.widgets[-count:] if count else []:
            widget.checked = widget.label == labels[min(selected, count - 1)]
        self.add(Widget("rule", "", (x, self.top + height - 1, self.right, self.top + height), fill=look.edge))
        self._advance(height)
        return count > 1

    def toolbar(self, names: Sequence[str], *, has_frame: bool = False, labels: Sequence[str] = ()) -> bool:
        """Add a row of icons without labels, or with ``labels`` below them."""
        look = self.look
        side = look.row
        room = max((look.small.width(label) for label in labels), default=0) + look.u(8) if labels else 0
        pitch = max(side + look.u(3), room)
        height = side + (look.small.height if labels else 0)
        if height > self.height:
            return False
        count = 0
        for i, name in enumerate(names):
            x = self.left + i * pitch
            if x + pitch > self.right:
                break
            left = x + (pitch - side) // 2
            box: IntBox = (left, self.top, left + side, self.top + side)
            widget = Widget("icon", labels[i] if labels else name, box, icon=name, primary=has_frame)
            if labels:
                widget.label_at, widget.align = (x + pitch // 2, self.top + side), "center"
            self.add(widget)
            count += 1
        self._advance(height, look.u(4))
        return count > 0

    def rule(self) -> bool:
        """Add a horizontal hair line across the column."""
        if self.height < 3:
            return False
        self.add(Widget("rule", "", (self.left, self.top, self.right, self.top + 1)))
        self._advance(1)
        return True
