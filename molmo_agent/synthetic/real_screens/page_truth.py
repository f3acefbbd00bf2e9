"""From a page in Chromium to the elements that are really visible: role and name from its accessibility tree.

Box, what lies on top, and the text that is drawn come from the document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.envs.web.browser import Browser
from molmo_agent.errors import EnvError
from molmo_agent.synthetic.real_screens.element import KINDS, RealElement
from molmo_agent.synthetic.real_screens.program_truth import clean_name
from molmo_agent.synthetic.real_screens.visible_names import is_readable

_SMALLEST_PX = 8
# Larger ones are pictures that one can click, not icons.
_LARGEST_ICON_PX = 72
_GROUP = "recording"

# `this` is a node. Null where it has no box in the view or something else lies on top at one of nine places; otherwise
# its box in CSS pixels, its tag, and the text that is drawn within it. Fonts of icons draw no text, and text for screen
# readers is one pixel wide.
_MEASURE_JS = r"""function() {
    let el = this.nodeType == 1 ? this : this.parentElement;
    if (!el) return null;
    if (el.tagName == 'OPTION') return null;
    let rects = [...el.getClientRects()].filter(r => r.width > 1 && r.height > 1);
    let labels = el.labels ? [...el.labels] : [];
    let style = getComputedStyle(el);
    // A styled switch: the input itself is hidden, its label is what one clicks.
    if (['checkbox', 'radio'].includes(el.type) && (!rects.length || +style.opacity < 0.1) && labels.length == 1) {
        el = labels[0];
        rects = [...el.getClientRects()].filter(r => r.width > 1 && r.height > 1);
    }
    if (rects.length != 1) return null;
    const box = rects[0];
    if (box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight) return null;
    for (let p = el; p; p = p.parentElement) {
        const s = getComputedStyle(p);
        if (s.visibility != 'visible' || +s.opacity < 0.3 || p.getAttribute('aria-disabled') == 'true') return null;
    }
    for (const fx of [0.15, 0.5, 0.85]) for (const fy of [0.2, 0.5, 0.8]) {
        let hit = document.elementFromPoint(box.left + fx * box.width, box.top + fy * box.height);
        while (hit && hit.shadowRoot) {
            const inner = hit.shadowRoot.elementFromPoint(box.left + fx * box.width, box.top + fy * box.height);
            if (!inner || inner == hit) break;
            hit = inner;
        }
        const mine = hit && (el == hit || el.contains(hit) || labels.some(l => l == hit || l.contains(hit)));
        let round = false;
        for (let h = hit; h && !mine; h = h.parentNode || h.host) if (h == el) round = true;
        if (!mine && !round) return null;
    }
    let text = '';
    const walk = root => {
        for (const node of root.childNodes) {
            if (node.nodeType == 1) {
                if (node.shadowRoot) walk(node.shadowRoot);
                walk(node);
            } else if (node.nodeType == 3 && node.data.trim()) {
                const range = document.createRange();
                range.selectNodeContents(node);
                const r = range.getBoundingClientRect(), p = node.parentElement || el, s = getComputedStyle(p);
                // Only the first: many lists of fonts end in one of emoji.
                const isIcon = /material (icons|symbols)|icon|awesome|glyph/i.test(s.fontFamily.split(',')[0]);
                const clipped = p.getBoundingClientRect().width <= 2 || s.clipPath.includes('50%');
                if (!isIcon && !clipped && r.width > 4 && r.height > 5 && s.visibility == 'visible' && +s.opacity > 0.2
                    && !/^rgba.*, 0\)$/.test(s.color) && r.right > box.left && r.left < box.right) {
                    text += ' ' + node.data;
                }
            }
        }
    };
    walk(el);
    if (el.tagName == 'INPUT') text += ' ' + (el.type == 'image' ? '' : el.value || '') + ' ' + (el.placeholder || '');
    const picture = [...el.querySelectorAll('img, svg, canvas')].map(i => i.getBoundingClientRect());
    return {box: [box.left, box.top, box.width, box.height], tag: el.tagName, text: text.slice(0, 300),
            disabled: !!el.disabled, picture: Math.max(0, ...picture.map(r => Math.max(r.width, r.height)))};
}"""


def page_elements(browser: Browser) -> list[RealElement]:
    """Return what can be seen and used in the view, boxes in pixels of the image."""
    tree = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    elements = []
    for node in tree:
        entry = _named(node)
        if entry is None:
            continue
        role, name = entry
        measured = _measure(browser, node["backendDOMNodeId"])
        if measured and not measured["disabled"]:
            element = element_of(role, name, states_of(node), measured, browser.scale)
            if element is not None:
                elements.append(element)
    browser.devtools("Runtime.releaseObjectGroup", objectGroup=_GROUP)
    return _without_nested(elements)


def _named(node: Mapping[str, Any]) -> tuple[str, str] | None:
    role = node.get("role", {}).get("value", "")
    name = clean_name(str(node.get("name", {}).get("value", "")))
    if node.get("ignored") or role not in KINDS or not name or "backendDOMNodeId" not in node:
        return None
    return role, name


def states_of(node: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the states of an accessibility node that are on."""
    states = []
    for entry in node.get("properties", ()):
        value = entry.get("value", {}).get("value")
        if value is True or value == "true":
            states.append(str(entry["name"]))
    return tuple(states)


def _measure(browser: Browser, backend_id: int) -> Mapping[str, Any] | None:
    try:
        handle = browser.devtools("DOM.resolveNode", backendNodeId=backend_id, objectGroup=_GROUP)["object"]["objectId"]
        reply = browser.devtools(
            "Runtime.callFunctionOn", objectId=handle, functionDeclaration=_MEASURE_JS, returnByValue=True
        )
    except EnvError:
        return None  # the page has replaced it meanwhile
    return reply["result"].get("value")


def element_of(
    role: str, name: str, states: Sequence[str], measured: Mapping[str, Any], scale: int
) -> RealElement | None:
    """Return an element from its role, its name and what was measured; None if nobody would ask for it."""
    left, top, width, height = measured["box"]
    if min(width, height) < _SMALLEST_PX:
        return None
    kind = KINDS[role]
    if kind == "menu":
        return None  # on a page, the role of what opens
    if kind == "dropdown" and measured["tag"] in ("INPUT", "TEXTAREA"):
        kind = "field"
    has_text: bool | None = True
    if kind in ("button", "link", "tab", "menu_item", "radio"):
        has_text = is_readable(name, measured["text"])
        blank = not any(character.isalnum() and character.isascii() for character in measured["text"])
        large = max(width, height) > _LARGEST_ICON_PX or measured["picture"] > _LARGEST_ICON_PX
        if not has_text and (not blank or large):
            has_text = None
        if kind == "menu_item" and not has_text:
            has_text = None
        if kind == "radio" and not has_text:
            has_text = True  # its label stands beside it
    right, bottom = round((left + width) * scale), round((top + height) * scale)
    box = round(left * scale), round(top * scale), right - round(left * scale), bottom - round(top * scale)
    return RealElement(role=role, kind=kind, name=name, box=box, states=tuple(states), has_text=has_text)


def _without_nested(elements: Sequence[RealElement]) -> list[RealElement]:
    """Drop the outer one of two of the same name around the same place, such as a link in a list item."""
    result = []
    for number, element in enumerate(elements):
        left, top, width, height = element.box
        inner = [
            other
            for place, other in enumerate(elements)
            if place > number
            and other.name == element.name
            and left <= other.box[0]
            and top <= other.box[1]
            and other.box[0] + other.box[2] <= left + width
            and other.box[1] + other.box[3] <= top + height
        ]
        if not inner:
            result.append(element)
    return result
