"""The page of the server in a real Chromium: drop an image, ask, see the points, move a wrong one, read the JSON."""

import base64
import io
import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from serving import Model, found, serving

from molmo_agent.envs.web.installed import find_browser
from molmo_agent.errors import EnvError

pytest.importorskip("selenium", reason="needs the extra 'web'")
from molmo_agent.envs.web.browser import Browser

TOKEN = "a-token-of-many-letters-0123"
# Drops a file of these bytes on the page, as a mouse does.
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (char) => char.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], arguments[1], {type: arguments[2]}));
window.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
"""
PLACE = """
const box = document.querySelector(arguments[0]).getBoundingClientRect();
return [box.x, box.y, box.width, box.height];
"""


def picture() -> str:
    image = Image.new("RGB", (640, 400), "#eef1f5")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 640, 34), fill="#2f3b4c")
    draw.text((14, 10), "Settings", fill="white", font_size=14)
    for i, name in enumerate(("Cancel", "Save")):
        draw.rounded_rectangle((380 + 120 * i, 330, 480 + 120 * i, 366), 6, fill="#3a74d8" if i else "#c9d1dc")
        draw.text((405 + 120 * i, 338), name, fill="white" if i else "#223", font_size=16)
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def browser():
    try:
        find_browser()
    except EnvError as error:
        pytest.skip(str(error))
    started = Browser(1280, 800).start(timeout_s=90)
    yield started
    started.close()


def until(browser, script: str) -> None:
    for _ in range(1200):
        if browser.script(f"return Boolean({script})"):
            return
        time.sleep(0.05)
    raise AssertionError(f"expected {script}; the page says {browser.script('return document.body.innerText')!r}")


def ask(browser, question: str) -> None:
    browser.script("document.getElementById('question').value = arguments[0]", question)
    browser.script("document.getElementById('form').requestSubmit()")


def shown_json(browser):
    return json.loads(browser.script("return document.getElementById('json').textContent"))


def test_a_dropped_image_gets_points_that_can_be_moved(browser):
    label = "<img src=x onerror=document.title='hacked'>"
    with serving(Model(result=found(0.86, 0.87, label))) as client:
        browser.open(client.url + "/")
        until(browser, "document.getElementById('model').options.length == 1")
        browser.script(DROP, picture(), "settings.png", "image/png")
        until(browser, "document.getElementById('image').naturalWidth == 640")
        ask(browser, 'the "Save" button')
        until(browser, "document.querySelectorAll('.mark').length == 1")
        assert "75 % sure" in browser.script("return document.getElementById('points').innerText")
        # Text of a model is text.
        assert label in browser.script("return document.getElementById('points').innerText")
        assert browser.script("return document.title") != "hacked"
        # The mark stands where the point is.
        left, top, width, height = browser.script(PLACE, "#image")
        x, y, w, h = browser.script(PLACE, ".mark")
        assert abs((x + w / 2 - left) / width - 0.86) < 0.005
        assert abs((y + h / 2 - top) / height - 0.87) < 0.005
        if folder := os.environ.get("MOLMO_AGENT_SCREENSHOTS"):
            shot = browser.image(1280, 800)
            Image.fromarray(shot).save(Path(folder) / "serve-page.png")
        center = round(x + w / 2), round(y + h / 2)
        browser.drag(center, (center[0] - round(0.2 * width), center[1]))
        until(browser, "document.querySelector('.mark.moved')")
        (point,) = shown_json(browser)["points"]
        assert abs(point["x"] - 0.66) < 0.01
        assert point["corrected_from"] == {"x": 0.86, "y": 0.87}
        assert point["probability"] is None
        assert shown_json(browser)["size"] == [640, 400]
        # With the keyboard: one pixel of the image.
        before = point["x"]
        browser.script("document.querySelector('.mark').focus()")
        browser.press(["right"])
        assert abs(shown_json(browser)["points"][0]["x"] - before - 1 / 640) < 1e-9
        browser.script("document.getElementById('reset').click()")
        assert shown_json(browser)["points"] == [{"x": 0.86, "y": 0.87, "label": label, "probability": 0.75}]
        # Nothing was blocked by the policy, and nothing came from elsewhere.
        assert browser.script("return performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)")
        origins = (
            "performance.getEntriesByType('resource').map((one) => new URL(one.name).protocol + new URL(one.name).host)"
        )
        assert set(browser.script(f"return {origins}")) <= {f"http:{client.url[7:]}", "data:"}


def test_words_stream_onto_the_page_and_errors_are_shown(browser):
    with serving(Model()) as client:
        browser.open(client.url + "/")
        until(browser, "document.getElementById('model').options.length == 1")
        ask(browser, "anything")
        assert browser.script("return document.getElementById('status').textContent") == "Drop an image first."
        browser.script(DROP, base64.b64encode(b"text").decode(), "notes.txt", "text/plain")
        until(browser, "document.getElementById('status').textContent.includes('expected an image, got text/plain')")
        browser.script(DROP, picture(), "settings.png", "image/png")
        until(browser, "document.getElementById('image').naturalWidth == 640")
        browser.script("document.querySelector('[value=words]').click()")
        ask(browser, "What is it?")
        until(browser, "document.getElementById('words').textContent == 'a blue button'")
        ask(browser, "a bad question")
        until(browser, "document.getElementById('status').textContent.includes('its log has the reason as')")
        assert browser.script("return document.getElementById('status').className") == "bad"


def test_the_page_asks_for_the_token_that_a_server_needs(browser):
    with serving(Model(words=None), token=TOKEN) as client:
        browser.open(client.url + "/")
        until(browser, "!document.getElementById('token-box').hidden")
        browser.script("document.getElementById('token').value = arguments[0]", TOKEN)
        browser.script("document.getElementById('token').dispatchEvent(new Event('change'))")
        until(browser, "document.getElementById('token-box').hidden")
        assert browser.script("return document.getElementById('words-kind').hidden") is True
        # It stays in the memory of this page alone.
        assert browser.script("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
