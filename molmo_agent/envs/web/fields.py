"""The page that is shown, and its field with the keyboard focus."""

from collections.abc import Callable
from typing import Any

from molmo_agent.envs.web.browser import Browser
from molmo_agent.errors import ActionRefused

# The focused element, also in a frame of the same site or in a component; [left, top] is where its frame is.
_FOCUSED_JS = """
let element = document.activeElement, left = 0, top = 0;
for (let inner = element; inner; ) {
    element = inner;
    inner = null;
    if (element.shadowRoot) inner = element.shadowRoot.activeElement;
    try {
        if (element.contentDocument) {
            inner = element.contentDocument.activeElement;
            const frame = element.getBoundingClientRect();
            if (inner) [left, top] = [left + frame.left + element.clientLeft, top + frame.top + element.clientTop];
        }
    } catch (error) { }
}
"""
# What the page is, since when it is there, and which element has the focus: its place in the tree, and its box.
_FRONT_JS = (
    _FOCUSED_JS
    + """
const path = [];
for (let node = element; node; node = node.parentNode || node.host)
    path.push(node.parentNode ? [...node.parentNode.childNodes].indexOf(node) : 0);
const name = element ? element.tagName.toLowerCase() + (element.id ? '#' + element.id : '') : '';
const box = element && element.getBoundingClientRect(), none = !element || ['body', 'html'].includes(name);
return {
    page: location.href + ' (since ' + performance.timeOrigin + ')',
    field: name + ' (' + path.reverse().join('.') + ')',
    box: none ? null : [left + box.left, top + box.top, left + box.right, top + box.bottom]
};
"""
)
# Selects in it; returns what is in the way.
_SELECT_JS = (
    _FOCUSED_JS
    + """
if (!element) return 'nothing has the keyboard focus';
if (element.isContentEditable) {
    while (element.parentElement && element.parentElement.isContentEditable) element = element.parentElement;
    element.ownerDocument.getSelection().selectAllChildren(element);
    return '';
}
const kinds = ['text', 'search', 'url', 'tel', 'email', 'password', 'number', 'date', 'datetime-local', 'month',
    'time', 'week'];
const name = element.tagName.toLowerCase();
if (name == 'body' || name == 'html') return 'nothing has the keyboard focus';
if (name != 'textarea' && !(name == 'input' && kinds.includes(element.type)))
    return 'the focus is on an element <' + name + '>, which holds no text';
if (element.readOnly || element.disabled) return 'the field with the focus cannot be edited';
element.select();
return '';
"""
)


def front(browser: Browser) -> dict[str, Any]:
    """Return what is shown: ``page`` and ``field`` as text that names it, and the ``box`` of the field with the focus.

    The box is [left, top, right, bottom] in CSS pixels of the view; None without a focus.

    Raises:
        EnvError: the page does not answer.
    """
    shown: dict[str, Any] = browser.script(_FRONT_JS)
    return shown


def replace_text(browser: Browser, text: str, between: Callable[[str], object] = lambda typed: None) -> None:
    """Enter a text where the focus is, in place of what the field holds.

    Args:
        browser: shows the page.
        text: what the field is to hold.
        between: as in :meth:`Browser.type`.

    Raises:
        ActionRefused: nothing that can be written in has the focus.
        EnvError: the page does not answer.
    """
    if obstacle := browser.script(_SELECT_JS):
        raise ActionRefused(f"there is no text to replace: {obstacle}. Click a field first")
    if not text or text[0] in "\r\n\t":
        browser.press(("backspace",))
    browser.type(text, between)
