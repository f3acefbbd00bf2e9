"""Parts of uvicorn with what it leaves open: a time limit for headers, and an end after which the process continues."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from molmo_agent.interrupts import ENDING_SIGNALS


class BoundedProtocol(H11Protocol):
    """Closes connections whose headers do not arrive in time; uvicorn waits for them without end."""

    headers_s = 10.0
    _deadline: Any = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect_headers()

    def handle_events(self) -> None:
        """Handle what arrived; wait for the rest of a request that has begun."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._forget_deadline()
        elif self.conn.trailing_data[0] and self._deadline is None:
            self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time limit."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(self.headers_s, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class EndingServer(uvicorn.Server):
    """Returns after a signal, which uvicorn's own would raise again; a second signal ends it without its answers.

    Args:
        config: of uvicorn.
        on_start: called when requests are accepted, with a function that ends the server as a signal does.
    """

    def __init__(self, config: uvicorn.Config, on_start: Callable[[Callable[[], None]], object]) -> None:
        super().__init__(config)
        self.should_exit: bool = False
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and report it."""
        await super().startup(sockets)
        self._on_start(self.end)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server inside of the block; one that is ignored, as by nohup, stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        handlers = {number: signal.signal(number, self.end) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def end(self, number: int = 0, frame: Any = None) -> None:
        """End after the answers that wait; called again, without them."""
        self.force_exit, self.should_exit = bool(self.should_exit), True
