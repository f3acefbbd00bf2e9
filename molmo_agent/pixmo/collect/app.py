"""The web application of a collection. Other pages of the same browser cannot use it.

A page on another site could send requests to 127.0.0.1, or point a name of its own at it. Therefore:

- the address holds a random token, which becomes a cookie that browsers send from this site alone (SameSite=Strict);
- the Host header has to be this server, so that a foreign name that resolves to 127.0.0.1 is refused;
- requests that change something need a JSON or audio body and, if browsers send it, our own Origin.
"""

import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from molmo_agent.errors import DataError, MolmoAgentError, UsageError
from molmo_agent.parse import load_json
from molmo_agent.pixmo.collect.project import Project, checked_name, count_proposals
from molmo_agent.pixmo.collect.views import image_file, item_view, items_view

PAGE = Path(__file__).parent / "page"
_FILES = {
    "page.css": "text/css",
    "main.js": "text/javascript",
    "stage.js": "text/javascript",
    "points.js": "text/javascript",
    "count.js": "text/javascript",
    "speak.js": "text/javascript",
    "ask.js": "text/javascript",
}
_MAX_BODY = 2_000_000
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Next = Callable[[Request], Awaitable[Response]]


class Gate:
    """Lets in whoever came with the token, from this server's own page.

    Args:
        token: the secret of the address.
        port: of this server.
    """

    def __init__(self, token: str, port: int) -> None:
        self._token, self._cookie = token, f"pixmo-{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Answer a request, or refuse it with the reason."""
        response = self._refusal(request)
        if response is None:
            response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if host not in self._hosts:
            return _problem(f"expected the Host {min(self._hosts)}, got {host[:80]!r}", 421)
        if request.method == "POST":
            origin = request.headers.get("origin")
            if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
                return _problem(f"expected a request of this server's own page, got one of {origin[:80]!r}", 403)
        given = request.query_params.get("token", "")
        if given and request.url.path == "/" and self._is_token(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
            return response
        if not self._is_token(request.cookies.get(self._cookie, "")):
            return _problem("expected the token: open the address that agent pixmo collect printed", 403)
        return None

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token.encode())


def _problem(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)


async def _on_error(_: Request, error: Exception) -> Response:
    return _problem(str(error), 400 if isinstance(error, UsageError) else 500)


async def _on_disk_error(_: Request, error: Exception) -> Response:
    return _problem(f"the answer was not saved: {error}", 507)


async def read_body(request: Request, media_type: str, most: int = _MAX_BODY) -> bytes:
    """Return the body of a request.

    Raises:
        UsageError: it is of another type, or too long.
    """
    given = request.headers.get("content-type", "").partition(";")[0]
    if given != media_type:
        raise UsageError(f"expected a body of type {media_type}, got {given[:40]!r}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise UsageError(f"expected a body of at most {most} bytes; it is longer")
    return bytes(body)


async def read_values(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        UsageError: there is none.
    """
    values = load_json(await read_body(request, "application/json"), where="the request")
    if not isinstance(values, dict):
        raise DataError(f"expected an object, got {str(values)[:40]}")
    return values


class Handlers:
    """The requests of the page on points and counts.

    Args:
        project: the collection.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.proposals = count_proposals(project.folder)

    def routes(self) -> list[Route]:
        """Return what is answered."""
        return [
            Route("/", self.page),
            Route("/page/{name}", self.file),
            Route("/api/items", self.items),
            Route("/api/items/{item}", self.item),
            Route("/api/images/{item}", self.image),
            Route("/api/points", self.save, methods=["POST"]),
            Route("/api/points/delete", self.delete, methods=["POST"]),
        ]

    def page(self, _: Request) -> Response:
        """Return the page."""
        return Response((PAGE / "page.html").read_bytes(), media_type="text/html")

    def file(self, request: Request) -> Response:
        """Return a script or a style sheet of the page."""
        name = request.path_params["name"]
        if name not in _FILES:
            return _problem(f"expected one of {', '.join(_FILES)}", 404)
        return Response((PAGE / name).read_bytes(), media_type=_FILES[name])

    def items(self, request: Request) -> Response:
        """Return the list of images."""
        return JSONResponse(items_view(self.project, _annotator(request), self.proposals))

    def item(self, request: Request) -> Response:
        """Return an image with its annotations."""
        item = self.project.item(request.path_params["item"])
        return JSONResponse(item_view(self.project, item, _annotator(request), self.proposals))

    def image(self, request: Request) -> Response:
        """Return an image's file."""
        data, media_type = image_file(self.project.item(request.path_params["item"]))
        return Response(data, media_type=media_type)

    async def save(self, request: Request) -> Response:
        """Save points, a name that is not there, a verified count, or the end of a dispute."""
        values = await read_values(request)
        annotator, item = checked_name(values.get("annotator")), self.project.item(values.get("item"))
        task = values.get("task", "points")
        if task not in ("points", "count"):
            raise UsageError(f"expected the task points or count, got {str(task)[:40]!r}")
        await run_in_threadpool(
            self.project.save_points,
            annotator,
            item,
            values.get("label"),
            values.get("points"),
            task=task,
            settled=values.get("settled") is True,
        )
        return JSONResponse(item_view(self.project, item, annotator, self.proposals))

    async def delete(self, request: Request) -> Response:
        """Withdraw an answer."""
        values = await read_values(request)
        annotator, item = checked_name(values.get("annotator")), self.project.item(values.get("item"))
        await run_in_threadpool(self.project.delete_points, annotator, item, str(values.get("label")))
        return JSONResponse(item_view(self.project, item, annotator, self.proposals))


def _annotator(request: Request) -> str:
    return checked_name(request.query_params.get("annotator"))


def make_app(project: Project, token: str, port: int, more: list[Route] | None = None) -> Starlette:
    """Make the application.

    Args:
        project: the collection.
        token: the secret of the address.
        port: of the server.
        more: routes of further tasks.
    """
    return Starlette(
        routes=[*Handlers(project).routes(), *(more or [])],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=Gate(token, port))],
        exception_handlers={MolmoAgentError: _on_error, OSError: _on_disk_error},
    )
