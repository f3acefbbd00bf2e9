"""Take docs/images/serve.png: the page of `agent serve` in Chromium, with a point on the simulated phone.

python docs/make_serve_picture.py [--out docs/images/serve.png]
"""

import argparse
import base64
import io
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.sim_phone.commands import perform
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.web.browser import Browser

PORT = 8427
QUESTION = 'the "Bluetooth" switch'
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (char) => char.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "phone.png", {type: "image/png"}));
window.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
document.getElementById("question").value = arguments[1];
"""
WAIT_S = 120


def until(is_there: Callable[[], object], what: str) -> None:
    """Wait until something is there."""
    deadline = time.monotonic() + WAIT_S
    while not is_there():
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not come within {WAIT_S} s")
        time.sleep(0.2)


def answers() -> bool:
    """Return whether the server accepts questions."""
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=2).status == 200
    except OSError:
        return False


def main() -> None:
    """Serve, drop a screenshot on the page, ask, and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "serve.png")
    out = parser.parse_args().out
    phone = make_phone(1, theme="light")
    perform(phone, ("launch", "Settings"))
    file = io.BytesIO()
    Image.fromarray(draw(phone).screen.image).save(file, "PNG")
    command = [sys.executable, "-m", "molmo_agent", "serve", "--model", "auto", "--port", str(PORT)]
    server = subprocess.Popen(command, env=child_environment(), stderr=subprocess.DEVNULL)
    browser = Browser(1280, 760)
    try:
        until(answers, "the server")
        browser.start(timeout_s=90)
        browser.open(f"http://127.0.0.1:{PORT}/")
        until(lambda: browser.script("return document.getElementById('model').options.length"), "the page")
        browser.script(DROP, base64.b64encode(file.getvalue()).decode(), QUESTION)
        until(lambda: browser.script("return document.getElementById('image').naturalWidth"), "the image")
        browser.script("document.getElementById('form').requestSubmit()")
        until(lambda: browser.script("return document.querySelectorAll('.mark').length"), "the point")
        time.sleep(0.5)
        Image.fromarray(browser.image(1280, 760)).quantize(128).save(out, optimize=True)
    finally:
        browser.close()
        server.terminate()
        server.wait(timeout=60)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
