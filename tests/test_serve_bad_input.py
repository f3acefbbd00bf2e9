"""Requests that a server must not answer: malformed, too large, too slow, hostile, from elsewhere, without a token."""

import json
import socket
import struct
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image
from serving import URL, Model, data_url, messages, png, serving
from waiting import wait_for

from molmo_agent.errors import EnvError, UsageError
from molmo_agent.evaluation.human.server import serve as serve_study
from molmo_agent.pixmo.collect.server import serve as serve_collection
from molmo_agent.pixmo.collect.tasks import Helpers
from molmo_agent.pointers.served.listening import open_socket
from molmo_agent.serve.http.address import check_reachable, read_token
from molmo_agent.serve.http.limits import Limits

TOKEN = "a-token-of-many-letters-0123"


@pytest.fixture(scope="module")
def client():
    limits = Limits(
        max_body_bytes=300_000, max_pixels=1_000_000, max_text_chars=100, headers_s=1.0, body_s=1.0, keep_alive_s=1.0
    )
    with serving(Model(), Model(name="only-points", words=None), limits=limits) as running:
        yield running


def chat(body, **changes):
    return {"model": "model", "messages": messages(), **body, **changes}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """Return a PNG file of a few bytes that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


DEEP = '{"messages": ' + "[" * 5_000 + "]" * 5_000 + "}"
PARTS = [{"type": "image_url", "image_url": {"url": URL}}]
# Body -> (status, part of the message).
BODIES = [
    (b"", 400, "expected the request to be JSON, but Expecting value at line 1, column 1; it ends there"),
    (b"{", 400, "expected the request to be JSON"),
    (b"[1, 2]", 400, "expected the request to be a JSON object, got list"),
    (b'"text"', 400, "expected the request to be a JSON object, got str"),
    (b"\xff\xfe{\0}\0", 400, "expected the request to be UTF-8, got UTF-16"),
    (b'{"a": "\xe9"}', 400, "expected the request to be UTF-8"),
    (b'{"max_tokens": NaN}', 400, "NaN is not a number of JSON"),
    (b'{"max_tokens": ' + b"9" * 5_000 + b"}", 400, "more than 300"),
    (DEEP.encode(), 400, "nested at most 64 levels deep"),
    ({}, 400, "expected 'messages' with at least one message of the user, got none"),
    ({"messages": []}, 400, "expected 'messages' with at least one message"),
    ({"messages": "hello"}, 400, "expected 'messages' with at least one message"),
    ({"messages": [1]}, 400, "expected every message to be an object with a 'role'"),
    ({"messages": [{"content": "x"}]}, 400, "expected every message to be an object with a 'role'"),
    ({"messages": messages(url=None)}, 400, "expected an image: a part of the type 'image_url' with a data URL"),
    ({"messages": messages(text=" \n")}, 400, "expected 'messages' to hold a question, got an empty text"),
    ({"messages": messages(text="x" * 101)}, 400, "expected a question of at most 100 characters, got 101"),
    ({"messages": [*messages(), {"role": "assistant", "content": "."}]}, 400, "the last message to be the user's"),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "expected parts of the type 'text' or 'image_url'"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "got 'input_audio'"),
    ({"messages": [{"role": "user", "content": PARTS * 2}]}, 400, "expected one image per question, got 2"),
    ({"model": "modell", "messages": messages()}, 404, "unknown model 'modell': did you mean model"),
    ({"model": "m" * 500, "messages": messages()}, 404, "known: model, only-points"),
    ({"model": 5, "messages": messages()}, 400, "expected 'model' to be a name, got int"),
    ({"messages": messages(), "n": 2}, 400, "'n' is not supported; leave it out"),
    ({"messages": messages(), "tools": [{}]}, 400, "'tools' is not supported; leave it out"),
    ({"messages": messages(), "response_format": {"type": "json_object"}}, 400, "'response_format' is not supported"),
    ({"messages": messages(), "stream": "yes"}, 400, "expected 'stream' to be true or false, got str"),
    ({"messages": messages(), "max_tokens": 0}, 400, "expected 'max_tokens' to be a whole number from 1, got 0"),
    ({"messages": messages(), "max_completion_tokens": True}, 400, "expected 'max_completion_tokens'"),
    ({"messages": messages(), "task": "click"}, 400, "expected 'task' to be one of point, words, got 'click'"),
    ({"messages": messages(), "task": "words", "model": "only-points"}, 400, "only-points only points"),
]


def test_every_malformed_chat_is_told_what_is_wrong(client):
    wrong = []
    for body, expected, part in BODIES:
        status, _, answer = client.send("POST", "/v1/chat/completions", body)
        error = answer["error"]
        if status != expected or part not in error["message"] or set(error) != {"message", "type", "param", "code"}:
            wrong.append((str(body)[:80], expected, part, status, answer))
    assert wrong == []
    assert client.chat()[0] == 200


# Image -> part of the message. None is fetched or opened.
IMAGES = [
    ("http://127.0.0.1:1/secret.png", "(the server fetches nothing), got 'http://127.0.0.1:1/secret.png'"),
    ("https://example.org/a.png", "(the server fetches nothing)"),
    ("file:///etc/passwd", "(the server fetches nothing)"),
    ("/etc/passwd", "(the server fetches nothing)"),
    ("//example.org/a.png", "(the server fetches nothing)"),
    ("ftp://example.org/a.png", "(the server fetches nothing)"),
    (" data:image/png;base64,AAAA", "(the server fetches nothing)"),
    ("data:text/html;base64,AAAA", "(the server fetches nothing)"),
    ("data:image/png,AAAA", "(the server fetches nothing)"),
    ("data:image/png;base64,ÄÄÄÄ", "(the server fetches nothing)"),
    ("data:image/png;base64,%%%%", "expected an image as base64"),
    ("data:image/png;base64,AAA", "expected an image as base64"),
    ("data:image/png;base64,", "is not a readable image"),
    (data_url(b"GIF89a"), "is not a readable image"),
    (data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "is not a readable image"),
    (data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg+xml"), "is not a readable image"),
    (data_url(png()[:200]), "is not a readable image"),
    (data_url(bomb(30_000, 30_000)), "expected at most 100,000,000 pixels"),
    (data_url(bomb(2_000, 1_000)), "expected an image of at most 1,000,000 px, got 2000 x 1000: shrink it"),
    (data_url(bomb(0, 5)), "the image"),
    (7, "expected an image as a data URL, got int"),
    (None, "expected an image as a data URL, got NoneType"),
    ({"url": URL}, "expected an image as a data URL, got dict"),
]


def test_every_hostile_image_is_refused_and_nothing_is_fetched(client):
    wrong = []
    for image, part in IMAGES:
        status, _, answer = client.send("POST", "/v1/point", {"image": image, "instruction": "x"})
        if status != 400 or part not in answer["error"]["message"] or len(answer["error"]["message"]) > 500:
            wrong.append((str(image)[:60], part, status, answer))
    assert wrong == []
    assert client.point()[0] == 200


def test_a_request_for_points_needs_an_image_and_an_instruction(client):
    for body, part in [
        ({"instruction": "x"}, "expected 'image' with a data URL, got no such field"),
        ({"image": URL}, "expected 'instruction' to hold a question, got NoneType"),
        ({"image": URL, "instruction": ["x"]}, "expected 'instruction' to hold a question, got list"),
    ]:
        status, _, answer = client.send("POST", "/v1/point", body)
        assert (status, answer["error"]["message"]) == (400, part)


def test_large_requests_are_refused_before_they_are_read(client):
    for extra in (
        b"content-length: 300001\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n" + b"4e20\r\n" + b"x" * 20_000,
    ):
        head = b"POST /v1/point HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" + extra
        more = b"" if b"length" in extra else b"\r\n4e20\r\n" + b"x" * 20_000
        answer = client.raw(head + more * 16)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"expected a request of at most 300,000 bytes, got more; send a smaller image" in answer


def test_slow_bodies_and_slow_headers_lose_their_connection(client):
    head = (
        b"POST /v1/point HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    )
    answer = client.raw(head + b'{"image":')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the request did not arrive within 1 s" in answer
    # Nothing, a half line, half of the headers, and half of a second request on the same connection.
    health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    for data in (b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nhost: local", health + b"GET /healthz HT"):
        assert client.raw(data).count(b"HTTP/1.1 200 OK") == data.count(health)


def test_floods_of_headers_and_garbage_are_refused(client):
    for data in (
        b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 100) for i in range(2_000)),
        b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\0\1\2\3\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        try:
            answer = client.raw(data)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (data[:40], answer[:100])
    assert client.point()[0] == 200


def test_paths_and_methods_that_are_not_there_are_told_with_those_that_are(client):
    status, _, body = client.send("GET", "/v1/modles")
    assert (status, body["error"]["message"][:29]) == (404, "Not Found: GET /v1/modles; kn")
    assert "/v1/chat/completions" in body["error"]["message"]
    status, headers, body = client.send("GET", "/v1/point")
    assert (status, headers["allow"], body["error"]["message"]) == (405, "POST", "Method Not Allowed: GET /v1/point")
    for path in ("/../server.py", "/page/index.html", "/page.js/../app.py", "/%2e%2e/app.py", "/page.py"):
        assert client.send("GET", path)[0] == 404, path
    # What clients write is no label of the metrics.
    assert client.metric('molmo_agent_requests_total{route="other",status="404"}') >= 6
    assert "modles" not in client.send("GET", "/metrics")[2]


def test_only_json_is_accepted(client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        status, _, body = client.send("POST", "/v1/point", b"{}", content_type=kind)
        assert status == 415
        assert body["error"]["message"].startswith("expected the content type application/json, got ")
    assert client.send("POST", "/v1/point", b"{}", content_type="application/json; charset=utf-8")[0] == 400


def test_pages_of_others_and_other_names_of_this_machine_get_no_answer(client):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", ""):
        status, _, body = client.send("GET", "/v1/models", host=host)
        assert (status, body["error"]["code"]) == (421, "wrong_host"), host
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000"):
        assert client.send("GET", "/v1/models", host=host)[0] == 200, host
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://127.0.0.1:80@evil.example"):
        status, _, body = client.send("GET", "/v1/models", origin=origin)
        assert (status, body["error"]["message"]) == (403, f"pages of {origin!r} may not ask this server"), origin
    assert client.send("GET", "/v1/models", origin=client.url)[0] == 200


def test_a_token_is_needed_for_all_but_the_page_and_the_health():
    with serving(Model(), token=TOKEN) as client:
        for given in ({}, {"authorization": "Bearer"}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
            for method, path in (
                ("GET", "/v1/models"),
                ("GET", "/metrics"),
                ("POST", "/v1/point"),
                ("GET", "/nothing"),
            ):
                status, headers, body = client.send(method, path, b"{}", **given)
                assert (status, headers["www-authenticate"]) == (401, "Bearer")
                assert body["error"]["message"].startswith(
                    "expected this server's token as 'Authorization: Bearer ...'"
                )
                assert TOKEN not in json.dumps(body)
        for path in ("/", "/page.js", "/page.css", "/healthz"):
            assert client.send("GET", path)[0] == 200
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert client.send("GET", "/v1/models", authorization=f"{scheme} {TOKEN}")[0] == 200
        assert client.send("GET", "/v1/models", authorization="Bearer \xff\xfe")[0] == 401


def test_no_answer_may_run_scripts_of_others_or_be_framed(client):
    for path in ("/", "/v1/models", "/healthz", "/nothing"):
        headers = client.send("GET", path)[1]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_others_can_reach_a_server_only_with_a_token():
    for host in ("0.0.0.0", "::", "192.168.1.5", "gpu.example.org", "localhost.example.org"):
        with pytest.raises(
            UsageError, match="can be reached by others, who would need a token: put one in MOLMO_API_KEY"
        ):
            check_reachable(host, None)
        assert check_reachable(host, TOKEN) is False
    for host in ("127.0.0.1", "::1", "localhost"):
        assert check_reachable(host, None) is True


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("MOLMO_API_KEY", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("MOLMO_API_KEY", f" {TOKEN}\n")
    assert read_token(None) == TOKEN
    file = tmp_path / "token"
    file.write_text(f"{TOKEN[::-1]}\n")
    assert read_token(file) == TOKEN[::-1]
    for content in ("", "short", "with blanks in the middle of it", "ümlaute-und-andere-zeichen", "x" * 5_000):
        file.write_text(content)
        with pytest.raises(UsageError, match=r"expected (the token in .* to have at least 16|a file with the token)"):
            read_token(file)
    with pytest.raises(UsageError, match=r"expected a file with the token: .*cannot be read"):
        read_token(tmp_path / "missing")


def test_a_port_that_is_taken_is_told_with_what_to_do():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EnvError, match=f"cannot serve at 127.0.0.1:{port}: .*; choose another --port, or 0"):
            open_socket("127.0.0.1", port)
    with pytest.raises(EnvError, match=r"cannot serve at no\.such\.host\.invalid:8000"):
        open_socket("no.such.host.invalid", 8000)


def test_a_page_for_annotators_on_a_port_that_is_taken_is_told_with_what_to_do(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    with open_socket("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        message = f"cannot serve at 127.0.0.1:{port}: .*; choose another --port, or 0"
        with pytest.raises(EnvError, match=message):
            serve_study(None, port, lambda address: None)
        with pytest.raises(EnvError, match=message):
            serve_collection(tmp_path, port, Helpers(), on_ready=lambda address: None, report=lambda line: None)


def test_too_many_connections_are_told_and_the_others_go_on():
    with serving(Model(), limits=Limits(max_connections=8)) as client:
        idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(8)]
        assert client.send("GET", "/healthz")[0] == 503
        for connection in idle:
            connection.close()
        wait_for(lambda: client.send("GET", "/healthz")[0] == 200, "room for requests")


@pytest.mark.parametrize("missing", ["starlette", "prometheus_client", "uvicorn"])
def test_a_missing_package_names_its_extra(missing: str, monkeypatch):
    from molmo_agent.errors import MissingExtraError
    from molmo_agent.serve.http import app, server
    from molmo_agent.serve.http.served_model import ServedModel

    for name in [name for name in sys.modules if name.split(".")[0] == missing] + [missing]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("gate", "uvicorn_parts"):
        monkeypatch.delitem(sys.modules, f"molmo_agent.serve.http.{name}", raising=False)

    def start():
        made = app.create_app([ServedModel(Model())])
        with open_socket("127.0.0.1", 0) as listening:
            server.run_server(made, listening, Limits())

    with pytest.raises(MissingExtraError, match=r"agent serve needs the extra 'serve': pip install 'molmo-agent"):
        start()
