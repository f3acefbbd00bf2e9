"""The tasks: a program, files, an instruction as a person writes it, and a verdict that asks no model and no pixel."""

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image as PILImage

from molmo_agent.errors import UnknownNameError
from molmo_agent.evaluation.real_tasks.session import Session

Verdict = Callable[[Session], str]
"""Returns an empty string if the task is achieved, else what is the case instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealTask:
    """Something to do in a program."""

    name: str
    # Debian package of the program.
    package: str
    # Its command line; @HOME@ stands for the home folder, also in instruction and files.
    command: str
    # In the grammar of docs/instructions.md.
    instruction: str
    verdict: Verdict
    # Content of files in the home folder, by relative path.
    files: Mapping[str, bytes] = field(default_factory=dict)
    # What people call an element -> its name for assistive software, for the oracle alone.
    aliases: Mapping[str, str] = field(default_factory=dict)


_LETTER = b"Dear Nora,\nthe boat is repaired and we sail on Saturday.\n"
_SHIP = "the ship is repaired"
_FORM = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Order form</title></head>
<body style="font: 16px sans-serif; margin: 40px"><h1>Order</h1><form id="order">
<p><label>Full name <input id="name"></label></p><p><label>Street <input id="street"></label></p>
<p><label><input type="radio" name="speed" value="normal" checked> Normal delivery</label></p>
<p><label><input type="radio" name="speed" value="express"> Express delivery</label></p>
<p><label><input type="checkbox" id="gift"> Gift wrapping</label></p>
<button type="reset">Start again</button> <button>Send order</button></form><script>
document.getElementById("order").addEventListener("submit", event => { event.preventDefault();
  const speed = document.querySelector("[name=speed]:checked").value;
  const gift = document.getElementById("gift").checked ? "gift" : "plain";
  document.title = ["Sent", document.getElementById("name").value, speed, gift].join("/"); });
</script></body></html>
"""
_NOTEBOOK = (
    b"[Notebook]\nname=Notes\nversion=0.4\ninterwiki=\nhome=Home\nicon=\nprofile=\nshared=True\nendofline=unix\n"
)
_PAGE = b"Content-Type: text/x-zim-wiki\nWiki-Format: zim 0.6\n\n====== Home ======\nHello.\n"


def _archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in {"report.txt": b"All numbers are good.\n", "budget.csv": b"January,820\n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


def _picture(color: str) -> bytes:
    packed = io.BytesIO()
    PILImage.new("RGB", (320, 200), color).save(packed, "PNG")
    return packed.getvalue()


def file_has(path: str, text: str) -> Verdict:
    """Return a verdict: a file of the home folder holds a text."""

    def verdict(session: Session) -> str:
        file = session.home / path
        if not file.is_file():
            return f"there is no file {path}"
        content = file.read_text(encoding="utf-8", errors="replace")
        return "" if text in content else f"{path} holds {content[:80]!r}"

    return verdict


def file_below(folder: str, name: str, text: str) -> Verdict:
    """Return a verdict: a file of this name, in a folder or below it, holds a text."""

    def verdict(session: Session) -> str:
        files = [path for path in (session.home / folder).rglob(name) if path.is_file()]
        if not files:
            return f"there is no file {name} in {folder}"
        contents = [path.read_text(encoding="utf-8", errors="replace") for path in files]
        return "" if any(text in content for content in contents) else f"{name} holds {contents[0][:80]!r}"

    return verdict


def folder_exists(path: str) -> Verdict:
    """Return a verdict: there is a folder in the home folder."""
    return lambda session: "" if (session.home / path).is_dir() else f"there is no folder {path}"


def tree_shows(text: str) -> Verdict:
    """Return a verdict: an element on the screen has a text."""

    def verdict(session: Session) -> str:
        texts = [f"{node.get('text', '')}" for node in session.tree()]
        return "" if any(text in one for one in texts) else f"no element shows {text!r}"

    return verdict


def title_has(text: str) -> Verdict:
    """Return a verdict: the title of a window holds a text."""

    def verdict(session: Session) -> str:
        titles = session.titles()
        return "" if any(text in title for title in titles) else f"the windows are {titles}"

    return verdict


TASKS: tuple[RealTask, ...] = (
    RealTask(
        name="mousepad-save-as",
        package="mousepad",
        command="mousepad",
        instruction='type "Bread, milk, two lemons", click File, click "Save As...", type "shopping.txt", click Save',
        verdict=file_has("shopping.txt", "Bread, milk, two lemons"),
    ),
    RealTask(
        name="mousepad-replace",
        package="mousepad",
        command="mousepad @HOME@/Documents/Letter.txt",
        instruction='click Search, click "Find and Replace...", type "boat" into "Search for", '
        'type "ship" into "Replace with", click Find, click Replace, press Escape, press ctrl+s',
        verdict=file_has("Documents/Letter.txt", _SHIP),
        files={"Documents/Letter.txt": _LETTER},
    ),
    RealTask(
        name="l3afpad-replace",
        package="l3afpad",
        command="l3afpad @HOME@/Documents/Letter.txt",
        instruction='click Search, click Replace..., type "boat" into "Find what", type "ship" into "Replace with", '
        'tick "Replace all at once", click "Find and Replace", wait 1 second, press Escape, press ctrl+s',
        verdict=file_has("Documents/Letter.txt", _SHIP),
        files={"Documents/Letter.txt": _LETTER},
    ),
    RealTask(
        name="calculator-multiply",
        package="mate-calc",
        command="mate-calc",
        instruction="click 7, click 8, click ×, click 6, click =",
        verdict=tree_shows("468"),
        aliases={"×": "multiply", "=": "result"},
    ),
    RealTask(
        name="caja-new-folder",
        package="caja",
        command="caja --no-desktop @HOME@/Documents",
        instruction='click File, click "Create Folder", wait 1 second, type "Invoices", press Enter',
        verdict=folder_exists("Documents/Invoices"),
    ),
    RealTask(
        name="xarchiver-extract",
        package="xarchiver",
        command="xarchiver @HOME@/Downloads/Papers.tar.gz",
        instruction='click Action, click Extract, wait 1 second, type "@HOME@/Documents", click the Extract button',
        verdict=file_below("Documents", "report.txt", "All numbers are good."),
        files={"Downloads/Papers.tar.gz": _archive()},
    ),
    RealTask(
        name="lxappearance-theme",
        package="lxappearance",
        command="lxappearance",
        instruction="click Adwaita-dark, click Apply",
        verdict=file_has(".config/gtk-3.0/settings.ini", "gtk-theme-name=Adwaita-dark"),
    ),
    RealTask(
        name="xfce-event-sounds",
        package="xfce4-settings",
        command="xfce4-appearance-settings",
        instruction='click the Settings tab, tick "Enable event sounds"',
        verdict=file_has(
            ".config/xfce4/xfconf/xfce-perchannel-xml/xsettings.xml",
            'name="EnableEventSounds" type="bool" value="true"',
        ),
    ),
    RealTask(
        name="gpicview-next",
        package="gpicview",
        command="gpicview @HOME@/Pictures/1-beach.png",
        instruction="click the forward arrow",
        verdict=title_has("2-harbour.png"),
        files={"Pictures/1-beach.png": _picture("khaki"), "Pictures/2-harbour.png": _picture("steelblue")},
        aliases={"the forward arrow": "Forward"},
    ),
    RealTask(
        name="gedit-save",
        package="gedit",
        command="gedit @HOME@/Documents/Letter.txt",
        instruction='press ctrl+End, type "See you soon, Sam", click Save',
        verdict=file_has("Documents/Letter.txt", "See you soon, Sam"),
        files={"Documents/Letter.txt": _LETTER},
    ),
    RealTask(
        name="zim-new-page",
        package="zim",
        command="zim --standalone @HOME@/Notes",
        instruction='click File, click "New Page...", wait 1 second, type "Recipes", click OK',
        verdict=file_has("Notes/Recipes.txt", "Recipes"),
        files={"Notes/notebook.zim": _NOTEBOOK, "Notes/Home.txt": _PAGE},
    ),
    RealTask(
        name="chromium-form",
        package="chromium",
        # Root and containers have no sandbox; the page is local. No key ring: its dialog would be in the way.
        command="chromium --no-sandbox --test-type --no-first-run --password-store=basic --disable-gpu "
        "--force-renderer-accessibility --user-data-dir=@HOME@/.chromium --start-maximized file://@HOME@/order.html",
        instruction='type "Ada Lovelace" into Full name, click Express delivery, tick Gift wrapping, click Send order',
        verdict=title_has("Sent/Ada Lovelace/express/gift"),
        files={"order.html": _FORM},
    ),
)


def find_tasks(names: str | None) -> tuple[RealTask, ...]:
    """Return the tasks of a comma-separated list; all without one.

    Raises:
        UnknownNameError: there is no such task; the message suggests the closest names.
    """
    if names is None:
        return TASKS
    by_name = {task.name: task for task in TASKS}
    requests = [name.strip() for name in names.split(",") if name.strip()]
    for name in requests:
        if name not in by_name:
            raise UnknownNameError("task", name, by_name)
    return tuple(by_name[name] for name in dict.fromkeys(requests))
