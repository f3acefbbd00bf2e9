"""What the command line shows people: text from outside as plain text, and records that could not be made.

The result of a command is printed first and decides its exit code. Pages and images of it come after: a full disk or
a font that fails is reported in one line on stderr, with how to make them later.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from molmo_agent.visible_text import visible_text


def shown(text: object, style: str = "") -> Text:
    """Return text for a rich console that is neither markup nor emoji code nor a control sequence, whoever wrote it."""
    return Text(visible_text(str(text)), style)


def reason_of(error: Exception) -> str:
    """Return why something failed, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    # Errors of other packages often say little without their name.
    own = type(error).__module__.startswith("molmo_agent")
    return str(error) if own else f"{type(error).__name__}: {error}"


def warn(text: str) -> None:
    """Print one line on stderr."""
    Console(stderr=True, highlight=False).print(shown(f"agent: {text}", "yellow"), soft_wrap=True)


@contextmanager
def after_the_result(what: str, remedy: str) -> Iterator[None]:
    """Make an image or page of finished work: a failure is reported and never raised.

    Args:
        what: is made, such as "the page".
        remedy: how to make it later.
    """
    try:
        yield
    # Everything: fonts, codecs and templates raise what their libraries raise, and the work is done and judged.
    except Exception as error:
        warn(f"{what} was not made: {reason_of(error)}; {remedy}")
