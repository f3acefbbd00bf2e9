"""The visible lines of text of a web page, with the position of every character. Privileged: for training data."""

from typing import Any

from molmo_agent.envs.drawing.annotated_screen import TextRun

# Lines that are uncovered from end to end; for fields their value, measured as the browser would draw it.
_TEXTS_JS = """
const [width, height] = arguments, runs = [];
const isOpen = (el, x, y) => {
    const hit = x >= 0 && y >= 0 && x < width && y < height ? document.elementFromPoint(x, y) : null;
    return hit !== null && (el === hit || el.contains(hit) || hit.contains(el));
};
function add(el, text, edges, top, bottom) {
    const middle = (top + bottom) / 2;
    // Only lines that are uncovered from end to end.
    const ends = [edges[0] + 1, (edges[0] + edges[edges.length - 1]) / 2, edges[edges.length - 1] - 1];
    if (text.trim() && ends.every(x => isOpen(el, x, middle))) runs.push({text, edges, top, bottom});
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const el = node.parentElement, style = el && getComputedStyle(el);
    if (!el || ['SCRIPT', 'STYLE', 'OPTION', 'TEXTAREA'].includes(el.tagName)) continue;
    if (style.visibility == 'hidden' || style.display == 'none') continue;
    if (el instanceof SVGElement) {
        const box = el.getBoundingClientRect(), text = node.data.trim(), edges = [];
        for (let i = 0; i <= text.length; i++) edges.push(box.left + i * box.width / text.length);
        add(el, text, edges, box.top, box.bottom);
        continue;
    }
    const range = document.createRange();
    let text = '', edges = [], top = 0, bottom = 0;
    const end = () => { if (text) add(el, text, edges, top, bottom); text = ''; edges = []; };
    for (let i = 0; i < node.data.length; i++) {
        range.setStart(node, i); range.setEnd(node, i + 1);
        const box = range.getClientRects()[0];
        if (!box || !box.width) continue;
        if (text && Math.abs(box.top - top) > 2) end();
        if (!text) { edges = [box.left]; top = box.top; bottom = box.bottom; }
        text += /\\s/.test(node.data[i]) ? ' ' : node.data[i];
        edges.push(box.right);
    }
    end();
}
const pen = document.createElement('canvas').getContext('2d');
for (const el of document.querySelectorAll('input, textarea, select[size] option, select[multiple] option')) {
    const option = el.tagName == 'OPTION';
    const typed = ['text', 'input', 'textarea', 'button', 'submit', 'search', 'email'].includes(el.type);
    if (!el.value || !(option || typed)) continue;
    const style = getComputedStyle(el), box = el.getBoundingClientRect();
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const px = name => parseFloat(style[name]) || 0, size = px('fontSize');
    const value = option ? el.text : el.value.split('\\n')[0];
    const wide = pen.measureText(value).width;
    const inside = box.left + px('borderLeftWidth') + px('paddingLeft');
    const left = ['button', 'submit'].includes(el.type) ? box.left + (box.width - wide) / 2 : inside;
    const line = 1.2 * size, middle = el.tagName == 'TEXTAREA' ?
        box.top + px('borderTopWidth') + px('paddingTop') + line / 2 : box.top + box.height / 2;
    const edges = [left];
    for (let i = 1; i <= value.length; i++) edges.push(left + pen.measureText(value.slice(0, i)).width);
    if (option || edges[edges.length - 1] < box.right) add(el, value, edges, middle - line / 2, middle + line / 2);
}
return runs;
"""


def read_texts(browser: Any, width: int, height: int) -> tuple[TextRun, ...]:
    """Return the lines of text in a page's upper left ``width`` x ``height`` CSS pixels, in CSS pixels."""
    records = browser.script(_TEXTS_JS, width, height)
    return tuple(TextRun(run["text"], tuple(run["edges"]), run["top"], run["bottom"]) for run in records)
