"""Everything that reaches a terminal: external text is shown with signs, without markup; warnings are one line.

Text from models, servers, files, screens and other packages must not steer the terminal: an escape sequence could hide
a question or print a verdict. Three doors, and no other one:

- :func:`make_console`: rich output. What it renders is shown by :func:`~molmo_agent.visible_text.visible_text`.
- :func:`say` and :func:`say_json`: plain output, for people and for programs.
- :func:`protect_streams`: whatever other packages write in this process: logs, warnings, tracebacks, progress bars.

A command prints its result first, and the result decides the exit code. Pages and plots come afterwards: a full disk
or a missing font is reported in one line on stderr, with the way to write them later.
"""

import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from molmo_agent.visible_text import visible_text

# Colours, which change nothing but the looks; a progress bar's way back to the start of its line, and up.
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,40}m")
_MOVES = re.compile(r"(?:\x1b\[A|\n|\r){1,100}")


class SafeConsole(Console):
    """A rich console that shows signs for whatever would steer the terminal; its own control codes are unchanged."""

    @property
    def file(self) -> IO[str]:
        """The stream behind a protected one: this console writes control codes of its own."""
        stream = super().file
        return stream.stream if isinstance(stream, SafeStream) else stream

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        Console.file.__set__(self, new_file)  # type: ignore[attr-defined]

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError as any other stream does; rich would end the program here."""
        raise

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render, and show signs in all text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_shown(segment.text), segment.style)


def make_console(*, stderr: bool = False) -> Console:
    """Return a console without markup, emoji codes and highlighting, which are for texts of one's own."""
    return SafeConsole(stderr=stderr, highlight=False, markup=False, emoji=False)


def say(text: object) -> None:
    """Print a text in one line on stdout."""
    print(visible_text(str(text)), flush=True)


def say_json(value: Any) -> None:
    """Print a value on stdout as JSON in one line of printable ASCII characters."""
    print(json.dumps(value).replace("\x7f", "\\u007f"), flush=True)


class SafeStream:
    """A text stream that shows signs for whatever would steer the terminal, and leaves colours out."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        plain = _COLOURS.sub("", text)
        # Progress bars begin each line anew.
        start = "\r" if plain.startswith("\r") else ""
        moves = _MOVES.fullmatch(plain) is not None
        self.stream.write(plain if moves else start + _shown(plain[len(start) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def protect_streams() -> None:
    """Let nothing that is written to stdout and stderr of this process steer the terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Escape characters that the terminal's encoding lacks, as stderr does, instead of failing.
        sys.stdout.reconfigure(errors="backslashreplace")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, SafeStream):
            setattr(sys, name, SafeStream(stream))


def _shown(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    # Tabs and line feeds lay out tables and logs.
    parts = re.split(r"([\n\t])", text.replace("\r\n", "\n"))
    return "".join(part if part in "\n\t" else visible_text(part) for part in parts)


def plain_text(text: object, style: str = "") -> Text:
    """Return text for a rich console, without markup, emoji codes or control sequences, whatever its source."""
    return Text(visible_text(str(text)), style)


def reason_of(error: Exception) -> str:
    """Return why something failed, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    # The messages of other packages are often unclear without the class name.
    own = type(error).__module__.startswith("molmo_agent")
    return str(error) if own else f"{type(error).__name__}: {error}"


def warn(text: str) -> None:
    """Print one line on stderr."""
    make_console(stderr=True).print(plain_text(f"agent: {text}", "yellow"), soft_wrap=True)


@contextmanager
def after_the_result(what: str, remedy: str) -> Iterator[None]:
    """Write a plot or page after the result is printed: warn about a failure instead of raising it.

    Args:
        what: the thing to write, such as "the page".
        remedy: how to write it later.
    """
    try:
        yield
    # Catch all errors: fonts, codecs and templates raise any class, and the result is already printed.
    except Exception as error:
        warn(f"cannot write {what}: {reason_of(error)}; {remedy}")
