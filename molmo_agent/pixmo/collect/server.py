"""Serve a collection on this machine alone. Needs the extra ``serve``."""

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from molmo_agent.errors import MissingExtraError
from molmo_agent.pixmo.collect.project import Project
from molmo_agent.pixmo.collect.tasks import Helpers
from molmo_agent.pointers.served.listening import open_socket


def serve(
    folder: Path, port: int, helpers: Helpers, *, on_ready: Callable[[str], object], report: Callable[[str], object]
) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C.

    Args:
        folder: of the collection.
        port: 0: a free one.
        helpers: what recognises speech, reads text and writes answers.
        on_ready: called with the address, which holds the token.
        report: called with one line on each problem of the folder.

    Raises:
        UsageError: there are no images, or the folder is open in another process.
        EnvError: the port is in use.
        MissingExtraError: the web server is not installed.
    """
    with _server(folder, port, helpers, report) as (server, listener, address):
        on_ready(address)
        server.run(sockets=[listener])


@contextmanager
def serving(folder: Path, helpers: Helpers, *, report: Callable[[str], object]) -> Iterator[str]:
    """Serve the page in a thread of this process, and yield its address; see :func:`serve`."""
    with _server(folder, 0, helpers, report) as (server, listener, address):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _server(
    folder: Path, port: int, helpers: Helpers, report: Callable[[str], object]
) -> Iterator[tuple[Any, socket.socket, str]]:
    """Open a collection and a port, and yield the server, its socket and its address."""
    try:
        import uvicorn

        from molmo_agent.pixmo.collect.app import make_app
        from molmo_agent.pixmo.collect.task_routes import task_routes
    except ImportError as error:
        raise MissingExtraError("the page of agent pixmo collect", "serve") from error
    project = Project(folder, report)
    try:
        with open_socket("127.0.0.1", port) as listener:
            bound, token = listener.getsockname()[1], secrets.token_urlsafe(24)
            app = make_app(project, token, bound, task_routes(project, helpers))
            config = uvicorn.Config(app, ws="none", log_level="warning", access_log=False, timeout_graceful_shutdown=5)
            yield uvicorn.Server(config), listener, f"http://127.0.0.1:{bound}/?token={token}"
    finally:
        project.close()
