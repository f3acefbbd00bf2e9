"""Who may reach a server, and the token of those who may ask it."""

import hmac
import os
from pathlib import Path

from molmo_agent.errors import DataError, UsageError
from molmo_agent.parse import read_bounded
from molmo_agent.pointers.served.network import KEY_VARIABLE, is_this_machine

_MIN_TOKEN_CHARS, _MAX_TOKEN_BYTES = 16, 4_096


def checked_token(token: str, source: str) -> str | None:
    """Return a token that clients can send and nobody can guess; None if there is none.

    Args:
        token: without blanks around it; may be empty.
        source: where it is from, for the error message.

    Raises:
        UsageError: it is too short or cannot be sent.
    """
    if token and (len(token) < _MIN_TOKEN_CHARS or not all("!" <= char <= "~" for char in token)):
        raise UsageError(
            f"expected the token in {source} to have at least {_MIN_TOKEN_CHARS} letters, digits and signs without "
            "blanks; make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token or None


def read_token(file: Path | None) -> str | None:
    """Return the token that clients need: from a file, or from the variable MOLMO_API_KEY; None if there is none.

    Raises:
        UsageError: the file cannot be read, or the token is too short or cannot be sent.
    """
    if file is None:
        return checked_token(os.environ.get(KEY_VARIABLE, "").strip(), KEY_VARIABLE)
    try:
        token = read_bounded(file, _MAX_TOKEN_BYTES).decode("utf-8", errors="replace").strip()
    except DataError as error:
        raise UsageError(f"expected a file with the token: {error}") from error
    # An empty file was meant to hold one.
    return checked_token(token or " ", str(file))


_REMEDY = f"put one in {KEY_VARIABLE} or in a file for --token-file, or serve this machine alone with --host 127.0.0.1"


def check_reachable(host: str, token: str | None, remedy: str = _REMEDY) -> bool:
    """Return whether a host is this machine alone.

    Args:
        host: where the server listens.
        token: that its clients need.
        remedy: what to do where a token is missing, for the error message.

    Raises:
        UsageError: others can reach it, and there is no token.
    """
    if is_this_machine(host):
        return True
    if token is None:
        raise UsageError(f"{host} can be reached by others, who would need a token: {remedy}")
    return False


def is_token_of(authorization: str, token: str) -> bool:
    """Return whether the header ``Authorization`` of a request holds a server's token."""
    kind, _, given = authorization.partition(" ")
    # Both are compared in full, whatever they begin with.
    return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
