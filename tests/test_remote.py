"""Against a real HTTP server on this machine that answers, and that misbehaves on request."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from molmo_agent import load_model
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Answerer
from molmo_agent.pointers.remote import PROFILES, RemotePointer, profile_of
from molmo_agent.testing import check_model

PICTURE = np.zeros((40, 80, 3), dtype=np.uint8)


class Server:
    """Serves chat completions; ``plan`` says what the next requests meet, then all is well."""

    def __init__(self):
        self.plan, self.seen, self.reply = [], [], ' <point x="25.0" y="50.0" alt="a">a</point>'
        self.busy = self.most = 0
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                """Say nothing."""

            def send(self, status, body, kind="application/json"):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    what = outer.plan.pop(0) if outer.plan else "ok"
                    outer.busy += 1
                    outer.most = max(outer.most, outer.busy)
                try:
                    if what == "slow":
                        time.sleep(1.0)
                    if what == "cut":
                        self.connection.close()
                    elif what == "html":
                        self.send(200, b"<html>Welcome</html>", "text/html")
                    elif isinstance(what, int):
                        self.send(what, json.dumps({"error": {"message": f"no, {what}"}}).encode())
                    elif what == "linger":
                        time.sleep(0.2)
                        self.answer()
                    else:
                        self.answer()
                except (BrokenPipeError, ConnectionResetError):
                    return
                finally:
                    with lock:
                        outer.busy -= 1

            def answer(self):
                message = {"role": "assistant", "content": outer.reply}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
                self.send(200, json.dumps(whole).encode())

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def connect(server, name="Molmo-7B-D-0924", **options):
    return load_model(f"{server.url}#{name}", **{"retries": 2, "timeout_s": 5.0, **options})


def test_a_served_model_is_a_pointing_model(server):
    model = connect(server)
    assert check_model(model).status == "ok"
    result = model.point(PICTURE, "the a")
    assert [p.point for p in result.points] == [Point(0.25, 0.5)]
    path, _, body = server.seen[-1]
    assert path == "/v1/chat/completions"
    assert body["model"] == "Molmo-7B-D-0924"
    picture, text = body["messages"][0]["content"]
    assert text["text"] == "Point to the a"
    sent = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].partition(",")[2])))
    assert sent.size == (80, 40)


def test_pixels_of_a_picture_that_was_made_smaller_lead_back(server):
    server.reply = '[{"point_2d": [640, 320], "label": "a"}]'
    model = connect(server, "Qwen2.5-VL-7B")
    result = model.point(np.zeros((1280, 2560, 3), dtype=np.uint8), "a")
    (found,) = result.points
    assert (found.point.x, found.point.y) == pytest.approx((0.5, 0.5), abs=1e-3)  # the middle of its pixel


@pytest.mark.parametrize("trouble", [429, 500, 503, "cut"])
def test_what_passes_is_tried_again(server, trouble):
    server.plan = [trouble]
    assert connect(server).point(PICTURE, "x").status == "ok"
    assert len(server.seen) == 2


def test_a_server_that_is_too_slow_is_told_so(server):
    server.plan = ["slow", "slow"]
    with pytest.raises(ModelError, match="did not answer in time, 2 times"):
        connect(server, retries=1, timeout_s=0.2).point(PICTURE, "x")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ([400], "refused with status 400: .*no, 400"),
        ([401], "status 401.*set MOLMO_API_KEY"),
        ([500] * 3, "refused with status 500"),
        (["html"], "is it the address of the API"),
    ],
)
def test_what_does_not_pass_is_one_clear_error(server, plan, message):
    server.plan = plan
    with pytest.raises(ModelError, match=message):
        connect(server).point(PICTURE, "x")


def test_nobody_there_is_told_so():
    model = load_model("http://127.0.0.1:9/v1#Molmo-7B-D", retries=0, timeout_s=1.0)
    with pytest.raises(ModelError, match=r"cannot reach .* Is the server running"):
        model.point(PICTURE, "x")


def test_the_key_comes_from_the_environment_and_is_never_shown(server, monkeypatch):
    monkeypatch.setenv("MOLMO_API_KEY", "sk-very-secret")
    server.plan = [403]
    model = connect(server)
    with pytest.raises(ModelError) as caught:
        model.point(PICTURE, "x")
    assert server.seen[0][1]["authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in f"{caught.value!r} {vars(model)!r}".replace(repr(model._key), "")


def test_questions_go_out_side_by_side_but_not_all_at_once(server):
    server.plan = ["linger"] * 6
    results = connect(server, concurrency=3).point_batch([PICTURE] * 6, ["x"] * 6)
    assert [result.status for result in results] == ["ok"] * 6
    assert 1 < server.most <= 3


def test_questions_in_words_go_out_as_they_stand_and_replies_come_whole(server):
    server.reply = "  two dogs\n"
    model = connect(server)
    assert isinstance(model, Answerer)
    assert model.answer_batch([PICTURE, PICTURE], ["vqa2: what?", "who?"], max_new_tokens=12) == ["two dogs"] * 2
    assert {body["messages"][0]["content"][1]["text"] for _, _, body in server.seen} == {"vqa2: what?", "who?"}
    assert {body["max_tokens"] for _, _, body in server.seen} == {12}


@pytest.mark.parametrize("reply", ["", "I think it is there.", ' <point x="250.0" y="5.0" alt="a">a</point>'])
def test_a_reply_that_is_no_point_is_no_place(server, reply):
    server.reply = reply
    result = connect(server).point(PICTURE, "x")
    assert result.status != "ok"
    assert result.points == ()


def test_how_a_model_writes_points_is_known_or_asked_for():
    assert profile_of("allenai/Molmo2-8B") is PROFILES["molmo2"]
    assert profile_of("Molmo-72B-0924") is PROFILES["molmo"]
    assert profile_of("my-model", "tuple").dialect == "tuple"
    with pytest.raises(UsageError, match=r"my-model\?dialect=molmo"):
        profile_of("my-model")
    with pytest.raises(UsageError, match="expected one of the dialects"):
        profile_of("my-model", "klingon")
    with pytest.raises(UsageError, match="expected an address and a model"):
        RemotePointer.from_address("http://host:8000/v1")
