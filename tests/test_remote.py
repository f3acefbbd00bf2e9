"""Against a real HTTP server on this machine that answers, and that misbehaves on request."""

import numpy as np
import pytest
from chat_server import Server

from molmo_agent import load_model
from molmo_agent.errors import ModelError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Answerer
from molmo_agent.testing import check_model

PICTURE = np.zeros((40, 80, 3), dtype=np.uint8)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


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
    assert server.question() == "Point to the a"
    assert server.sent_image().size == (80, 40)


@pytest.mark.parametrize("trouble", [429, 500, 503, "cut", "cut within"])
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
    assert "sk-very-secret" not in f"{caught.value!r} {vars(model)!r}"


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
