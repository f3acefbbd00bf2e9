"""The requests of the page on speech and questions."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from molmo_agent.pixmo.ask_anything import readable
from molmo_agent.pixmo.cap import QUESTIONS
from molmo_agent.pixmo.collect.app import read_body, read_values
from molmo_agent.pixmo.collect.project import Project, checked_name
from molmo_agent.pixmo.collect.tasks import Helpers, Questions, Speech, transcripts

# 16 bits at 16 kHz: half an hour.
_MAX_AUDIO = 60_000_000


def task_routes(project: Project, helpers: Helpers) -> list[Route]:
    """Return what is answered on speech and questions.

    Args:
        project: the collection.
        helpers: what recognises, reads, describes and writes.
    """
    speech, questions = Speech(project, helpers), Questions(project, helpers)

    def said(request: Request) -> Response:
        item, annotator = project.item(request.path_params["item"]), checked_name(request.query_params.get("annotator"))
        mine: dict[str, Any] = transcripts(project, item).get(annotator, {})
        recogniser = helpers.recogniser.name if helpers.recogniser else None
        return JSONResponse(
            {
                "questions": QUESTIONS,
                "least_seconds": helpers.least_seconds,
                "recogniser": recogniser,
                "transcript": mine.get("transcript", ""),
                "seconds": mine.get("seconds"),
            }
        )

    async def audio(request: Request) -> Response:
        checked_name(request.query_params.get("annotator"))
        project.item(request.query_params.get("item"))
        data = await read_body(request, "audio/wav", _MAX_AUDIO)
        return JSONResponse(await run_in_threadpool(speech.keep, data))

    async def transcript(request: Request) -> Response:
        values = await read_values(request)
        item = project.item(values.get("item"))
        annotator = checked_name(values.get("annotator"))
        await run_in_threadpool(speech.save, annotator, item, values.get("transcript"), values.get("audio"))
        return JSONResponse({"saved": True})

    async def ask(request: Request) -> Response:
        values = await read_values(request)
        item, annotator = project.item(values.get("item")), checked_name(values.get("annotator"))
        draft = await run_in_threadpool(questions.ask, annotator, item, values)
        return JSONResponse({**draft, "answer": readable(draft["answer"])})

    async def accept(request: Request) -> Response:
        values = await read_values(request)
        item, annotator = project.item(values.get("item")), checked_name(values.get("annotator"))
        await run_in_threadpool(questions.accept, annotator, item, values.get("thread"))
        return JSONResponse({"saved": True})

    return [
        Route("/api/said/{item}", said),
        Route("/api/audio", audio, methods=["POST"]),
        Route("/api/transcript", transcript, methods=["POST"]),
        Route("/api/ask", ask, methods=["POST"]),
        Route("/api/ask/accept", accept, methods=["POST"]),
    ]
