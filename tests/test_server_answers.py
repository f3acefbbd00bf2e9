"""What servers answer: in every form that they use, with errors in their own words, past proxies, with their key."""

import json
import shutil
import ssl
import subprocess
import time

import numpy as np
import pytest
from chat_server import Raw, Server, completion
from PIL import Image
from typer.testing import CliRunner

from molmo_agent import load_model
from molmo_agent.cli.app import app
from molmo_agent.errors import MissingExtraError, ModelError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.pointers.served import network

PICTURE = np.zeros((40, 80, 3), dtype=np.uint8)
TAG = '<point x="25.0" y="50.0" alt="a">a</point>'
HERE = Point(0.25, 0.5)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_proxies_and_keys(monkeypatch):
    for name in (*PROXIES, *map(str.lower, PROXIES), "MOLMO_API_KEY", "OPENAI_API_KEY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def ask(server, plan, name="Molmo-7B-D-0924", **options):
    server.plan = [plan]
    model = load_model(f"{server.url}#{name}", **{"retries": 0, "timeout_s": 20.0, **options})
    return model.point(PICTURE, "the a")


# --- Answers in every form --------------------------------------------------------------------------------------------


def chunks(*deltas, finish="stop", end="data: [DONE]\n\n"):
    """Return a stream of events."""
    rows = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    rows.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return Raw("".join(f"data: {json.dumps(row)}\n\n" for row in rows) + end, kind="text/event-stream")


@pytest.mark.parametrize(
    "plan",
    [
        completion({"content": [{"type": "text", "text": TAG}]}),
        completion({"content": [{"type": "text", "text": TAG[:20]}, {"type": "text", "text": TAG[20:]}]}),
        completion({"content": [{"type": "output_text", "text": TAG, "annotations": []}]}),
        completion({"content": [{"type": "thinking", "thinking": "At (9, 9)?"}, {"type": "text", "text": TAG}]}),
        completion({"content": [TAG]}),
        completion({"content": {"type": "text", "text": TAG}}),
        completion({"content": TAG, "reasoning_content": 'At <point x="90" y="90">b</point>?'}),
        completion({"content": TAG, "reasoning": "At (90, 90)?", "refusal": None, "tool_calls": []}),
        completion({"content": f'<think>At <point x="90" y="90">b</point>?</think>\n\n{TAG}'}),
        completion({"content": TAG}, finish=None),
        completion({"content": TAG}, finish="eos"),
        {**completion({"content": TAG}), "error": None, "usage": None},
        Raw("\ufeff" + json.dumps(completion({"content": TAG}))),
        Raw(json.dumps(completion({"content": TAG})), kind="text/plain"),
        chunks({"role": "assistant", "content": ""}, {"content": TAG[:9]}, {"content": TAG[9:]}),
        chunks({"reasoning_content": "At (90, 90)?"}, {"content": TAG}, end=""),
        # Line ends of Unicode that JSON may hold as they are.
        Raw(chunks({"content": f"At:|{TAG}"}).body.replace("|", "\u2028"), kind="text/event-stream"),
        Raw(": keep-alive\n\n" + chunks({"content": TAG}).body, kind="text/event-stream"),
    ],
    ids=lambda plan: str(plan)[:60],
)
def test_an_answer_is_read_in_every_form_that_servers_give_it(server, plan):
    result = ask(server, plan)
    assert [found.point for found in result.points] == [HERE], result


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ('{"action": "left_click", "coordinate": [250, 500]}', "ok"),
        ({"action": "click", "coordinate": [250, 500]}, "ok"),
        ('{"x": 250, "y": 500}', "unparsed"),  # of a tool "computer_use", which has other actions as well
        ('{"action": "type", "text": "250, 500"}', "unparsed"),
        ('{"action": "left_click", "coordinate": [250, 50', "unparsed"),
        ("[250, 500]", "unparsed"),
    ],
)
def test_a_call_of_a_tool_is_an_answer_only_if_it_is_a_click(server, arguments, status):
    call = {"id": "1", "type": "function", "function": {"name": "computer_use", "arguments": arguments}}
    result = ask(server, completion({"content": None, "tool_calls": [call]}, "tool_calls"), "Qwen3-VL-8B")
    assert result.status == status, result
    assert [found.point for found in result.points] == ([HERE] if status == "ok" else [])
    old = completion({"content": None, "function_call": call["function"]}, "function_call")
    assert ask(server, old, "Qwen3-VL-8B").status == status
    two = completion({"content": None, "tool_calls": [call, call]}, "tool_calls")
    assert ask(server, two, "Qwen3-VL-8B").status == "unparsed"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (completion({"content": None, "refusal": "I don't point at people."}), "I don't point at people."),
        (completion({"content": [{"type": "refusal", "refusal": "Not that."}]}), "Not that."),
        (completion({"content": ""}, "content_filter"), "the server's filter stopped the answer"),
        (completion({"content": "I'm sorry, I can't help with that."}), "I'm sorry, I can't help with that."),
    ],
)
def test_a_refusal_is_a_refusal_with_its_words(server, plan, words):
    result = ask(server, plan)
    assert (result.status, result.reply) == ("refused", words)


@pytest.mark.parametrize(
    ("message", "where"),
    [
        ({"content": "<think>Let me look. The button is at " + TAG}, "in the middle of its thoughts"),
        ({"content": None, "reasoning_content": "Let me look. " + TAG}, "in the middle of its thoughts"),
        ({"content": "", "reasoning": "Let me look."}, "in the middle of its thoughts"),
        ({"content": TAG}, "in the middle of its answer"),
        ({"content": TAG + " and more of"}, "in the middle of its answer"),
        ({"content": "<think>Done.</think>" + TAG}, "in the middle of its answer"),
    ],
)
def test_an_answer_that_was_cut_off_is_not_read_and_says_how_to_allow_more(server, message, where):
    result = ask(server, completion(message, "length"), max_tokens=64)
    assert (result.status, result.points) == ("unparsed", ())
    assert result.reply.startswith(f"[the model was stopped after 64 tokens, {where}")
    assert "allow more after its name in the address: ?max_tokens=2048]" in result.reply
    assert str(message["content"] or message.get("reasoning_content") or message.get("reasoning")) in result.reply
    assert ask(server, "ok", "Molmo-7B-D?max_tokens=2048").status == "ok"
    assert server.seen[-1][2]["max_tokens"] == 2048


@pytest.mark.parametrize(
    ("plan", "note"),
    [
        (completion({"content": ""}), "[the server sent an empty answer] "),
        (completion({"content": None}), "[the server sent an empty answer] "),
        (completion({"content": " ", "reasoning_content": "It is " + TAG}), "[the server sent only thoughts and no an"),
        (completion({"content": TAG}, "abort"), "[the server broke the answer off (abort)] "),
        (completion({"content": "", "tool_calls": "x"}), "[the server sent calls of tools that cannot be read]"),
        (
            {**completion({}), "choices": completion({"content": TAG})["choices"] * 2},
            "[the server sent 2 answers to one question] ",
        ),
    ],
)
def test_no_answer_or_more_than_one_is_told_and_not_read(server, plan, note):
    result = ask(server, plan)
    assert result.status == "unparsed"
    assert result.reply.startswith(note)


@pytest.mark.parametrize("words", ["This isn't in the image.", "There is no such button.", "I can't see an a here."])
def test_a_sentence_that_says_no_is_none_and_keeps_its_words(server, words):
    result = ask(server, completion({"content": words}))
    assert (result.status, result.reply) == ("none", words)


@pytest.mark.parametrize("words", ["Das ist nicht im Bild.", "画像にありません。", "Hm, hard to say."])
def test_other_words_are_unparsed_and_shown(server, words, tmp_path):
    assert ask(server, completion({"content": words})).status == "unparsed"
    Image.fromarray(PICTURE).save(tmp_path / "s.png")
    server.plan = [completion({"content": words})]
    shown = CliRunner().invoke(app, ["point", str(tmp_path / "s.png"), "a", "--model", f"{server.url}#Molmo-7B-D"])
    assert shown.exit_code == 1
    assert words in " ".join(shown.output.split())


# --- Errors in the server's own words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"error": {"message": "CUDA out of memory", "code": 500}}, "answered with an error: CUDA out of memory"),
        ({"error": "model is loading"}, "answered with an error: model is loading"),
        ({"object": "error", "error": [{"message": "too many images"}]}, "answered with an error: too many images"),
        (chunks({"content": "x"}).__class__('data: {"error": {"message": "lost a worker"}}\n\n'), "lost a worker"),
        ({"choices": [{"finish_reason": "error", "error": {"message": "upstream died"}}]}, "error: upstream died"),
        ({"choices": []}, "got no choices"),
        ({"choices": None, "model": "m"}, "got no choices"),
        ({"choices": [{"index": 0, "text": "old"}]}, "got a choice without a message"),
        ({"id": "1"}, "got no choices"),
        (Raw("[]"), r"expected a chat completion from .*, got '\[\]'"),
        (Raw("null"), "expected a chat completion"),
        (Raw('{"choices": ['), "got other text: "),
        (Raw(""), "got other text: ''"),
        (
            Raw("<!doctype html><title>Sign in</title><p>Corporate &amp; Co", kind="text/html"),
            "a web page: 'Sign in Corp",
        ),
        (Raw('data: {"choices": [{"delta": {"content": "<po"}}]}\n\n'), "ended early: '<po'"),
        (Raw("data: {broken\n\n"), "got a broken event"),
        (completion({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}), "expected text in the answer"),
        (completion({"content": 5}), "expected text in the answer"),
        ("drip", "did not finish its answer within 1 s"),
        (Raw("x" * 9_000_000), "sent more than 8 MB for one answer"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_successful_status_without_an_answer_is_one_clear_error(server, plan, message):
    with pytest.raises(ModelError, match=message):
        ask(server, plan, timeout_s=1.0 if plan == "drip" else 20.0)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Raw('{"error": {"message": "image too small"}}', 400), "status 400: image too small"),
        (Raw('{"detail": "bad field"}', 422), "status 422: bad field"),
        (Raw('{"message": "nope"}', 500), "status 500: nope"),
        (Raw("<html><style>p{}</style><h1>502 Bad Gateway</h1><p>nginx</p>", 502), "status 502: 502 Bad Gateway nginx"),
        (Raw("busy", 503, headers={"Retry-After": "7"}), "status 503: busy; it asks to wait 7 s"),
        (
            Raw('{"error": {"message": "slow down"}}', 429, headers={"Retry-After": "40"}),
            "slow down; it asks to wait 40",
        ),
        (Raw('{"error": {"message": "no key"}}', 401), "status 401: no key; set MOLMO_API_KEY"),
        (Raw("too large", 413), r"the image is 80 x 40, 0.0 MB: allow larger requests .*\?max_pixels=1000000"),
        (Raw("", 302, headers={"Location": "http://other/v1"}), "status 302: .*it points to http://other/v1: use that"),
        (Raw(b"\xff\xfe bytes", 500), "status 500: "),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_error_status_comes_with_the_server_s_words_and_what_to_do(server, plan, message):
    with pytest.raises(ModelError, match=message):
        ask(server, plan)


def test_the_pause_that_a_server_asks_for_is_kept(server):
    server.plan = [Raw("later", 429, headers={"Retry-After": "1"})]
    model = load_model(f"{server.url}#Molmo-7B-D", retries=1, timeout_s=20.0)
    began = time.monotonic()
    assert model.point(PICTURE, "a").status == "ok"
    assert time.monotonic() - began > 0.9


def test_a_wrong_name_is_answered_with_the_names_that_the_server_has(server):
    server.models = ["Qwen3-VL-8B", "molmo-prod"]
    with pytest.raises(
        ModelError, match="refused with status 404: no, 404; the server offers these models: Qwen3-VL-8B, molmo-prod"
    ):
        ask(server, 404)
    server.models = ["Molmo-7B-D-0924"]
    with pytest.raises(ModelError, match=r"status 404: no, 404$"):
        ask(server, 404)


def test_a_path_without_v1_is_answered_with_the_right_one(server):
    server.models = ["Molmo-7B-D"]
    server.plan = [Raw("<html>404 page not found</html>", 404)]
    root = server.url.removesuffix("/v1")
    model = load_model(f"{root}#Molmo-7B-D", retries=0, timeout_s=20.0)
    with pytest.raises(
        ModelError, match=rf"404 page not found; the API is at {root}/v1#Molmo-7B-D \(models: Molmo-7B-D\)"
    ):
        model.point(PICTURE, "a")
    server.plan, server.models = [404], None
    with pytest.raises(ModelError, match="is it the address of the API"):
        model.point(PICTURE, "a")


def test_an_answer_that_is_cut_off_again_and_again_is_an_error(server):
    server.plan = ["cut within"] * 2
    model = load_model(f"{server.url}#Molmo-7B-D", retries=1, timeout_s=20.0)
    with pytest.raises(ModelError, match="cannot reach"):
        model.point(PICTURE, "a")
    assert len(server.seen) == 2


# --- Proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks5h://u:p@proxy:1080", "nonsense"]
)
def test_a_server_on_this_machine_is_asked_past_any_proxy(server, monkeypatch, variable, proxy):
    monkeypatch.setenv(variable, proxy)
    assert ask(server, "ok").status == "ok"
    server.url = server.url.replace("127.0.0.1", "localhost")
    assert ask(server, "ok").status == "ok"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        "gpu.localhost",
        "192.168.1.7",
        "10.0.0.3",
        "172.20.1.1",
        "gpu-box",
        "gpu.local",
        "server.lan",
        "x.internal",
        "box.home.arpa",
        "[fe80::1]",
        "[fd00::5]",
    ],
)
def test_servers_in_the_own_network_are_asked_past_a_proxy(monkeypatch, host):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert network.proxy_for(f"http://{host}:8000/v1") is None


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "models.example.local.org"])
def test_other_servers_are_asked_through_the_proxy_that_is_set(monkeypatch, host):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert network.proxy_for(f"http://{host}/v1") == ("HTTP_PROXY", "http://proxy:3128")
    assert network.proxy_for(f"https://{host}/v1") is None
    monkeypatch.setenv("all_proxy", "socks5://other:1")
    assert network.proxy_for(f"https://{host}/v1") == ("all_proxy", "socks5://other:1")
    monkeypatch.setenv("NO_PROXY", host)
    assert network.proxy_for(f"http://{host}/v1") is None


def test_a_request_goes_through_the_proxy(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    model = load_model("http://api.example.com/v1#Molmo-7B-D", retries=0, timeout_s=20.0)
    assert model.point(PICTURE, "a").status == "ok"
    assert server.seen[-1][0] == "http://api.example.com/v1/chat/completions"


def test_a_dead_proxy_is_named_with_its_variable_and_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://ada:lovelace@127.0.0.1:9")
    model = load_model("http://api.example.com/v1#Molmo-7B-D", retries=0, timeout_s=20.0)
    with pytest.raises(ModelError, match=r"through the proxy http://\*\*\*@127.0.0.1:9 \(HTTP_PROXY\): ") as caught:
        model.point(PICTURE, "a")
    assert "NO_PROXY=api.example.com" in str(caught.value)
    assert "lovelace" not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("socks5://127.0.0.1:9", "ALL_PROXY names the SOCKS proxy .* pip install socksio.*NO_PROXY=api.example.com"),
        ("gopher://127.0.0.1:9", "expected ALL_PROXY to name a proxy such as http://proxy:3128, got 'gopher:"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_clear_error(monkeypatch, proxy, message):
    if proxy.startswith("socks"):
        monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ModelError, match=message):
        load_model("http://api.example.com/v1#Molmo-7B-D")


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_server(server, tmp_path):
    """A server with a certificate of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.url = f"https://localhost:{server.port}/v1"
    return server, cert


def test_a_certificate_that_is_not_trusted_is_told_with_the_way_to_trust_it(tls_server, monkeypatch):
    server, cert = tls_server
    with pytest.raises(ModelError, match=r"the certificate of localhost is not trusted: .*SSL_CERT_FILE="):
        ask(server, "ok")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert ask(server, "ok").status == "ok"


def test_https_to_a_server_without_it_is_told_the_right_address(server):
    server.url = server.url.replace("http:", "https:")
    with pytest.raises(ModelError, match=rf"does not speak TLS as expected.*use http://127.0.0.1:{server.port}/v1"):
        ask(server, "ok")


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_the_key_of_a_vendor_goes_to_no_other_server(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-vendor")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    assert ask(server, "ok").status == "ok"
    sent = str(server.seen[-1][1])
    assert not any(text in sent for text in ("sk-vendor", "org-1", "proj-1"))
    assert network.key_for("https://api.openai.com/v1") == "sk-vendor"
    assert network.key_for("https://api.openai.com.example.com/v1") is None


@pytest.mark.parametrize("host", ["api.example.com", "192.168.0.9:8000", "gpu-box"])
def test_a_key_is_never_sent_in_clear_to_another_machine(monkeypatch, host):
    monkeypatch.setenv("MOLMO_API_KEY", "sk-own")
    with pytest.raises(
        UsageError, match=r"MOLMO_API_KEY is set, and http would send it to .* in clear: use https"
    ) as caught:
        load_model(f"http://{host}/v1#Molmo-7B-D")
    assert "sk-own" not in str(caught.value)
    assert network.key_for(f"https://{host}/v1") == "sk-own"


@pytest.mark.parametrize("address", ["http://ada:lovelace@host/v1#Molmo-7B-D", "https://token@host/v1#Molmo-7B-D"])
def test_a_password_in_the_address_is_refused_and_not_shown(address):
    with pytest.raises(UsageError, match="the address of host holds a user name or a password") as caught:
        load_model(address)
    assert "lovelace" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_without_the_extra_its_name_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtraError, match="a model on a server needs the extra 'remote'"):
        load_model("http://127.0.0.1:9/v1#Molmo-7B-D")
