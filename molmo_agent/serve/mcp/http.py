"""MCP over streamable HTTP: on this machine by default; beyond it only with a bearer token, and never from a web page.

A page in a browser on this machine may send requests to it too. It names its origin, and requests with a foreign
origin or host are rejected.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from molmo_agent.errors import UsageError
from molmo_agent.pointers.served.listening import open_socket
from molmo_agent.serve.http.address import check_reachable, checked_token, is_token_of

PATH = "/mcp"
TOKEN_VARIABLE = "MOLMO_AGENT_TOKEN"
# Requests hold words; nothing of a client is larger.
_MAX_BODY_BYTES = 1 << 20

_App = Callable[[Any, Any, Any], Awaitable[None]]


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT`` or ``PORT``; the host is this machine by default.

    Raises:
        UsageError: it has another form.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise UsageError(f"expected HOST:PORT, such as 127.0.0.1:8000, got {text!r}")
    return host, int(port)


class Door:
    """Lets a request in that has the token, and no origin or one of the allowed ones.

    Args:
        app: the ASGI application behind it.
        token: the bearer token; empty: none is needed.
        origins: allowed origins of web pages, such as ``https://host.example``; pages of this machine are not among
            them by themselves.
    """

    def __init__(self, app: _App, token: str = "", origins: Iterable[str] = ()) -> None:
        self._app, self._token, self._origins = app, token, frozenset(origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            headers = {name.lower(): value for name, value in scope["headers"]}
            if problem := self._problem(headers):
                status, text = problem
                await _reply(send, status, text)
                return
        await self._app(scope, receive, send)

    def _problem(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin not in self._origins:
            return 403, "requests of web pages are not allowed; allow an origin with --origin"
        if self._token and not is_token_of(headers.get(b"authorization", b"").decode("latin-1"), self._token):
            return 401, "expected the header Authorization: Bearer TOKEN"
        return None


async def _reply(send: Any, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def make_app(server: MCPServer[Any], host: str, token: str = "", origins: Iterable[str] = ()) -> Door:
    """Return the ASGI application of a server.

    Raises:
        UsageError: others reach the host, and there is no token; or the token is too short or cannot be sent.
    """
    remedy = f"put one in {TOKEN_VARIABLE}, or serve this machine alone with 127.0.0.1"
    local = check_reachable(host, checked_token(token, TOKEN_VARIABLE), remedy)
    origins = tuple(origins)
    for origin in origins:
        if urlsplit(origin).scheme not in ("http", "https") or urlsplit(origin).path:
            raise UsageError(f"expected an origin such as https://host.example, got {origin!r}")
    names = ("127.0.0.1", "localhost", "[::1]")
    security = TransportSecuritySettings(
        # Elsewhere the names of the machine are not known; there the token keeps strangers out.
        enable_dns_rebinding_protection=local,
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=list(origins),
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH, transport_security=security, max_request_body_size=_MAX_BODY_BYTES, host=host
    )
    return Door(app, token, origins)


async def serve(app: Door, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until a signal ends it.

    Args:
        app: from :func:`make_app`.
        host: where to listen.
        port: 0 takes a free one.
        ready: is called with the port once requests are accepted.

    Raises:
        EnvError: the address cannot be used.
    """
    config = uvicorn.Config(app, ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=5)
    listening = open_socket(host, port)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready(listening.getsockname()[1])

    await Server(config).serve(sockets=[listening])
