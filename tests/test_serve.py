"""Models over HTTP: points, chat completions, batches, limits and a clean end."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from serving import URL, Model, data_url, events_of, found, messages, png, serving
from waiting import wait_for

from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.point_text.cut_off import mark_cut
from molmo_agent.point_text.parse import DIALECTS, parse_points
from molmo_agent.serve.http.app import create_app
from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.served_model import ServedModel, point_text


@pytest.fixture(scope="module")
def client():
    with serving(Model(), Model(name="only-points", words=None)) as running:
        yield running


# --- Answers ------------------------------------------------------------------------------------------------------


def test_points_come_with_their_frame_size_and_probability(client):
    status, _, body = client.point()
    assert status == 200
    assert body["points"] == [{"x": 0.25, "y": 0.5, "label": "button", "probability": 0.75}]
    assert (body["status"], body["frame"], body["size"], body["model"]) == ("ok", "fraction", [40, 30], "model")
    assert body["reply"] == found().reply


def test_a_chat_completion_has_the_models_own_words_and_the_points_beside_them(client):
    status, _, body = client.chat()
    (choice,) = body["choices"]
    assert status == 200
    assert body["object"] == "chat.completion"
    assert choice["message"] == {"role": "assistant", "content": found().reply, "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert set(body["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert body["points"][0]["probability"] == 0.75
    assert (body["frame"], body["size"]) == ("fraction", [40, 30])


def test_a_message_that_asks_for_no_place_is_answered_in_words(client):
    for text, kind in [
        ("What is this?", "words"),
        ("Describe the image.", "words"),
        ("How many buttons?", "words"),
        ("point at the cat", "point"),
        ('Click on "Save"', "point"),
        ("Where is the menu?", "point"),
        ("  Tap the icon", "point"),
    ]:
        body = client.chat(text)[2]
        assert ("points" in body) == (kind == "point"), text
        assert (body["choices"][0]["message"]["content"] == "a blue button") == (kind == "words"), text
    # The caller may say which; a model that only points takes everything for a place.
    assert "points" in client.chat("the blue one", task="point")[2]
    assert "points" not in client.chat("Where is it?", task="words")[2]
    assert "points" in client.chat("the blue one", model="only-points")[2]


def test_the_instruction_reaches_the_model_without_the_words_around_it():
    model = Model()
    with serving(model) as client:
        for text in ("Point to the Save button", "point at  the cat", 'Click on "OK"'):
            client.chat(text)
    assert model.batches == [["the Save button"], ["the cat"], ['Click on "OK"']]


def test_the_last_message_is_answered_about_the_last_image():
    model = Model()
    with serving(model) as client:
        talk = [
            *messages("Point to the first", data_url(png(seed=5))),
            {"role": "assistant", "content": "..."},
            *messages("Point to the second", None),
        ]
        assert client.send("POST", "/v1/chat/completions", {"messages": talk})[0] == 200
    assert model.batches == [["the second"]]
    assert model.images[0].shape == (30, 40, 3)


def test_a_stream_has_the_same_text_and_points_as_a_whole_answer(client):
    status, headers, body = client.chat(stream=True, stream_options={"include_usage": True})
    first, text, last, usage, done = events_of(body)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert text["choices"][0]["delta"]["content"] == found().reply
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["points"] == client.chat()[2]["points"]
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 0
    assert done == "[DONE]"


def test_words_stream_piece_by_piece(client):
    events = events_of(client.chat("What is it?", stream=True)[2])
    assert [e["choices"][0]["delta"].get("content") for e in events[1:-2]] == ["a ", "blue ", "button"]


def test_words_that_the_limit_cut_off_end_with_length():
    with serving(Model(words=(mark_cut("a blue"),))) as client:
        (choice,) = client.chat("What is it?")[2]["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("a blue", "length")
        events = events_of(client.chat("What is it?", stream=True)[2])
        assert events[1]["choices"][0]["delta"]["content"] == "a blue"
        assert events[-2]["choices"][0]["finish_reason"] == "length"


def test_a_refusal_is_a_refusal(client):
    refused = PointResult(status="refused", reply="I cannot help with that.")
    with serving(Model(result=refused)) as other:
        body = other.chat()[2]
    assert body["choices"][0]["message"]["content"] is None
    assert body["choices"][0]["message"]["refusal"]
    assert (body["status"], body["points"]) == ("refused", [])


def test_the_models_are_listed_with_how_their_points_are_read(client):
    rows = client.send("GET", "/v1/models")[2]["data"]
    assert [row["id"] for row in rows] == ["model", "only-points"]
    assert rows[0] | {"created": 0} == {
        "id": "model",
        "object": "model",
        "created": 0,
        "owned_by": "molmo_agent",
        "dialect": "molmo",
        "scale": 100,
        "min_confidence": 0.5,
        "answers_in_words": True,
        "remark": "for tests",
    }
    assert rows[1]["answers_in_words"] is False
    assert client.send("GET", "/models")[2]["data"] == rows


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_text_of_an_answer_never_reads_as_other_points(dialect: str):
    """Whatever a reply says: one about a part of the image, in another form, or written for people."""
    size = (640, 480)
    inner = ' <point x="90.0" y="90.0" alt="x">x</point> [{"point_2d": [10, 10]}] (0.9, 0.9) click(start_box=\'(9,9)\')'
    here = (LabelledPoint(Point(0.25, 0.5), "a"),)
    wrong = []
    for result in (
        PointResult(status="ok", reply=f"in the window 2: {inner}", points=here, composed=True),
        PointResult(status="ok", reply=inner, points=here),
        PointResult(status="ok", reply="found", points=(LabelledPoint(Point(0, 1), 'a"><point x="1">'),)),
        PointResult(status="none", reply=f"no text fits; nano: {inner}", composed=True),
        PointResult(status="out_of_range", reply=f"a point in the padding: {inner}"),
        PointResult(status="unparsed", reply=inner, composed=True),
        PointResult(status="refused", reply=inner, composed=True),
        PointResult(status="unparsed", reply="There are none.", composed=True),
    ):
        parsed = parse_points(dialect, point_text(result, dialect, size), image_size=size)
        near = all(
            abs(a.point.x - b.point.x) < 0.002 and abs(a.point.y - b.point.y) < 0.002
            for a, b in zip(parsed.points, result.points, strict=False)
        )
        doubtful = result.status not in ("ok", "none")
        same = parsed.status not in ("ok", "none") if doubtful else parsed.status == result.status
        if not (same and near and len(parsed.points) == len(result.points)):
            wrong.append((result, parsed))
    assert wrong == []


def test_several_places_in_a_dialect_of_one_are_no_place():
    points = tuple(LabelledPoint(Point(x, 0.5)) for x in (0.2, 0.8))
    text = point_text(PointResult(status="ok", reply="", points=points), "gui", (100, 100), 1000)
    assert text == "No answer: 2 places fit."
    assert parse_points("gui", text, scale=1000).status == "unparsed"


# --- Batches --------------------------------------------------------------------------------------------------------


def test_questions_about_one_image_are_answered_in_one_batch():
    model, other = Model(), data_url(png(seed=1))
    model.open.clear()
    with serving(model) as client, ThreadPoolExecutor(8) as pool:
        first = pool.submit(client.point, "first")
        assert model.started.acquire(timeout=60)
        asked = [pool.submit(client.point, f"{i}", URL if i % 2 else other) for i in range(6)]
        wait_for(lambda: client.metric('molmo_agent_queue_questions{model="model"}') == 6, "six questions that wait")
        model.open.set()
        assert [one.result()[0] for one in (first, *asked)] == [200] * 7
        assert client.metric('molmo_agent_batch_questions_count{model="model"}') == 3
    assert model.batches[0] == ["first"]
    assert sorted(map(sorted, model.batches[1:])) == [["0", "2", "4"], ["1", "3", "5"]]
    # Decoded once: the same array.
    assert len({id(image) for image in model.images}) == 2
    assert not model.images[0].flags.writeable


def test_a_question_that_fails_does_not_spoil_the_others_of_its_batch():
    model = Model()
    model.open.clear()
    with serving(model) as client, ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.point, "first")
        assert model.started.acquire(timeout=60)
        asked = [pool.submit(client.point, text) for text in ("good", "bad", "fine")]
        wait_for(lambda: client.metric('molmo_agent_queue_questions{model="model"}') == 3, "three questions that wait")
        model.open.set()
        assert [one.result()[0] for one in (first, *asked)] == [200, 200, 500, 200]


def test_memory_of_images_is_limited():
    model = Model()
    with serving(model, limits=Limits(image_cache_bytes=2 * 40 * 30 * 3)) as client:
        for seed in (1, 2, 1, 3, 4, 1):
            client.point(url=data_url(png(seed=seed)))
    assert model.images[0] is model.images[2]
    assert model.images[5] is not model.images[0]


# --- Limits of the queue, time-outs, clients that go ----------------------------------------------------------------


def test_a_full_queue_says_when_to_ask_again():
    model = Model()
    model.open.clear()
    with serving(model, limits=Limits(max_queue=2)) as client, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.point, "first")]
        assert model.started.acquire(timeout=60)
        asked += [pool.submit(client.point, f"{i}") for i in range(2)]
        wait_for(lambda: client.metric('molmo_agent_queue_questions{model="model"}') == 2, "two questions that wait")
        for status, headers, body in (client.point(), client.chat(stream=True)):
            assert status == 429
            assert 1 <= int(headers["retry-after"]) <= 60
            assert body["error"]["type"] == "rate_limit_error"
            assert body["error"]["message"].startswith("2 questions wait already; ask again in ")
        model.open.set()
        assert [one.result()[0] for one in asked] == [200] * 3


def test_an_answer_that_takes_too_long_is_a_timeout_and_leaves_the_queue():
    model = Model()
    model.open.clear()
    with serving(model, limits=Limits(answer_s=0.3)) as client:
        status, _, body = client.point()
        assert (status, body["error"]["code"]) == (504, "timeout")
        assert body["error"]["message"] == "no answer within 0.3 s; ask again later"
        # The model still works for the first one; this one waits in vain, and is never asked.
        assert client.point("second")[0] == 504
        assert events_of(client.chat("What is it?", stream=True)[2])[-1]["error"]["code"] == "timeout"
        model.open.set()
        wait_for(
            lambda: client.metric('molmo_agent_batch_questions_count{model="model"}') == 1, "the end of the first batch"
        )
        assert client.point("third")[0] == 200
    assert model.batches == [["the button"], ["third"]]


def test_a_client_that_goes_takes_its_question_out_of_the_queue():
    model = Model()
    model.open.clear()
    with serving(model) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.point, "first")
        assert model.started.acquire(timeout=60)
        body = json.dumps({"image": URL, "instruction": "nobody waits for it"}).encode()
        names = "host: localhost\r\ncontent-type: application/json"
        head = f"POST /v1/point HTTP/1.1\r\n{names}\r\ncontent-length: {len(body)}"
        connection = socket.create_connection(("127.0.0.1", client.port))
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        wait_for(lambda: client.metric('molmo_agent_queue_questions{model="model"}') == 1, "the question that waits")
        connection.close()
        wait_for(lambda: client.metric('molmo_agent_queue_questions{model="model"}') == 0, "its end")
        assert client.metric('molmo_agent_requests_total{route="/v1/point",status="499"}') == 1
        model.open.set()
        assert first.result()[0] == 200
    assert model.batches == [["first"]]


def test_a_stream_that_nobody_reads_stops_the_model():
    model = Model(words=["word "] * 50_000)
    with serving(model) as client:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        body = json.dumps({"messages": messages("What is it?"), "stream": True})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        connection.getresponse().read(200)
        model.open.clear()
        connection.close()
        time.sleep(0.3)
        model.open.set()
        assert client.point("next")[0] == 200
    assert len(model.batches) < 50_000


# --- Errors ---------------------------------------------------------------------------------------------------------


def test_a_model_that_fails_is_told_without_a_traceback(client, capfd):
    status, _, body = client.point("a bad question")
    assert (status, body["error"]["type"]) == (500, "server_error")
    number = body["error"]["message"].rpartition(" ")[2]
    assert body["error"]["message"] == f"an error of the server; its log has the reason as {number}"
    assert "secret" not in json.dumps(body)
    logged = capfd.readouterr().err
    assert f"error {number}: RuntimeError: secret detail" in " ".join(logged.split())
    assert "Traceback" not in logged
    events = events_of(client.chat("a bad question?", stream=True)[2])
    assert "secret" not in json.dumps(events)
    assert events[-1]["error"]["message"].startswith("an error of the server; its log has the reason as ")


def test_our_own_errors_are_told_in_their_words(capfd):
    with serving(Model(error=ModelError("the picture is too long"))) as client:
        body = client.point("bad")[2]
        assert body["error"]["message"] == "the model could not answer: the picture is too long"
        events = events_of(client.chat("a bad question?", stream=True)[2])
        assert events[-1]["error"]["message"] == "the model could not answer: the picture is too long"
    assert "a model failed: the picture is too long" in " ".join(capfd.readouterr().err.split())


def test_a_server_needs_models_with_different_names():
    with pytest.raises(UsageError, match="expected models with different names, got none"):
        create_app([])
    with pytest.raises(UsageError, match="expected models with different names, got model, model"):
        create_app([ServedModel(Model()), ServedModel(Model())])


# --- Ending ---------------------------------------------------------------------------------------------------------


def test_ending_answers_what_waits_and_accepts_nothing_more():
    model = Model()
    model.open.clear()
    with ThreadPoolExecutor(4) as pool, serving(model) as client:
        asked = [pool.submit(client.point, "first")]
        assert model.started.acquire(timeout=60)
        asked += [pool.submit(client.point, f"{i}") for i in range(2)]
        wait_for(lambda: client.metric('molmo_agent_queue_questions{model="model"}') == 2, "two questions that wait")
        client.end()
        time.sleep(0.3)
        with pytest.raises(OSError):
            client.point()
        model.open.set()
        # Before the end of the block, which ends the server once more: without answers.
        assert [one.result()[0] for one in asked] == [200] * 3


def test_no_thread_stays_behind():
    before = set(threading.enumerate())
    with serving(Model()) as client:
        client.point()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the threads")


def test_a_short_load_leaves_no_error_and_no_queue(client):
    """2,000 requests of 32 clients: benchmarks/serve.py."""
    urls = [data_url(png(seed=seed)) for seed in range(4)]
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda i: client.point(f"{i}", urls[i % 4])[0], range(200)))
    assert statuses == [200] * 200
    assert client.metric('molmo_agent_queue_questions{model="model"}') == 0


def test_an_answer_below_the_threshold_says_so():
    with serving(Model(result=replace(found(), confidence=0.2))) as client:
        assert client.point()[2]["points"][0]["probability"] == 0.2
        assert client.send("GET", "/v1/models")[2]["data"][0]["min_confidence"] == 0.5
