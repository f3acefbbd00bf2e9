"""The elements of a web page and where they can be clicked. Privileged: for oracles, metrics and training data.

The middle of an element's box may belong to something that lies over it. So the page is queried on a grid of at most
24 x 24 positions for what a click would hit (``document.elementFromPoint``), and an element's box here is the largest
rectangle that hits it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import ImageColor

from molmo_agent.envs.drawing.phrases import kind_in, named_elements, without_quotations
from molmo_agent.geometry import Box

# Excludes the text of the query, which is not a target, and everything outside of the task.
_ELEMENTS_JS = """
const [width, height] = arguments, outside = '#query, #reward-display, #sync-task-cover, #click-canvas, script, style';
const kinds = {A: 'link', BUTTON: 'button', TEXTAREA: 'field', SELECT: 'drop-down', IMG: 'picture'};
const inputs = {button: 'button', submit: 'button', reset: 'button', image: 'button', checkbox: 'checkbox',
    radio: 'radio button', range: 'slider', color: 'button'};
const shapes = ['circle', 'rect', 'polygon', 'ellipse', 'path', 'line', 'text'];
const squeeze = text => (text || '').replace(/\\s+/g, ' ').trim();
function kindOf(el) {
    if (el.tagName == 'INPUT') return inputs[el.type] || 'field';
    const tag = el.tagName.toLowerCase();
    if (shapes.includes(tag)) return tag == 'text' ? 'text' : 'shape';
    if (el.closest('[role=tab], .ui-tabs-nav li') && el.tagName != 'BUTTON') return 'tab';
    if (kinds[el.tagName]) return kinds[el.tagName];
    if (el.closest('.alink')) return 'link';
    const filled = !el.children.length && getComputedStyle(el).backgroundColor != 'rgba(0, 0, 0, 0)';
    return filled && !squeeze(el.textContent) ? 'shape' : 'text';
}
// What is drawn: its form, its colour, and how large it is among drawings.
function lookOf(el, kind, box) {
    const style = getComputedStyle(el), drawn = el instanceof SVGElement;
    const forms = {circle: 'circle', ellipse: 'ellipse', rect: 'rectangle', line: 'line', polygon: 'polygon'};
    let form = forms[el.tagName.toLowerCase()] || '';
    if (form == 'polygon' && el.points.numberOfItems == 3) form = 'triangle';
    if (kind == 'field') form = el.tagName == 'TEXTAREA' ? 'textarea' : 'text';
    if (kind == 'shape' && !drawn) form = 'rectangle';
    if (kind == 'text' && drawn && squeeze(el.textContent).length == 1)
        form = '0' <= squeeze(el.textContent) && squeeze(el.textContent) <= '9' ? 'digit' : 'letter';
    const color = drawn ? style.fill : kind == 'shape' ? style.backgroundColor : '';
    return {form: form, color: color, extent: form == 'letter' || form == 'digit' ? parseFloat(style.fontSize) :
        drawn || kind == 'shape' ? Math.max(box.width, box.height) : 0};
}
function labelOf(el) {
    if (el.tagName == 'INPUT' && ['button', 'submit', 'reset'].includes(el.type)) return squeeze(el.value);
    if (['INPUT', 'TEXTAREA', 'SELECT'].includes(el.tagName)) {
        if (el.labels && el.labels.length) return squeeze(el.labels[0].textContent);
        const after = el.nextSibling && squeeze(el.nextSibling.textContent);
        const ticks = ['checkbox', 'radio'].includes(el.type);
        return (ticks && after) || squeeze(el.placeholder || el.getAttribute('aria-label') || el.name || el.id);
    }
    return squeeze(el.textContent || el.getAttribute('aria-label') || el.getAttribute('alt') || el.title || el.id);
}
function freeRectangle(el, box) {
    const step = Math.max(1, Math.ceil(Math.max(box.width, box.height) / 24));
    const left = Math.max(0, Math.floor(box.left)), top = Math.max(0, Math.floor(box.top));
    const columns = Math.ceil((Math.min(width, box.right) - left) / step);
    const rows = Math.ceil((Math.min(height, box.bottom) - top) / step);
    const free = [];
    for (let r = 0; r < rows; r++) {
        free.push([]);
        for (let c = 0; c < columns; c++) {
            const x = left + c * step + step / 2, y = top + r * step + step / 2;
            const hit = x < width && y < height ? document.elementFromPoint(x, y) : null;
            free[r].push(hit !== null && (hit === el || el.contains(hit) || hit.control === el));
        }
    }
    let best = null, area = 0;
    const heights = new Array(Math.max(columns, 0)).fill(0);
    for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) heights[c] = free[r][c] ? heights[c] + 1 : 0;
        for (let c = 0; c < columns; c++) {
            let low = heights[c];
            for (let end = c; end < columns && low > 0; end++) {
                low = Math.min(low, heights[end]);
                if (low * (end - c + 1) > area) {
                    area = low * (end - c + 1);
                    best = [left + c * step, top + (r + 1 - low) * step,
                        Math.min(left + (end + 1) * step, box.right), Math.min(top + (r + 1) * step, box.bottom)];
                }
            }
        }
    }
    return best;
}
const elements = [];
for (const el of document.body.querySelectorAll('*')) {
    if (el.closest(outside)) continue;
    const box = el.getBoundingClientRect(), kind = kindOf(el);
    if (!box.width || !box.height || box.left >= width || box.top >= height) continue;
    const own = [...el.childNodes].some(node => node.nodeType == 3 && squeeze(node.data));
    if (kind == 'text' && !own) continue;
    const free = freeRectangle(el, box);
    if (free) elements.push({label: labelOf(el).slice(0, 200), kind: kind, id: el.id || '', box: free,
        classes: String(el.getAttribute('class') || ''), checked: !!el.checked, ...lookOf(el, kind, box)});
}
return elements;
"""
# Names of the kinds in instructions; longer names first.
_KIND_NAMES = (
    ("radio button", "radio button"),
    ("text field", "field"),
    ("textbox", "field"),
    ("text box", "field"),
    ("checkbox", "checkbox"),
    ("check box", "checkbox"),
    ("drop-down", "drop-down"),
    ("dropdown", "drop-down"),
    ("button", "button"),
    ("slider", "slider"),
    ("field", "field"),
    ("link", "link"),
    ("tab", "tab"),
)
# Names of forms and the forms that they match; "item" and "widget" match every form.
_FORMS: dict[str, frozenset[str]] = {
    "circle": frozenset({"circle", "ellipse"}),
    "rectangle": frozenset({"rectangle"}),
    "square": frozenset({"rectangle"}),
    "box": frozenset({"rectangle"}),
    "triangle": frozenset({"triangle"}),
    "letter": frozenset({"letter"}),
    "digit": frozenset({"digit"}),
    "shape": frozenset({"circle", "ellipse", "rectangle", "triangle", "polygon"}),
    "item": frozenset({"circle", "ellipse", "rectangle", "triangle", "polygon", "letter", "digit"}),
    "textarea": frozenset({"textarea"}),
    "text": frozenset({"text"}),
}
_KIND_WORDS = {"radio": "radio button", "input": "field", **dict(_KIND_NAMES)}
_ORDINAL = re.compile(r"([1-9])(?:st|nd|rd|th)")
# What a button that closes something looks like: the "x" of a dialog box is labelled Close.
_CROSS = re.compile(r"""(?:the\s+)?["'“”]?[xX×✕✖]["'“”]?(?:\s+(?:button|icon))?""")
_NO_NEWS = frozenset({"a", "an", "the", "into", "on", "widget", "colored", "coloured"})
# All names of CSS; a colour may have two.
_COLORS = {name: ImageColor.getrgb(name) for name in list(ImageColor.colormap)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageElement:
    """Something on a page that a click can hit."""

    label: str
    # button, checkbox, drop-down, field, link, picture, radio button, shape, slider, tab or text.
    kind: str
    # The largest uncovered rectangle inside of it.
    box: Box
    id: str = ""
    classes: str = ""
    checked: bool = False
    # What is drawn: circle, rectangle, triangle, letter, digit, ...; of fields: text or textarea.
    form: str = ""
    # As CSS computes it: "rgb(255, 0, 0)"; of drawings alone.
    color: str = ""
    # CSS pixels, of drawings alone: height of a letter's font, else the longer side.
    extent: float = 0.0


def read_elements(browser: Any, width: int, height: int) -> tuple[PageElement, ...]:
    """Return the clickable elements in a page's upper left ``width`` x ``height`` CSS pixels, in document order."""
    elements = []
    for record in browser.script(_ELEMENTS_JS, width, height):
        left, top, right, bottom = record.pop("box")
        elements.append(PageElement(**record, box=Box.from_pixels(left, top, right, bottom, width, height)))
    return tuple(elements)


def color_names(element: PageElement) -> list[str]:
    """Return the names of a drawing's colour, plain ones and CSS's; empty for other elements."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", element.color)[:3])
    return [name for name, color in _COLORS.items() if color[:3] == numbers]


def is_large(element: PageElement, elements: Sequence[PageElement]) -> bool | None:
    """Return whether a drawing is one of the large ones on its page; None if all have the same size."""
    extents = [other.extent for other in elements if other.extent]
    if not element.extent or max(extents) < 1.5 * min(extents):
        return None
    return element.extent > (max(extents) + min(extents)) / 2


def matches_of_description(elements: Sequence[PageElement], phrase: str) -> list[PageElement] | None:
    """Return the matches of a description by size, colour, form, kind and order; None if the phrase has other words."""
    fits, nth = list(elements), None
    is_described = False
    for word in phrase.replace('"', " ").strip(" .").split():
        lower = word.casefold()
        if lower in _NO_NEWS:
            continue
        if ordinal := _ORDINAL.fullmatch(lower):
            nth = int(ordinal[1])
        elif lower in ("large", "small"):
            fits = [element for element in fits if is_large(element, elements) is (lower == "large")]
        elif lower in _COLORS:
            fits = [element for element in fits if lower in color_names(element)]
        elif lower in _FORMS and any(element.form in _FORMS[lower] for element in elements):
            fits = [element for element in fits if element.form in _FORMS[lower]]
        elif lower in _KIND_WORDS:
            fits = [element for element in fits if element.kind == _KIND_WORDS[lower]]
        elif len(word) == 1 and any(element.label == word and element.extent for element in elements):
            fits = [element for element in fits if element.label == word and element.extent]
        else:
            return None
        is_described = True
    if nth is not None:
        fits = sorted(fits, key=lambda element: (element.box.top, element.box.left))[nth - 1 : nth]
    return fits if is_described else None


def find(elements: tuple[PageElement, ...], phrase: str) -> list[PageElement]:
    """Return the elements that a phrase describes or names; empty if none.

    ``a large red letter``, ``the black colored box``, ``the 2nd textbox`` are descriptions: all matches are returned.
    Any other phrase names elements by label, and by kind if it has one, see :mod:`molmo_agent.envs.drawing.phrases`.
    """
    fits, by_name = matches_of_description(elements, phrase), _matches_of_name(elements, phrase)
    return fits if fits is not None and (fits or not by_name) else by_name


def _matches_of_name(elements: Sequence[PageElement], phrase: str) -> list[PageElement]:
    kind = kind_in(phrase, _KIND_NAMES)

    def label(element: PageElement) -> str:
        return element.label

    # Labels of icons differ from their looks.
    matches = named_elements(phrase, elements, kind, label) or named_elements(
        without_quotations(phrase), elements, kind, label
    )
    if not matches and _CROSS.fullmatch(phrase.strip()):
        matches = [element for element in elements if label(element) == "Close"]
    # "the textbox": there may be only one.
    return matches or [element for element in elements if kind and element.kind == kind]
