"""A server in a thread of this process, with models that do as they are told, and clients that speak plain HTTP."""

import base64
import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.geometry import Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.pointers.served.listening import open_socket
from molmo_agent.serve.http.app import create_app
from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.served_model import ServedModel
from molmo_agent.serve.http.server import run_server


def png(width: int = 40, height: int = 30, seed: int = 0) -> bytes:
    """Return a PNG file with random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


URL = data_url(png())


def messages(text: str = "Point to the button", url: str | None = URL) -> list[dict[str, Any]]:
    image = [] if url is None else [{"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": [*image, {"type": "text", "text": text}]}]


def found(x: float = 0.25, y: float = 0.5, label: str = "button", confidence: float | None = 0.75) -> PointResult:
    reply = f' <point x="{100 * x:.1f}" y="{100 * y:.1f}" alt="{label}">{label}</point>'
    return PointResult(status="ok", reply=reply, points=(LabelledPoint(Point(x, y), label),), confidence=confidence)


@dataclass
class Model:
    """Answers every question with `result`, and in words with `words`; notes its batches.

    While `open` is not set, it waits: so a test decides what is in the queue. `error` is raised instead of an answer to
    a question with the word "bad" in it.
    """

    name: str = "model"
    result: PointResult = field(default_factory=found)
    words: Sequence[str] | None = ("a ", "blue ", "button")
    min_confidence: float | None = 0.5
    error: Exception = field(default_factory=lambda: RuntimeError("secret detail"))
    batches: list[list[str]] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    started: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self):
        self.open.set()
        self.traits = ModelTraits(
            min_confidence=self.min_confidence, answerer=None if self.words is None else self, remark="for tests"
        )

    def point(self, image, instruction, *, max_points=None):
        return self.point_batch([image], [instruction])[0]

    def point_batch(self, images, instructions):
        self._note(images, instructions)
        return [self.result] * len(images)

    def answer_batch(self, images, questions, *, max_new_tokens):
        self._note(images, questions)
        return ["".join(self.words)] * len(images)

    def stream_answer(self, images, question, *, max_new_tokens):
        for piece in self.words:
            self._note(images, [question])
            yield piece

    def _note(self, images, texts):
        self.batches.append(list(texts))
        self.images.append(images[0])
        self.started.release()
        assert self.open.wait(60)
        if any("bad" in text for text in texts):
            raise self.error


class Client:
    """Sends requests to a server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Return (status, headers, body); a body of JSON as a value."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            if body is not None:
                names.setdefault("content-type", "application/json")
            connection.request(method, path, body, names)
            response = connection.getresponse()
            data = response.read()
            known = {name.lower(): value for name, value in response.getheaders()}
            is_json = known.get("content-type", "").startswith("application/json")
            return response.status, known, json.loads(data) if is_json else data.decode()
        finally:
            connection.close()

    def point(self, instruction: str = "the button", url: str = URL, **more: Any) -> tuple[int, dict[str, str], Any]:
        return self.send("POST", "/v1/point", {"image": url, "instruction": instruction, **more})

    def chat(self, text: str = "Point to the button", **more: Any) -> tuple[int, dict[str, str], Any]:
        return self.send("POST", "/v1/chat/completions", {"messages": messages(text), **more})

    def metric(self, line: str) -> float:
        """Return the value of a line of the metrics; 0 if there is none."""
        lines = self.send("GET", "/metrics")[2].splitlines()
        return next((float(one.rpartition(" ")[2]) for one in lines if one.startswith(f"{line} ")), 0.0)

    def raw(self, data: bytes, timeout_s: float = 60) -> bytes:
        """Send bytes; return what comes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(data)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            return answer


def events_of(body: str) -> list[Any]:
    """Return the events of a stream, "[DONE]" as text."""
    data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


@contextmanager
def serving(*models: Any, limits: Limits | None = None, **options: Any) -> Iterator[Client]:
    """Serve models in a thread; end it, and check that it ended."""
    limits = limits or Limits(drain_s=50.0)
    app = create_app([ServedModel(model) for model in models], limits=limits, **options)
    listening = open_socket("127.0.0.1", 0)
    port, started, ends = listening.getsockname()[1], threading.Event(), []

    def on_start(end):
        ends.append(end)
        started.set()

    thread = threading.Thread(target=run_server, args=(app, listening, limits, on_start), daemon=True)
    thread.start()
    assert started.wait(60)
    client = Client(port)
    client.end = ends[0]
    try:
        yield client
    finally:
        ends[0]()
        thread.join(60)
        assert not thread.is_alive()
