"""The gate in front of every route: who may ask, from which page, and what no answer lacks or shows.

Without a token a server is for this machine alone, but any page in a browser on this machine could send requests to
it. So it then answers only requests that were meant for it (``Host``), and none from pages of others (``Origin``).
"""

import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from molmo_agent.serve.http.address import is_token_of
from molmo_agent.serve.http.metrics import Metrics
from molmo_agent.serve.http.problems import ClientGone, Problem, problem_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# nginx's status for a client that closed the connection: for the metrics; nobody reads the response.
GONE = 499
_LOCAL_HOST = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?", re.IGNORECASE)
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Gate:
    """ASGI middleware.

    Args:
        app: the application inside.
        respond: makes the response of a problem.
        metrics: counts every request.
        token: that requests need; None: none is needed.
        open_paths: need no token.
        is_local: whether only requests to this machine's own names are answered.
        routes: the server's paths.
    """

    def __init__(
        self,
        app: Any,
        *,
        respond: Callable[[Problem], Any],
        metrics: Metrics,
        token: str | None,
        open_paths: Collection[str],
        is_local: bool,
        routes: Collection[str],
    ) -> None:
        self._app, self._respond, self._metrics = app, respond, metrics
        self._token = token
        self._open_paths, self._is_local, self._routes = open_paths, is_local, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        # Then the router raises an error for an unknown path instead of answering in its own words.
        scope["app"] = self

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        try:
            try:
                self._check(scope)
                await self._app(scope, receive, send_with_headers)
            except ClientGone:
                status = status or GONE
            # Every exception: uvicorn would log a traceback and answer in its own words.
            except Exception as error:
                if status:
                    # The answer has begun: cutting it off is all that is left.
                    raise
                await self._respond(self._problem_of(error, scope))(scope, receive, send_with_headers)
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.count_request(route, status or 500, time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        """Refuse a request that was not meant for this server, or has not its token.

        Raises:
            Problem: it is refused.
        """
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        host = headers.get("host", [""])[0]
        if self._is_local and not _LOCAL_HOST.fullmatch(host):
            raise Problem(
                421,
                f"this server is for its own machine, as localhost; the request was for {host[:80]!r}. "
                "To serve others: agent serve --host with a token",
                code="wrong_host",
            )
        origin = headers.get("origin", [None])[0]
        # Pages of others have no token.
        if self._token is None and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Problem(403, f"pages of {origin[:80]!r} may not ask this server", code="wrong_origin")
        if self._token is None or scope["path"] in self._open_paths:
            return
        authorization = headers.get("authorization", [""])[0]
        if not is_token_of(authorization, self._token):
            got = "another one" if authorization.partition(" ")[2] else "none"
            raise Problem(
                401,
                f"expected this server's token as 'Authorization: Bearer ...', got {got}",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _problem_of(self, error: Exception, scope: Scope) -> Problem:
        if not isinstance(error, HTTPException):
            return problem_of(error)
        known = "; known: " + ", ".join(sorted(self._routes)) if error.status_code == 404 else ""
        message = f"{error.detail}: {scope['method'][:20]} {scope['path'][:100]}{known}"
        return Problem(error.status_code, message, code="http_error", headers=error.headers)
