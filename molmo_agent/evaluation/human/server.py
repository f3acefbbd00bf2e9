"""The local server of a study: a page for annotators, their next match, and their votes.

It listens on this machine alone. A vote needs the token that is in the page, so that no other web page can vote, and
requests must name this machine as host. Nothing that the page gets before a vote names a model.
"""

import base64
import hashlib
import hmac
import io
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image as PILImage

from molmo_agent.errors import DataError, ImageError, MissingExtraError
from molmo_agent.evaluation.human.schedule import Schedule
from molmo_agent.evaluation.human.votes import (
    BOTH_BAD,
    BOTH_GOOD,
    DONT_KNOW,
    FIRST,
    SECOND,
    VOTES_FILE,
    Vote,
    append_vote,
    drop_cut_end,
    read_votes,
)
from molmo_agent.html import render_page
from molmo_agent.parse import load_json
from molmo_agent.pointers.served.listening import open_socket
from molmo_agent.visible_text import visible_lines, visible_text

HOST = "127.0.0.1"
TOKEN_HEADER = "x-study-token"
_MAX_BODY = 10_000
_MAX_NAME = 60
_MAX_SECONDS = 86_400.0
_IMAGE_SIDE_PX = 2048
_CHOICES = {"a", "b", BOTH_GOOD, BOTH_BAD, DONT_KNOW}


class Ballot:
    """The state behind the page: hands out matches and writes votes. Safe to use from several threads.

    Args:
        schedule: of the study.
        path: file of the votes; those in it count.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, schedule: Schedule, path: Path) -> None:
        self._schedule, self._path, self._lock = schedule, path, threading.Lock()
        drop_cut_end(path)
        schedule.add(read_votes(path))
        # The page asks for an image by number, so that its address says nothing of the question.
        self.image = lru_cache(maxsize=32)(self._image)

    def match(self, annotator: str, *, again: bool = False) -> dict[str, Any]:
        """Return what the page shows an annotator: their next match, or again the one that they voted on last.

        The object has ``number`` None at the end of the study. It names no model.
        """
        with self._lock:
            number = self._schedule.previous(annotator) if again else None
            number = self._schedule.next(annotator) if number is None else number
            progress = dict(self._schedule.progress(annotator))
        if number is None:
            return {"number": None, "progress": progress}
        match = self._schedule.matches[number]
        replies = [visible_lines(match.question.replies[model]) for model in (match.first, match.second)]
        if not self._schedule.first_is_a(annotator, number):
            replies.reverse()
        return {
            "number": number,
            "category": visible_text(match.question.category),
            "question": visible_lines(match.question.text),
            "image": f"image/{number}" if match.question.image is not None else None,
            "a": replies[0],
            "b": replies[1],
            "progress": progress,
        }

    def vote(self, annotator: str, number: int, choice: str, seconds: float) -> None:
        """Write a vote; it replaces the annotator's earlier vote on the same match.

        Args:
            annotator: their name.
            number: of the match.
            choice: "a", "b", "both_good", "both_bad" or "dont_know".
            seconds: from the display to the vote.

        Raises:
            DataError: there is no such match.
            OSError: the vote cannot be written.
        """
        if not 0 <= number < len(self._schedule.matches):
            raise DataError(f"expected the number of a match below {len(self._schedule.matches)}, got {number}")
        match = self._schedule.matches[number]
        first_is_a = self._schedule.first_is_a(annotator, number)
        outcome = {"a": FIRST if first_is_a else SECOND, "b": SECOND if first_is_a else FIRST}.get(choice, choice)
        vote = Vote(
            annotator=annotator,
            question=match.question.id,
            category=match.question.category,
            first=match.first,
            second=match.second,
            outcome=outcome,
            first_is_a=first_is_a,
            seconds=round(seconds, 1),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self._lock:
            append_vote(self._path, vote)
            self._schedule.add([vote])

    def _image(self, number: int) -> bytes | None:
        """Return a match's image as PNG, at most 2048 pixels a side; None if there is none.

        Raises:
            ImageError: it cannot be read.
        """
        if not 0 <= number < len(self._schedule.matches):
            return None
        load = self._schedule.matches[number].question.image
        if load is None:
            return None
        image = PILImage.fromarray(load())
        image.thumbnail((_IMAGE_SIDE_PX, _IMAGE_SIDE_PX))
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        return file.getvalue()


def make_app(schedule: Schedule, folder: Path) -> Any:
    """Return the web application (ASGI) of a study.

    Args:
        schedule: of the study.
        folder: of the votes.

    Raises:
        MissingExtraError: the extra ``serve`` is not installed.
        DataError: the file of votes is damaged.
    """
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import Request
        from starlette.responses import HTMLResponse, JSONResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise MissingExtraError("the page of a human evaluation", "serve") from error

    ballot, token = Ballot(schedule, folder / VOTES_FILE), secrets.token_urlsafe(24)
    page = _page(token)

    def allowed(request: Any) -> bool:
        return hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode())

    async def answer(work: Callable[[], Any]) -> Any:
        """Return what the work returns, as JSON; an error as JSON with its message."""
        try:
            return JSONResponse(await run_in_threadpool(work), headers=_HEADERS)
        except (DataError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except OSError as error:
            return JSONResponse({"error": f"the vote cannot be written: {error.strerror}"}, 500)

    async def show_page(_: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    async def show_match(request: Request) -> Response:
        if not allowed(request):
            return JSONResponse({"error": _STALE}, 403)
        query = request.query_params
        return await answer(lambda: ballot.match(_name(query.get("annotator")), again=query.get("again") == "1"))

    async def show_image(request: Request) -> Response:
        try:
            data = await run_in_threadpool(ballot.image, request.path_params["number"])
        except (ImageError, OSError, ValueError) as error:
            return Response(f"{error}", 404)
        return Response(data, media_type="image/png", headers=_HEADERS) if data else Response("no image", 404)

    async def take_vote(request: Request) -> Response:
        if not allowed(request):
            return JSONResponse({"error": _STALE}, 403)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                return JSONResponse({"error": f"expected at most {_MAX_BODY} bytes"}, 413)

        def work() -> dict[str, Any]:
            annotator, number, choice, seconds = _read_vote(body)
            ballot.vote(annotator, number, choice, seconds)
            return ballot.match(annotator)

        return await answer(work)

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/match", show_match),
            Route("/image/{number:int}", show_image),
            Route("/vote", take_vote, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


_STALE = "this page is of an earlier start of the server: reload it"
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def _name(value: Any) -> str:
    """Return an annotator's name.

    Raises:
        DataError: it is none.
    """
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not 0 < len(name) <= _MAX_NAME or visible_text(name) != name:
        raise DataError(f"expected a name of 1 to {_MAX_NAME} visible characters")
    return name


def _read_vote(body: bytes) -> tuple[str, int, str, float]:
    """Return (annotator, match, choice, seconds).

    Raises:
        DataError: this is no vote.
    """
    row = load_json(body, where="the vote")
    if not isinstance(row, dict):
        raise DataError("expected the vote to be an object")
    number, choice, seconds = row.get("number"), row.get("choice"), row.get("seconds", 0)
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError("expected the number of a match")
    if not isinstance(choice, str) or choice not in _CHOICES:
        raise DataError(f"expected a choice of {', '.join(sorted(_CHOICES))}")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise DataError("expected seconds as a number")
    return _name(row.get("annotator")), number, choice, min(max(float(seconds), 0.0), _MAX_SECONDS)


def _page(token: str) -> str:
    script = (Path(__file__).parent / "page_script.txt").read_text(encoding="utf-8")
    return render_page(
        "evaluation/human/page.html.jinja",
        token=token,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def serve(app: Any, port: int, on_start: Callable[[str], None]) -> None:
    """Serve an application on this machine until Ctrl-C.

    Args:
        app: of :func:`make_app`.
        port: 0 takes a free one.
        on_start: called with the address once the port is open.

    Raises:
        EnvError: the port cannot be opened.
    """
    import uvicorn

    with open_socket(HOST, port) as listener:
        on_start(f"http://{HOST}:{listener.getsockname()[1]}/")
        config = uvicorn.Config(
            app, ws="none", log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        uvicorn.Server(config).run(sockets=[listener])
