"""The commands of a phone's shell, carried out on a simulated phone: screencap, input, dumpsys, settings, ime, am."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from molmo_agent.envs.sim_phone import touch
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.state import Phone

LAUNCHER = "com.android.launcher3/.Launcher"
GBOARD = "com.google.android.inputmethod.latin/com.android.inputmethod.latin.LatinIME"
ADB_KEYBOARD = "com.android.adbkeyboard/.AdbIME"
# Looks at the input method before a newly chosen keyboard has taken over.
TAKEOVER = 2

Said = tuple[int, bytes, bytes]
"""Exit status, output, errors."""

_USAGE = """Usage: input [<source>] [-d DISPLAY_ID] <command> [<arg>...]
The commands and default sources are:
      tap <x> <y> (Default: touchscreen)
"""
_WARNING = (
    b"[Warning] Multiple displays were found, but no display id was specified! A display id should be specified.\n"
)


@dataclass
class OtherDisplay:
    """A display beside the main one; nothing is on it."""

    id: int
    # (width, height) in rotation 0.
    size: tuple[int, int]
    kind: str = "VIRTUAL"
    physical: str = ""
    on: bool = True
    rotation: int = 0
    colour: tuple[int, int, int] = (10, 120, 200)
    focus: str = "com.example.other/.Main"

    @property
    def now(self) -> tuple[int, int]:
        """(width, height) in its rotation."""
        return self.size[::-1] if self.rotation % 2 else self.size


class PhoneSystem:
    """What answers the commands. ``log`` lists all of them; ``hook`` sees each one first."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.log: list[list[str]] = []
        self.hook: Callable[[list[str]], None] = lambda argv: None
        self.settings = {"default_input_method": GBOARD}
        self.keyboards, self.enabled = [GBOARD], [GBOARD]
        self.takeover_in = 0
        # "empty", "truncated", "black" or "warning": what is wrong with captures.
        self.capture_fault = ""
        # Touches are in units of this size where the resolution was changed by `wm size`.
        self.override: tuple[int, int] | None = None
        # Before Android 9 a window's flags were told as a number.
        self.ancient = False
        # Before Android 12 there was no keycombination.
        self.old = False
        # The field in which everything is selected.
        self.selected: str | None = None
        # Before Android 10 there was no `input -d`, before 11 no touch could be taken back.
        self.one_display = self.no_cancel = False
        # Displays beside the main one, and the ids and state of that.
        self.others: list[OtherDisplay] = []
        self.physical, self.on = "", True
        # What is at fault with touches: (x, y) in pixels to where they arrive instead.
        self.touch_fault: Callable[[int, int], tuple[int, int]] = lambda x, y: (x, y)
        self.finger: tuple[int, int] | None = None

    def run(self, argv: list[str]) -> Said:
        """Carry out one command."""
        self.hook(argv)
        self.log.append(argv)
        command = getattr(self, f"_{argv[0]}", None)
        if command is None:
            return 127, b"", f"/system/bin/sh: {argv[0]}: inaccessible or not found\n".encode()
        answer: Said | str | None = command(*argv[1:])
        if isinstance(answer, tuple):
            return answer
        return 0, (answer or "").encode(), b""

    def inputs(self, kind: str = "") -> list[list[str]]:
        """Return the touches, keys and texts that arrived."""
        return [argv[1:] for argv in self.log if argv[0] == "input" and argv[1:] and kind in ("", argv[1])]

    @property
    def focus(self) -> str:
        """The title of the window in front."""
        if self.phone.locked:
            return "NotificationShade"
        return f"{self.phone.top.app.package}/.Main" if self.phone.top else LAUNCHER

    @property
    def _secure_now(self) -> bool:
        return self.phone.top is not None and self.phone.top.app.package in self.phone.secure

    # --- The screen -----------------------------------------------------------------------------------------------

    def _screencap(self, *options: str) -> Said:
        physical = [other for other in self.others if other.physical]
        if "-d" in options:
            name = options[options.index("-d") + 1]
            if name != self.physical:
                shown = next((other for other in physical if other.physical == name), None)
                if shown is None:
                    return 1, b"", f"Display Id '{name}' is not valid.\n".encode()
                return 0, _png(Image.new("RGB", shown.now, shown.colour)), b""
        elif physical:
            # The first one is captured, which need not be the main one.
            return 0, _WARNING + _png(Image.new("RGB", physical[0].now, physical[0].colour)), b""
        image = self.picture()
        if not self.on:
            image = Image.new("RGB", image.size)
        if self._secure_now:
            look = self.phone.look
            image.paste(0, (0, look.status_height, image.width, image.height - look.navigation_height))
        if self.capture_fault == "black":
            image = Image.new("RGB", image.size)
        if self.settings.get("pointer_location") == "1":
            self._draw_pointer(image)
        png = _png(image)
        if self.capture_fault == "empty":
            return 1, b"", b"Failed to take screenshot. Status: -22\n"
        if self.capture_fault == "warning":
            return 0, _WARNING + png, b""
        return 0, png[: len(png) // 2] if self.capture_fault == "truncated" else png, b""

    def picture(self) -> Image.Image:
        """Return what the screen shows while it is on."""
        return Image.fromarray(draw(self.phone).screen.image)

    def tap(self, x: int, y: int) -> None:
        """Touch the screen at a position in its pixels."""
        touch.tap(self.phone, x, y)

    def _draw_pointer(self, image: Image.Image) -> None:
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, image.width, 12), (255, 255, 255))
        if self.finger is not None:
            x, y = self.finger
            pen.line((0, y, image.width, y), (0, 0, 192))
            pen.line((x, 0, x, image.height), (0, 0, 192))

    def _wm(self, *words: str) -> str:
        if words == ("density",):
            return "Physical density: 420\n"
        override = f"Override size: {self.override[0]}x{self.override[1]}\n" if self.override else ""
        return f"Physical size: {self.phone.width}x{self.phone.height}\n{override}"

    def _units(self) -> tuple[int, int]:
        width, height = self.override or (self.phone.width, self.phone.height)
        return (height, width) if self.phone.rotation % 2 else (width, height)

    def _pixel(self, x: str, y: str) -> tuple[int, int]:
        (width, height), (units_x, units_y) = self.phone.size, self._units()
        return self.touch_fault(int(x) * width // units_x, int(y) * height // units_y)

    def _dumpsys(self, *words: str) -> str:
        match words:
            case ("power",):
                return f"POWER MANAGER\n  mWakefulness={'Asleep' if self.phone.asleep else 'Awake'}\n  mDirty=0x0\n"
            case ("window",) | ("window", "displays") | ("window", "windows"):
                return self._windows()
            case ("display",):
                return self._viewports()
            case ("input_method",):
                self.takeover_in -= 1
                current = self.settings["default_input_method"] if self.takeover_in <= 0 else "null"
                return f"  mCurMethodId={current}\n  mBoundToMethod=true\n"
            case _:
                return ""

    def _viewports(self) -> str:
        viewports = [
            _viewport(other.kind, other.on, other.id, other.physical, other.rotation, other.now)
            for other in self.others
        ]
        viewports.append(_viewport("INTERNAL", self.on, 0, self.physical, self.phone.rotation, self._units()))
        return f"  mViewports=[{', '.join(viewports)}]\n"

    def _windows(self) -> str:
        other_displays = "".join(
            f"  Display: mDisplayId={other.id} (organized)\n"
            f"    init={other.size[0]}x{other.size[1]} 100dpi cur={other.now[0]}x{other.now[1]} app=9x9 rng=9x9-9x9\n"
            f"  mCurrentFocus=Window{{99aa u0 {other.focus}}}\n"
            for other in self.others
        )
        flags = "LAYOUT_IN_SCREEN LAYOUT_INSET_DECOR" + (" SECURE" if self._secure_now else "")
        if self.ancient:
            flags = f"#{0x81810100 | (0x2000 if self._secure_now else 0):x}"
        width, height = self._units()
        locked = str(self.phone.locked).lower()
        return (
            "WINDOW MANAGER WINDOWS (dumpsys window windows)\n"
            "  Window #0 Window{11aa u0 StatusBar}:\n    mAttrs={(0,0)(fillx60)\n      fl=NOT_FOCUSABLE}\n"
            f"  Window #1 Window{{22bb u0 {self.focus}}}:\n"
            f"    mAttrs={{(0,0)(fillxfill) ty=BASE_APPLICATION\n      fl={flags}\n      pfl=NO_MOVE}}\n"
            f"{other_displays}{'  Display: mDisplayId=0 (organized)' if self.others else ''}\n"
            f"    init={self.phone.width}x{self.phone.height} 420dpi cur={width}x{height} app={width}x{height}\n"
            f"  mCurrentFocus=Window{{22bb u0 {self.focus}}}\n"
            f"    KeyguardServiceDelegate\n      showing={locked}\n      occluded=false\n"
        )

    # --- Touches, keys, text --------------------------------------------------------------------------------------

    def _input(self, kind: str = "", *rest: str) -> Said | str:
        if kind == "-d" and not self.one_display:
            if int(rest[0]) in (other.id for other in self.others):
                return ""
            kind, *rest = rest[1:]  # type: ignore[assignment]
        match kind, tuple(rest):
            case "tap", (x, y):
                self.tap(*self._pixel(x, y))
            case "swipe" | "draganddrop", (x0, y0, x1, y1, *duration):
                ms = int(duration[0]) if duration else 300
                touch.swipe(self.phone, *self._pixel(x0, y0), *self._pixel(x1, y1), ms)
            case "keyevent", codes:
                for code in codes:
                    if self._replace_selection() and code == "KEYCODE_DEL":
                        continue
                    touch.press_key(self.phone, code)
            case "keycombination", ("KEYCODE_CTRL_LEFT", "KEYCODE_A") if not self.old:
                self.selected = self.phone.focus
            case "keycombination", codes if codes and not self.old:
                pass
            case "motionevent", ("DOWN" | "MOVE", x, y) if not self.no_cancel:
                self.finger = self._pixel(x, y)
            case "motionevent", ("UP" | "CANCEL" as how, *_) if not self.no_cancel and self.finger is not None:
                if how == "UP":
                    self.tap(*self.finger)
                self.finger = None
            case "", ():
                return _USAGE + ("" if self.no_cancel else "      motionevent <DOWN|UP|MOVE|CANCEL> <x> <y>\n")
            case "text", (text, *_):
                if not text.isascii():
                    return 255, b"", b"Exception occurred while executing 'text':\njava.lang.NullPointerException\n"
                self._replace_selection()
                touch.enter_text(self.phone, _unescaped(text))
            case _:
                return f"Error: Unknown command: {kind}\nUsage: input [<source>] <command> [<arg>...]\n"
        return ""

    def _replace_selection(self) -> bool:
        """Delete what is selected, before a key or a text takes its place."""
        field, self.selected = self.selected, None
        if field is not None and field == self.phone.focus:
            self.phone.fields[field] = ""
        return field is not None

    def _ime(self, *words: str) -> Said | str:
        match words:
            case ("list", "-a", "-s"):
                return "\n".join(self.keyboards) + "\n"
            case ("list", "-s"):
                return "\n".join(self.enabled) + "\n"
            case ("enable", name) if name in self.keyboards:
                self.enabled = [*self.enabled, name]
            case ("disable", name):
                self.enabled = [other for other in self.enabled if other != name]
            case ("set", name) if name in self.enabled:
                self.settings["default_input_method"] = name
                self.takeover_in = TAKEOVER
            case _:
                return 255, b"", f"Unknown input method {words[-1]} cannot be selected for user #0\n".encode()
        return ""

    def _settings(self, *words: str) -> str:
        match words:
            case ("get", _, name):
                return f"{self.settings.get(name, 'null')}\n"
            case ("put", "system", "user_rotation", turns):
                self.phone.rotation = int(turns)
            case ("put", _, name, value):
                self.settings[name] = value
            case ("delete", _, name):
                return f"Deleted {int(self.settings.pop(name, None) is not None)} rows\n"
        return ""

    # --- Apps -----------------------------------------------------------------------------------------------------

    def _cmd(self, *words: str) -> str:
        if words[:2] != ("package", "query-activities"):
            return ""
        lines = [f"{len(self.phone.apps)} activities found:"]
        for number, app in enumerate(self.phone.apps):
            lines += [
                f"  Activity #{number}:",
                "    priority=0 preferredOrder=0 match=0x108000",
                f"    {app.package}/.Main",
            ]
        return "\n".join(lines) + "\n"

    def _pm(self, *words: str) -> str:
        return "".join(f"package:{app.package}\n" for app in self.phone.apps)

    def _am(self, *words: str) -> Said | str:
        if words[0] == "broadcast":
            intent = words[words.index("-a") + 1]
            if intent == "ADB_INPUT_B64" and self._adb_keyboard_ready():
                self._replace_selection()
                touch.enter_text(self.phone, base64.b64decode(words[words.index("msg") + 1]).decode())
            return f"Broadcasting: Intent {{ act={intent} }}\nBroadcast completed: result=0\n"
        component = words[words.index("-n") + 1]
        app = next((app for app in self.phone.apps if f"{app.package}/.Main" == component), None)
        if app is None:
            return f"Error type 3\nError: Activity class {{{component}}} does not exist.\n"
        self.phone.launch(app)
        return f"Starting: Intent {{ cmp={component} }}\nStatus: ok\nActivity: {component}\nComplete\n"

    def _adb_keyboard_ready(self) -> bool:
        return self.settings["default_input_method"] == ADB_KEYBOARD and self.takeover_in <= 0

    def _getprop(self, *words: str) -> str:
        return {"ro.product.model": "Sim Phone", "ro.build.version.sdk": "34"}.get(words[0] if words else "", "") + "\n"

    def _reboot(self, *words: str) -> str:
        raise AssertionError("the phone was told to reboot")


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()


def _viewport(kind: str, on: bool, number: int, physical: str, rotation: int, size: tuple[int, int]) -> str:
    name = f"uniqueId='local:{physical}', " if physical else ""
    rectangle = f"Rect(0, 0 - {size[0]}, {size[1]})"
    return (
        f"DisplayViewport{{type={kind}, valid=true, isActive={str(on).lower()}, displayId={number}, {name}"
        f"physicalPort=0, orientation={rotation}, logicalFrame={rectangle}, physicalFrame={rectangle}, "
        f"deviceWidth={size[0]}, deviceHeight={size[1]}}}"
    )


def _unescaped(text: str) -> str:
    """Read text as Android's `input text` does: "%s" is a blank, and nothing else is special."""
    return re.sub("%s", " ", text)
