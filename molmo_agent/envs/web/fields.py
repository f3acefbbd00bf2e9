"""The field of a web page that has the keyboard focus."""

from molmo_agent.envs.web.browser import Browser
from molmo_agent.errors import ActionRefused

# Selects in the focused element, also in a frame of the same site or in a component; returns what is in the way.
_SELECT_JS = """
let element = document.activeElement;
for (let inner = element; inner; ) {
    element = inner;
    inner = null;
    if (element.shadowRoot) inner = element.shadowRoot.activeElement;
    try { if (element.contentDocument) inner = element.contentDocument.activeElement; } catch (error) { }
}
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


def replace_text(browser: Browser, text: str) -> None:
    """Enter a text where the focus is, in place of what the field holds.

    Raises:
        ActionRefused: nothing that can be written in has the focus.
        EnvError: the page does not answer.
    """
    if obstacle := browser.script(_SELECT_JS):
        raise ActionRefused(f"there is no text to replace: {obstacle}. Click a field first")
    if not text or text[0] in "\r\n\t":
        browser.press(("backspace",))
    browser.type(text)
