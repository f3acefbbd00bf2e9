"""Run the application with uvicorn: its limits, and a clean end. Needs the extra ``serve``."""

import math
import socket
from collections.abc import Callable
from typing import Any

from molmo_agent.errors import MissingExtraError
from molmo_agent.serve.http.limits import Limits

# Of the headers of one request.
_MAX_HEADER_BYTES = 32_768


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
        listening: from :func:`~molmo_agent.pointers.served.listening.open_socket`; closed at the end.
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
