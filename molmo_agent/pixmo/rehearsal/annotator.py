"""A script that annotates a collection of scenes over HTTP, with the requests of the page."""

import http.client
import json
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from molmo_agent.errors import EnvError
from molmo_agent.geometry import Point
from molmo_agent.parse import load_json
from molmo_agent.pixmo.rehearsal.scenes import COLOURS, Scene
from molmo_agent.pixmo.rehearsal.speech import Asked, questions, transcript

FIRST, SECOND, THIRD = "script-1", "script-2", "script-3"
# Drafts of an answer before a question stays open.
_DRAFTS = 4
_TIMEOUT_S = 120


class Connection:
    """Requests to a collection's server.

    Args:
        address: with the token, as ``agent pixmo collect`` prints it.

    Raises:
        EnvError: the server refused.
    """

    def __init__(self, address: str) -> None:
        url = urllib.parse.urlsplit(address)
        self._http = http.client.HTTPConnection(str(url.hostname), url.port, timeout=_TIMEOUT_S)
        self._http.request("GET", f"/?{url.query}")
        response = self._http.getresponse()
        response.read()
        cookie = response.headers.get("set-cookie", "").partition(";")[0]
        if response.status != 303 or not cookie:
            self._http.close()
            raise EnvError(f"expected the server of a collection at {url.netloc}, got status {response.status}")
        self._headers = {"Cookie": cookie, "Content-Type": "application/json"}

    def get(self, path: str) -> Any:
        """Return what the server answers."""
        return self._call("GET", path, None)

    def post(self, path: str, **values: Any) -> Any:
        """Send values, and return what the server answers."""
        return self._call("POST", path, json.dumps(values))

    def _call(self, method: str, path: str, body: str | None) -> Any:
        self._http.request(method, path, body, self._headers)
        response = self._http.getresponse()
        content = load_json(response.read().decode("utf-8"), where=f"the reply to {path}")
        if response.status != 200:
            raise EnvError(f"expected {path} to be accepted, got status {response.status}: {content.get('error')}")
        return content

    def close(self) -> None:
        """End the connection."""
        self._http.close()


def annotate(address: str, scenes: Mapping[str, Scene]) -> Counter[str]:
    """Annotate the scenes of a collection that nobody described yet, and return the number of requests by kind.

    Two annotators point at every third scene; now and then the second one misses an instance, and a third one settles
    the dispute. Answers are rejected, saying what is missing, until they hold what is right.

    Args:
        address: of the server, with its token.
        scenes: by the SHA-256 of their files.

    Raises:
        EnvError: the server refused.
    """
    server, done = Connection(address), Counter[str]()
    try:
        for row in server.get(f"/api/items?annotator={FIRST}"):
            scene = scenes.get(row["id"])
            if scene is None:
                continue
            if row["counted"] is False:
                _verify(server, row["id"], scene, done)
            if not row["said"]:
                _point(server, row["id"], scene, done)
                _speak(server, row["id"], scene, done)
                for asked in questions(scene):
                    _ask(server, row["id"], asked, done)
    finally:
        server.close()
    return done


def _pairs(points: Iterable[Point]) -> list[list[float]]:
    return [[point.x, point.y] for point in points]


def _verify(server: Connection, item: str, scene: Scene, done: Counter[str]) -> None:
    label = server.get(f"/api/items/{item}?annotator={FIRST}")["count"]["label"]
    points = scene.points_of(label.removesuffix(" shape"))
    server.post("/api/points", annotator=FIRST, item=item, task="count", label=label, points=_pairs(points))
    done["counts"] += 1


def _point(server: Connection, item: str, scene: Scene, done: Counter[str]) -> None:
    rng = np.random.default_rng([0x9017, scene.seed])
    names: dict[str, list[Point]] = {group.name: list(group.points) for group in scene.groups}
    if len(scene.groups) > 1:
        names["shapes"] = [point for group in scene.groups for point in group.points]
    names["sign" if rng.random() < 0.7 else "dark sign"] = [scene.sign_point] if scene.sign else []
    absent = sorted(set(COLOURS) - {group.colour for group in scene.groups})
    names[f"{rng.choice(absent)} shapes"] = []
    for name, points in names.items():
        server.post("/api/points", annotator=FIRST, item=item, label=name, points=_pairs(points))
        done["points"] += 1
        if scene.seed % 3 == 0:
            _point_again(server, item, name, points, rng)
            done["points of a second annotator"] += 1


def _point_again(server: Connection, item: str, name: str, points: list[Point], rng: np.random.Generator) -> None:
    moved = [[float(np.clip(v + rng.normal(0, 0.004), 0, 1)) for v in (point.x, point.y)] for point in points]
    missed = len(moved) > 1 and rng.random() < 0.1
    rng.shuffle(moved)
    server.post("/api/points", annotator=SECOND, item=item, label=name.upper(), points=moved[missed:])
    if missed:
        server.post("/api/points", annotator=THIRD, item=item, label=name, points=_pairs(points), settled=True)


def _speak(server: Connection, item: str, scene: Scene, done: Counter[str]) -> None:
    for speaker, annotator in enumerate((FIRST, SECOND) if scene.seed % 2 else (FIRST,)):
        server.post(
            "/api/transcript", annotator=annotator, item=item, transcript=transcript(scene, speaker), audio=None
        )
        done["transcripts"] += 1


def _ask(server: Connection, item: str, asked: Asked, done: Counter[str]) -> None:
    values: dict[str, Any] = {"annotator": FIRST, "item": item}
    places = {name: _pairs(points) for name, points in asked.places.items()}
    draft = server.post("/api/ask", **values, question=asked.question, places=places)
    for _ in range(_DRAFTS):
        if any(text.casefold() in draft["answer"].casefold() for text in asked.right):
            server.post("/api/ask/accept", **values, thread=draft["thread"])
            done["questions"] += 1
            return
        done["rejected answers"] += 1
        try:
            issue = f"it does not say {asked.right[0]}"
            draft = server.post("/api/ask", **values, thread=draft["thread"], issue=issue)
        except EnvError as error:
            if "no other answer" not in str(error):
                raise
            break
    done["open questions"] += 1
