"""Run the application with uvicorn: its address, its token, its limits, and a clean end. Needs the extra ``serve``."""

import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from molmo_agent.errors import DataError, EnvError, MissingExtraError, UsageError
from molmo_agent.parse import read_bounded
from molmo_agent.pointers.served.network import KEY_VARIABLE, is_this_machine
from molmo_agent.serve.http.limits import Limits

_MIN_TOKEN_CHARS, _MAX_TOKEN_BYTES = 16, 4_096
# Of the headers of one request.
_MAX_HEADER_BYTES = 32_768


def read_token(file: Path | None) -> str | None:
    """Return the token that clients need: from a file, or from the variable MOLMO_API_KEY; None if there is none.

    Raises:
        UsageError: the file cannot be read, or the token is too short or cannot be sent.
    """
    if file is not None:
        try:
            token, source = read_bounded(file, _MAX_TOKEN_BYTES).decode("utf-8", errors="replace").strip(), str(file)
        except DataError as error:
            raise UsageError(f"expected a file with the token: {error}") from error
    else:
        token, source = os.environ.get(KEY_VARIABLE, "").strip(), KEY_VARIABLE
        if not token:
            return None
    if len(token) < _MIN_TOKEN_CHARS or not all("!" <= char <= "~" for char in token):
        raise UsageError(
            f"expected the token in {source} to have at least {_MIN_TOKEN_CHARS} letters, digits and signs without "
            "blanks; make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token


def check_reachable(host: str, token: str | None) -> bool:
    """Return whether a host is this machine alone.

    Raises:
        UsageError: others can reach it, and there is no token.
    """
    if is_this_machine(host):
        return True
    if token is None:
        raise UsageError(
            f"{host} can be reached by others, who would need a token: put one in {KEY_VARIABLE} or in a file for "
            "--token-file, or serve this machine alone with --host 127.0.0.1"
        )
    return False


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        EnvError: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(1024)
        except BaseException:
            opened.close()
            raise
    except OSError as error:
        raise EnvError(
            f"cannot serve at {host}:{port}: {error.strerror or error}; choose another --port, or 0 for a free one"
        ) from error
    return opened


def run_server(
    app: Any,
    listening: socket.socket,
    limits: Limits,
    on_start: Callable[[Callable[[], None]], object] = lambda end: None,
) -> None:
    """Serve until the process is told to end: then accept nothing more, answer what waits, and return.

    A second signal ends it without the answers.

    Args:
        app: the application.
        listening: from :func:`open_socket`; closed at the end.
        limits: of connections and times.
        on_start: called when requests are accepted, with a function that ends the server as a signal does.

    Raises:
        MissingExtraError: the extra is not installed.
    """
    try:
        import uvicorn

        from molmo_agent.serve.http.uvicorn_parts import BoundedProtocol, EndingServer
    except ImportError as error:
        raise MissingExtraError("agent serve", "serve") from error
    protocol = type("Protocol", (BoundedProtocol,), {"headers_s": limits.headers_s})
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=math.ceil(limits.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(limits.drain_s),
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )
    with listening:
        EndingServer(config, on_start).run(sockets=[listening])
