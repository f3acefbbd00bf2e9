"""The environment of programs that are started: without secrets and keys, which are for this process alone.

A program that is acted on could show its environment on the screen, write it to a file or send it away.
"""

import contextlib
import os
import re
from collections.abc import Iterator

SECRET_PREFIX = "MOLMO_SECRET_"
"""What the names of environment variables with secrets to type begin with."""

_PRIVATE = re.compile(
    rf"{SECRET_PREFIX}.*|OPENAI_.*|(.*_)?(API|ADMIN|ACCESS)_KEY|HF_TOKEN|HUGGING_FACE_HUB_TOKEN", re.IGNORECASE
)


def is_private(name: str) -> bool:
    """Return whether an environment variable holds a secret or a key."""
    return _PRIVATE.fullmatch(name) is not None


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment for a program that is started, with these variables added or replaced."""
    return {name: value for name, value in os.environ.items() if not is_private(name)} | changes


@contextlib.contextmanager
def private_variables_hidden() -> Iterator[None]:
    """Take secrets and keys out of this process's environment inside the ``with`` block.

    For libraries that start programs themselves. Not for blocks in which other threads may need a key.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if is_private(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)
