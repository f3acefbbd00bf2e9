"""What helps the annotators: a recogniser of speech, a reader of text, a caption model and a language model."""

import hashlib
import itertools
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole
from molmo_agent.images import read_image
from molmo_agent.pixmo.ask_anything import Context, answer
from molmo_agent.pixmo.cap import Recogniser, caption, read_recording
from molmo_agent.pixmo.collect.project import Item, Project, checked_points, checked_text
from molmo_agent.pixmo.language_model.writer import Writer
from molmo_agent.screen_text import TextReader


@dataclass(frozen=True)
class Helpers:
    """The helpers; each may be missing."""

    # Without one, people type their transcripts.
    recogniser: Recogniser | None = None
    reader: TextReader | None = None
    # (image) -> caption, for images that nobody described.
    describe: Callable[[Any], str] | None = None
    writer: Writer | None = None
    # A recording has to last so long.
    least_seconds: float = 60.0


class Speech:
    """Recordings and transcripts of a collection.

    Args:
        project: the collection.
        helpers: its recogniser, if any.
    """

    def __init__(self, project: Project, helpers: Helpers) -> None:
        self._project, self._helpers = project, helpers

    def keep(self, data: bytes) -> dict[str, Any]:
        """Store a recording as the receipt of a description, and return its hash, length and transcript.

        Raises:
            UsageError: it is too short, silent or no WAV file.
            ModelError: the recogniser failed.
            OSError: it cannot be stored.
        """
        recording, least = read_recording(data), self._helpers.least_seconds
        if recording.seconds < least:
            raise UsageError(f"expected a recording of at least {least:g} seconds, got {recording.seconds:.1f}: go on")
        digest = hashlib.sha256(data).hexdigest()
        folder = self._project.folder / "audio"
        folder.mkdir(exist_ok=True)
        write_whole(folder / f"{digest}.wav", data)
        recogniser = self._helpers.recogniser
        text = recogniser.transcribe(recording.samples) if recogniser else ""
        return {"audio": digest, "seconds": round(recording.seconds, 1), "transcript": text}

    def save(self, annotator: str, item: Item, transcript: object, audio: object) -> None:
        """Save a transcript, with the hash of its recording or None.

        Raises:
            UsageError: there is no text, or no such recording.
        """
        values: dict[str, Any] = {"transcript": checked_text(transcript, "a transcript"), "audio": None}
        if audio is not None:
            path = self._project.folder / "audio" / f"{audio}.wav"
            if not isinstance(audio, str) or not audio.isalnum() or not path.is_file():
                raise UsageError("expected a recording that was uploaded before: record it again")
            values |= {"audio": audio, "seconds": round(read_recording(path.read_bytes()).seconds, 1)}
        self._project.record("cap", annotator, item, **values)


def transcripts(project: Project, item: Item) -> dict[str, dict[str, Any]]:
    """Return the last description of each annotator: annotator -> entry of the log."""
    said = (record for record in project.records if record["task"] == "cap" and record["item"] == item.sha256)
    return {record["annotator"]: record for record in said}


class Questions:
    """Questions about the images of a collection, answered until their author accepts.

    Args:
        project: the collection.
        helpers: what reads, describes and writes.
    """

    def __init__(self, project: Project, helpers: Helpers) -> None:
        self._project, self._helpers = project, helpers
        self._mutex = threading.Lock()
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    def ask(self, annotator: str, item: Item, values: dict[str, Any]) -> dict[str, Any]:
        """Return a draft of an answer: the first, or after ``issue``, what is wrong with the last one of ``thread``.

        Raises:
            UsageError: there is no question, no such thread, or nothing is wrong with the last answer.
            ModelError: there is no answer.
        """
        if values.get("thread") is None:
            thread = secrets.token_hex(8)
            question, places = checked_text(values.get("question"), "a question"), self._places(values.get("places"))
            rejected: list[tuple[str, str]] = []
        else:
            thread = str(values["thread"])
            drafts = self._drafts(thread, annotator, item)
            issue = checked_text(values.get("issue"), "what is wrong with the answer")
            question, places = drafts[-1]["question"], drafts[-1]["places"]
            rejected = [(before["answer"], after["issue"]) for before, after in itertools.pairwise(drafts)]
            rejected.append((drafts[-1]["answer"], issue))
        described, lines = self._context(item)
        context = Context(described, lines, {name: checked_points(points) for name, points in places.items()})
        text = answer(question, context, rejected, self._helpers.writer)
        self._project.record(
            "ask",
            annotator,
            item,
            thread=thread,
            question=question,
            places=places,
            answer=text,
            issue=rejected[-1][1] if rejected else None,
        )
        return {"thread": thread, "answer": text}

    def accept(self, annotator: str, item: Item, thread: object) -> None:
        """Accept the last answer of a thread.

        Raises:
            UsageError: there is no such thread.
        """
        self._drafts(str(thread), annotator, item)
        self._project.record("ask", annotator, item, thread=str(thread), accepted=True)

    def _drafts(self, thread: str, annotator: str, item: Item) -> list[dict[str, Any]]:
        found = [
            record
            for record in self._project.records
            if record.get("thread") == thread and record["annotator"] == annotator and record["item"] == item.sha256
        ]
        if not found or any(record.get("accepted") for record in found):
            raise UsageError("expected a question of yours on this image that is still open: ask it again")
        return found

    def _places(self, value: object) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise UsageError(f"expected points by name, got {str(value)[:40]}")
        return {
            checked_text(name, "the name of a point", 200): [
                [round(p.x, 4), round(p.y, 4)] for p in checked_points(points)
            ]
            for name, points in value.items()
            if points
        }

    def _context(self, item: Item) -> tuple[str, tuple[str, ...]]:
        said = [record["transcript"] for record in transcripts(self._project, item).values()]
        # Readers and models take one image at a time.
        with self._mutex:
            self._read(item, described=bool(said))
        described, lines = self._known[item.sha256]
        return (caption(said) if said else described), lines

    def _read(self, item: Item, *, described: bool) -> None:
        if item.sha256 not in self._known:
            helpers, image = self._helpers, read_image(item.path)
            lines = tuple(line.text for line in helpers.reader.read(image)) if helpers.reader else ()
            text = helpers.describe(image) if helpers.describe and not described else ""
            self._known[item.sha256] = text, lines


def accepted(project: Project) -> list[dict[str, Any]]:
    """Return the last draft of each accepted question."""
    last: dict[str, dict[str, Any]] = {}
    done = []
    for record in project.records:
        if record["task"] != "ask":
            continue
        if record.get("accepted"):
            done.append(last[record["thread"]])
        else:
            last[record["thread"]] = record
    return done
