"""Run the application with uvicorn: its address, its token, its limits, and a clean end. Needs the extra ``serve``."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from molmo_agent.errors import DataError, EnvError, MissingExtraError, UsageError
from molmo_agent.interrupts import ENDING_SIGNALS
from molmo_agent.parse import read_bounded
from molmo_agent.pointers.served.network import KEY_VARIABLE, is_this_machine
from molmo_agent.serve.limits import Limits

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
        import h11
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError as error:
        raise MissingExtraError("agent serve", "serve") from error

    class Protocol(H11Protocol):
        """Closes connections whose headers do not arrive in time; uvicorn waits for them without end."""

        _deadline: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_headers()

        def handle_events(self) -> None:
            super().handle_events()
            waits = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
            has_part = bool(self.conn.trailing_data[0])
            if not waits:
                self._forget_deadline()
            elif has_part and self._deadline is None:
                self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_deadline()
            super().connection_lost(exc)

        def _expect_headers(self) -> None:
            self._deadline = self.loop.call_later(limits.headers_s, self.transport.close)

        def _forget_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    class Server(uvicorn.Server):
        """Returns after a signal; uvicorn's own raises it again at the end."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_start(self.end)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            # A signal that is ignored, as by nohup, stays ignored.
            numbers = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            handlers = {number: signal.signal(number, self.end) for number in numbers}
            try:
                yield
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)

        def end(self, number: int = 0, frame: Any = None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=limits.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=round(limits.drain_s),
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )
    with listening:
        Server(config).run(sockets=[listening])
