"""`agent point` asks `agent serve`: dialect and threshold come from the server, the key from the user."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from serving import Model, found, png, serving

from molmo_agent.child_environment import child_environment
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.images import read_image
from molmo_agent.interfaces import model_traits
from molmo_agent.pointers.careful import careful
from molmo_agent.registry import load_model

pytest.importorskip("openai", reason="needs the extra 'remote'")
TOKEN = "a-token-of-many-letters-0123"
IMAGE = read_image(png(64, 48))


def test_a_remote_pointer_gets_the_points_the_probability_and_the_threshold():
    for name, result in (
        ("my-own-model", found(0.25, 0.5)),
        ("auto", PointResult(status="ok", reply="for people", points=(LabelledPoint(Point(0.9, 0.1)),), composed=True)),
        ("run-7", found(0.0, 1.0, confidence=0.1)),
    ):
        with serving(Model(name=name, result=result)) as client:
            # With and without /v1.
            for address in (f"{client.url}#{name}", f"{client.url}/v1#{name}"):
                with closing(load_model(address)) as pointer:
                    answer = pointer.point(IMAGE, "the button")
                    assert answer.status == "ok"
                    assert answer.points[0].point.distance(result.points[0].point) < 0.001
                    assert answer.confidence == result.confidence
                    assert model_traits(pointer).min_confidence == 0.5
                    assert model_traits(careful(pointer)).min_confidence == 0.5


def test_no_doubtful_answer_becomes_a_point_on_the_way():
    tag = ' <point x="50.0" y="50.0" alt="x">x</point>'
    for status, reply, expected in (
        ("none", f"not found; nano: {tag}", "none"),
        ("out_of_range", f"in the padding: {tag}", "unparsed"),
        ("unparsed", tag, "unparsed"),
        ("refused", tag, "refused"),
    ):
        model = Model(name="some", result=PointResult(status=status, reply=reply, composed=True))
        with serving(model) as client, closing(load_model(f"{client.url}#some")) as pointer:
            answer = pointer.point(IMAGE, "x")
        assert (answer.status, answer.points) == (expected, ())


def test_a_server_that_does_not_list_the_dialect_is_not_trusted_to_have_one(monkeypatch):
    with serving(Model(name="listed")) as client:
        with pytest.raises(UsageError, match="is of no family whose scale is known"):
            load_model(f"{client.url}#other")
        for row in (
            {"owned_by": "someone"},
            {"dialect": "latin"},
            {"dialect": ["molmo"]},
            {"dialect": "molmo", "scale": 7},
            {"scale": True},
        ):
            real = {"id": "listed", "owned_by": "molmo_agent", "dialect": "molmo", "scale": 100, **row}
            monkeypatch.setattr("molmo_agent.pointers.served.chat.Chat.description", lambda self, real=real: real)
            with pytest.raises(UsageError, match="is of no family whose scale is known"):
                load_model(f"{client.url}#listed")


def test_the_users_key_opens_a_server_with_a_token(monkeypatch):
    with serving(Model(name="locked"), token=TOKEN) as client:
        monkeypatch.setenv("MOLMO_API_KEY", TOKEN)
        with closing(load_model(f"{client.url}#locked")) as pointer:
            assert pointer.point(IMAGE, "x").status == "ok"
        monkeypatch.setenv("MOLMO_API_KEY", TOKEN[::-1])
        refused = pytest.raises(ModelError, match="status 401: expected this server's token")
        with closing(load_model(f"{client.url}#locked?dialect=molmo")) as pointer, refused:
            pointer.point(IMAGE, "x")


@pytest.mark.slow
def test_agent_serve_answers_agent_point_and_ends_on_a_signal(tmp_path: Path):
    """The commands themselves, with nano."""
    environment = child_environment(PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join(sys.path))
    agent = [sys.executable, "-m", "molmo_agent"]
    server = subprocess.Popen(
        [*agent, "serve", "--model", "nano", "--model", "centre", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        port = re.search(r"serving nano, centre at http://127\.0\.0\.1:(\d+) ", server.stdout.readline())[1]
        (tmp_path / "image.png").write_bytes(png(320, 240))
        command = [*agent, "point", str(tmp_path / "image.png"), "the blue square", "--json"]
        command += ["--model", f"http://127.0.0.1:{port}#nano"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
        assert json.loads(done.stdout)["status"] in ("ok", "none"), done.stderr
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert server.stdout.read() == "ended\n"
        assert "Traceback" not in server.stderr.read()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        server.stderr.close()


@pytest.mark.parametrize("option", ["--replicas=2", "--max-replicas=2", "--gpus-per-replica=0.5", "--address=auto"])
def test_options_of_ray_go_with_ray(option: str, monkeypatch):
    from typer.testing import CliRunner

    from molmo_agent.cli.app import app

    monkeypatch.delenv("MOLMO_API_KEY", raising=False)
    result = CliRunner().invoke(app, ["serve", option])
    assert isinstance(result.exception, UsageError)
    assert "go with --ray" in str(result.exception)
