"""Where the servers of this package listen: models, tools, and pages for annotators."""

import os
import socket

from molmo_agent.errors import EnvError


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
