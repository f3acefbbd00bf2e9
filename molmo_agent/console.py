"""Terminal output: external text without markup, and warnings about output files that could not be written.

A command prints its result first, and the result decides the exit code. Pages and plots come afterwards: a full disk
or a missing font is reported in one line on stderr, with the way to write them later.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from molmo_agent.visible_text import visible_text


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
    Console(stderr=True, highlight=False).print(plain_text(f"agent: {text}", "yellow"), soft_wrap=True)


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
