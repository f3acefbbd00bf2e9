"""The web application: points and chat completions of models over HTTP. Needs the extra ``serve``.

    GET  /                      a page to try it: drop an image, ask, move a wrong point
    GET  /healthz               whether it accepts questions
    GET  /metrics               numbers for Prometheus
    GET  /v1/models             the models, and how their points are to be read
    POST /v1/chat/completions   OpenAI's chat completions; streaming too
    POST /v1/point              {"image": "data:...", "instruction": "..."} -> points

The API is also there without ``/v1``, as some clients leave it out.
"""

import asyncio
import contextlib
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.serve.http.batcher import Batcher
from molmo_agent.serve.http.completions import completion, events, points_body, usage_body
from molmo_agent.serve.http.images import ImageStore
from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.metrics import Metrics
from molmo_agent.serve.http.problems import ClientGone, Problem, problem_of
from molmo_agent.serve.http.questions import read_chat, read_object, read_point
from molmo_agent.serve.http.served_model import Question, Reply, ServedModel

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
# Bodies from this size on are parsed in a thread, so that other requests do not wait.
_LARGE_BYTES = 200_000
_T = TypeVar("_T")
Handler = Callable[[Any], Coroutine[Any, Any, Any]]

OWNER = "molmo_agent"
"""Who owns a model in the list of models: by this, clients of this package recognize their own servers."""


class Service:
    """The models of a server with their queues, while it runs.

    Args:
        models: at least one, each with a name of its own.
        limits: what it accepts.

    Raises:
        UsageError: no model, or two of one name.
        MissingExtraError: the extra is not installed.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits) -> None:
        self.models = {model.name: model for model in models}
        if len(self.models) < len(models) or not models:
            names = ", ".join(model.name for model in models) or "none"
            raise UsageError(f"expected models with different names, got {names}")
        self.limits, self.metrics, self.started = limits, Metrics(), int(time.time())
        self.queues: dict[str, Batcher] = {}

    @contextlib.asynccontextmanager
    async def running(self, app: Any = None) -> AsyncIterator[None]:
        """Accept questions inside of the block; at its end, answer those that wait."""
        self.images = ImageStore(self.limits)
        for name, model in self.models.items():
            count = partial(self.metrics.count_batch, name)
            queue = Batcher(model.answer, model.stream, self.limits, count)
            self.queues[name] = queue
            self.metrics.watch_queue(name, queue.__len__)
        try:
            yield
        finally:
            queues, self.queues = list(self.queues.values()), {}
            await asyncio.gather(*(queue.close() for queue in queues))

    def queue(self, model: ServedModel) -> Batcher:
        """Return the queue of a model.

        Raises:
            Problem: the server is ending.
        """
        if model.name not in self.queues:
            raise Problem(503, "the server is ending; ask again", code="ending", headers={"Retry-After": "5"})
        return self.queues[model.name]

    async def ask(self, model: ServedModel, question: Question) -> Reply:
        """Return the answer to a question.

        Raises:
            Problem: see :meth:`Batcher.ask`.
            MolmoAgentError: the model failed.
        """
        reply: Reply = await self.queue(model).ask(question.key, question)
        self.metrics.count_answer(model.name, reply.result.status if reply.result else "words")
        return reply


def create_app(
    models: Sequence[ServedModel], *, token: str | None = None, is_local: bool = True, limits: Limits | None = None
) -> Any:
    """Return the application, to be run by an ASGI server.

    Args:
        models: the first one answers requests that name none.
        token: that clients need; None: they need none.
        is_local: whether to answer only requests for this machine's own names, such as localhost.
        limits: what it accepts.

    Raises:
        UsageError: no model, or two of one name.
        MissingExtraError: the extra is not installed.
    """
    try:
        from starlette.routing import Route, Router

        from molmo_agent.serve.http.gate import Gate
    except ImportError as error:
        raise MissingExtraError("agent serve", "serve") from error
    service = Service(models, limits or Limits())
    handlers = _Handlers(service)
    api: list[tuple[str, str, Handler]] = [
        ("GET", "/models", handlers.models),
        ("POST", "/chat/completions", handlers.chat),
        ("POST", "/point", handlers.point),
    ]
    routes = [Route(prefix + path, call, methods=[verb]) for verb, path, call in api for prefix in ("/v1", "")]
    routes += [Route("/healthz", handlers.health), Route("/metrics", handlers.metrics)]
    routes += [Route(path, handlers.file) for path in _FILES]
    return Gate(
        Router(routes, redirect_slashes=False, lifespan=service.running),
        respond=respond,
        metrics=service.metrics,
        token=token,
        open_paths=("/healthz", *_FILES),
        is_local=is_local,
        routes=[route.path for route in routes],
    )


def respond(problem: Problem) -> "Response":
    """Return the response of a problem."""
    from starlette.responses import JSONResponse

    return JSONResponse(problem.body(), problem.status, problem.headers)


class _Handlers:
    """What each route does.

    Args:
        service: the models.
    """

    def __init__(self, service: Service) -> None:
        responses = importlib.import_module("starlette.responses")
        self._response, self._json, self._events = (
            responses.Response,
            responses.JSONResponse,
            responses.StreamingResponse,
        )
        self._service = service

    async def file(self, request: "Request") -> "Response":
        name, kind = _FILES[request.url.path]
        return self._response((_PAGE / name).read_bytes(), media_type=kind)

    async def health(self, request: "Request") -> "Response":
        is_ready = bool(self._service.queues)
        return self._json({"status": "ok" if is_ready else "ending"}, 200 if is_ready else 503)

    async def metrics(self, request: "Request") -> "Response":
        text, kind = self._service.metrics.text()
        return self._response(text, media_type=kind)

    async def models(self, request: "Request") -> "Response":
        more = {"object": "model", "created": self._service.started, "owned_by": OWNER}
        rows = [{"id": name, **more, **model.about()} for name, model in self._service.models.items()]
        return self._json({"object": "list", "data": rows})

    async def chat(self, request: "Request") -> "Response":
        service = self._service
        body = await _read_object(request, service.limits)
        asked = await read_chat(body, service.models, service.images, service.limits)
        if asked.stream:
            pieces = _told(service.queue(asked.model).stream(asked.question), service, asked.model)
            return self._events(events(asked, pieces), media_type="text/event-stream")
        reply = await _unless_gone(request, service.ask(asked.model, asked.question))
        return self._json(completion(asked, reply))

    async def point(self, request: "Request") -> "Response":
        service = self._service
        body = await _read_object(request, service.limits)
        model, question = await read_point(body, service.models, service.images, service.limits)
        reply = await _unless_gone(request, service.ask(model, question))
        extra = {"model": model.name, "reply": reply.result.reply if reply.result else "", "usage": usage_body(reply)}
        return self._json({**points_body(question, reply), **extra})


async def _told(pieces: AsyncIterator[str | Reply], service: Service, model: ServedModel) -> AsyncIterator[str | Reply]:
    """Yield the pieces of an answer; what fails on the way becomes a problem that the client receives."""
    try:
        async for piece in pieces:
            if isinstance(piece, Reply):
                service.metrics.count_answer(model.name, piece.result.status if piece.result else "words")
            yield piece
    # Every exception: the answer has begun, and its end is the place to report it.
    except Exception as error:
        raise problem_of(error) from error


async def _read_object(request: "Request", limits: Limits) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Raises:
        Problem: the body is larger or slower than the limits, or no JSON object.
        ClientGone: the client closed the connection.
    """
    from starlette.requests import ClientDisconnect

    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Forms of other sites can be sent without being asked for, but not as this type.
        raise Problem(415, f"expected the content type application/json, got {kind[:80] or 'none'!r}", code="no_json")
    close = {"Connection": "close"}
    too_large = Problem(
        413,
        f"expected a request of at most {limits.max_body_bytes:,} bytes, got more; send a smaller image",
        code="request_too_large",
        headers=close,
    )
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > limits.max_body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_body_bytes:
                    raise too_large
    except TimeoutError:
        message = f"the request did not arrive within {limits.body_s:g} s"
        raise Problem(408, message, code="slow_request", headers=close) from None
    except ClientDisconnect:
        raise ClientGone from None
    if len(body) > _LARGE_BYTES:
        return await asyncio.to_thread(read_object, bytes(body))
    return read_object(bytes(body))


async def _unless_gone(request: "Request", answer: Awaitable[_T]) -> _T:
    """Return an answer, or stop waiting for it when the client closes the connection.

    Raises:
        ClientGone: it has.
        Exception: what the answer raises.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    waiting, watching = asyncio.ensure_future(answer), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return await waiting
        raise ClientGone
    finally:
        for task in (waiting, watching):
            task.cancel()
        await asyncio.gather(waiting, watching, return_exceptions=True)
