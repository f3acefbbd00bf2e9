"""Select everything in the field that has the keyboard focus, so that typing replaces it.

Ctrl+A does that nearly everywhere. Exceptions: macOS uses Command, and Tk on X11 uses Ctrl+/. On X11, programs know
Ctrl+A only where the keyboard has an A: on a Russian or Greek layout alone, Home and Shift+End select, with Ctrl and
without. In a terminal, in Emacs and in Vim no key selects a field, and Ctrl+A does something else: there, replacing is
refused.
"""

import contextlib
import ctypes
import importlib
import sys
from typing import Any

from molmo_agent.envs.desktop.terminals import is_terminal
from molmo_agent.errors import ActionRefused

# Window classes of X11, lower case; terminals besides.
_EDITORS_X11 = frozenset({"emacs", "gvim", "nvim-qt", "vim"})
# fmt: off
_WITHOUT_FIELDS_MACOS = frozenset({
    "co.zeit.hyper", "com.apple.terminal", "com.github.wez.wezterm", "com.googlecode.iterm2", "com.mitchellh.ghostty",
    "dev.warp.warp-stable", "io.alacritty", "net.kovidgoyal.kitty", "org.alacritty", "org.gnu.emacs", "org.vim.macvim",
})
_WITHOUT_FIELDS_WINDOWS = frozenset({
    "cascadia_hosting_window_class", "consolewindowclass", "emacs", "mintty", "pseudoconsolewindow", "putty", "vim",
})
# fmt: on

Chords = tuple[tuple[str, ...], ...]

# Fields of one line ignore those with Ctrl in some programs; with several lines, only those reach the ends.
_WITHOUT_LETTERS: Chords = (("ctrl", "home"), ("home",), ("ctrl", "shift", "end"), ("shift", "end"))


def keys_that_select(x11_display: Any, *, is_real: bool, platform: str = sys.platform) -> Chords:
    """Return the chords, to be pressed in turn, that select everything in the focused field, or delete it.

    Args:
        x11_display: the connection to the X server; None elsewhere.
        is_real: False for a fake screen, which has no programs to ask about.
        platform: as ``sys.platform``.

    Raises:
        ActionRefused: the focused program is a terminal or an editor in which no key selects a field.
    """
    if x11_display is not None:
        from molmo_agent.envs.desktop import x11
        from molmo_agent.envs.desktop.x11_keys.keyboard import Keyboard
        from molmo_agent.envs.desktop.x11_keys.xkb import Xkb

        with x11.exchange(x11_display):
            classes = x11.focused_classes(x11_display)
            _refuse_without_fields({name for name in classes if name in _EDITORS_X11 or is_terminal(name)})
            # Tk's fields on X11 do not paste over what is selected, and Backspace does nothing else in Tk.
            if _is_tk(x11_display):
                return (("ctrl", "/"), ("backspace",))
            has_a = Keyboard(Xkb(x11_display)).enters_anywhere("a")
            return (("ctrl", "a"),) if has_a else _WITHOUT_LETTERS
    if is_real:
        known = {"darwin": _WITHOUT_FIELDS_MACOS, "win32": _WITHOUT_FIELDS_WINDOWS}.get(platform, frozenset())
        _refuse_without_fields({program_in_front(platform).lower()} & known)
    return (("cmd", "a"),) if platform == "darwin" else (("ctrl", "a"),)


def program_in_front(platform: str, *, system: Any = None) -> str:
    """Return the bundle identifier (macOS) or the window class (Windows) of the program in front; empty if unknown.

    Args:
        platform: as ``sys.platform``.
        system: the system's interface: the module AppKit, or user32; None loads it.
    """
    if platform == "darwin":
        kit = system or importlib.import_module("AppKit")
        program = kit.NSWorkspace.sharedWorkspace().frontmostApplication()
        return str(program.bundleIdentifier() or "") if program else ""
    if platform == "win32":
        user32 = system or importlib.import_module("ctypes").windll.user32
        # A handle is as wide as a pointer.
        user32.GetForegroundWindow.restype = ctypes.c_void_p
        name = ctypes.create_unicode_buffer(256)
        user32.GetClassNameW(ctypes.c_void_p(user32.GetForegroundWindow()), name, len(name))
        return name.value
    return ""


def _refuse_without_fields(programs: set[str] | frozenset[str]) -> None:
    if programs:
        raise ActionRefused(
            f"{min(programs)!r} has no fields whose text could be replaced: a terminal or an editor like it takes text "
            'only where its caret is. To add text there, say for example: type "Ada"'
        )


def _is_tk(display: Any) -> bool:
    """Return whether the window with the keyboard focus belongs to Tk: its programs register on the root window."""
    import Xlib.error

    from molmo_agent.envs.desktop import x11

    def text_of(window: Any, name: str) -> str:
        value = x11.read_property(display, window, name) or ""
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)

    focus = display.get_input_focus().focus
    if not hasattr(focus, "id"):
        return False
    # Windows of one program have the same high bits.
    mask = ~display.display.info.resource_id_mask
    for entry in text_of(display.screen().root, "InterpRegistry").split("\0"):
        # A program that was killed stays registered, and another one may have got its windows' numbers.
        with contextlib.suppress(ValueError, Xlib.error.BadWindow):
            number = int(entry.partition(" ")[0], 16)
            window = display.create_resource_object("window", number)
            if focus.id & mask == number & mask and text_of(window, "TK_APPLICATION"):
                return True
    return False
