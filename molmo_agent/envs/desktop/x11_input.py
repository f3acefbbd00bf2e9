"""Input on X11: pyautogui for the characters that the keyboard layout has; other text is pasted.

pyautogui silently drops characters that it has no key for. It also assumes the American layout: on other layouts a `/`
becomes a `7`, and on nearly all of them `<` becomes `>`. So a character is sent as a key only if the layout assigns it
to that key. All other text is pasted, and the old content of the clipboard is restored.
"""

import shutil
import subprocess
from typing import Any

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.input import PyAutoGuiInput
from molmo_agent.envs.desktop.x11_clipboard import Pasteboard
from molmo_agent.errors import ActionRefused

# Window classes in which Ctrl+V does not paste: terminals, where it quotes the next key, and some editors.
# fmt: off
_NO_PASTE = frozenset({
    "alacritty", "com.mitchellh.ghostty", "cool-retro-term", "deepin-terminal", "emacs", "foot", "ghostty",
    "gnome-terminal", "gnome-terminal-server", "guake", "gvim", "kgx", "kitty", "konsole", "lxterminal",
    "mate-terminal", "org.gnome.console", "org.wezfurlong.wezterm", "qterminal", "rxvt", "sakura", "st",
    "st-256color", "terminator", "terminology", "tilix", "urxvt", "uxterm", "vim", "xfce4-terminal", "xterm",
    "yakuake",
})
# fmt: on

# Enough for one paste; a longer text is cut into several.
_PASTE_CHARS = 40_000


class X11Input(PyAutoGuiInput):
    """Pointer and keyboard of an X server."""

    def __init__(self, gui: Any, display: Any) -> None:
        super().__init__(gui)
        # Our own connection: pyautogui's is busy with its own replies.
        self._display = display

    def is_lost(self, error: Exception) -> bool:
        """Return whether an error means that the X server is gone."""
        return x11.is_lost(error)

    def has_key(self, name: str) -> bool:
        """Return whether this keyboard has the key and the key enters the character of its name."""
        keycode = self._gui.platformModule.keyboardMapping.get(name)
        if not keycode:
            return False
        if len(name) > 1 or not name.isprintable():
            return True
        with self._translate_errors():
            return self._typable(x11.Keyboard(self._display), name)

    def _typable(self, keyboard: x11.Keyboard, char: str) -> bool:
        keycode = self._gui.platformModule.keyboardMapping.get(char) or 0
        return keyboard.gives(keycode, bool(self._gui.isShiftCharacter(char)), char)

    def type_line(self, text: str) -> None:
        """Enter text where the keyboard focus is.

        Raises:
            ActionRefused: the text can be neither typed nor pasted; the message names the missing program.
        """
        with self._translate_errors():
            keyboard = x11.Keyboard(self._display)
            by_keys = all(self._typable(keyboard, char) for char in text)
            num_pasted = 0
            if not by_keys and not x11.focused_classes(self._display) & _NO_PASTE:
                num_pasted = self._paste(text)
        if by_keys:
            for char in text:
                self.key_down(char)
                self.key_up(char)
        elif num_pasted < len(text):
            _type_with_xdotool(text[num_pasted:])

    def _paste(self, text: str) -> int:
        """Paste text and return how many characters the focused program took."""
        pasteboard = Pasteboard(self._display)
        if not pasteboard.save():
            return 0
        num_sent = 0
        try:
            while num_sent < len(text):
                part = text[num_sent : num_sent + _PASTE_CHARS]
                pasteboard.offer(part)
                self._chord("ctrl", "v")
                if not pasteboard.await_reader():
                    break
                num_sent += len(part)
        finally:
            pasteboard.restore()
        return num_sent

    def _chord(self, *keys: str) -> None:
        for key in keys:
            self.key_down(key)
        for key in reversed(keys):
            self.key_up(key)


def _type_with_xdotool(text: str) -> None:
    # The messages never hold the text: it may be a password.
    if not shutil.which("xdotool"):
        raise ActionRefused(
            "the text has characters that this keyboard layout has no keys for, and it could not be pasted: either the "
            "focused program takes no Ctrl+V, or xclip, which keeps the clipboard's content safe, is missing. "
            "To type it anyway: apt-get install xclip xdotool"
        )
    # On stdin, not on the command line, where every user of the machine could read it. Below 50 ms characters that
    # need a temporary key are lost now and then.
    command = ["xdotool", "type", "--clearmodifiers", "--delay", "50", "--file", "-"]
    result = subprocess.run(
        command, input=text.encode(), capture_output=True, timeout=30 + 0.2 * len(text), check=False
    )
    if result.returncode:
        message = result.stderr.decode(errors="replace").strip()
        raise ActionRefused(f"xdotool could not type the text (exit status {result.returncode}): {message}")
