"""Keys, account names and passwords go to the server that they are for, over a way that nobody reads, or nowhere."""

import contextlib
import io
import os
import socket
import sys
import threading
import time

import numpy as np
import pytest
from chat_server import Raw, Server

from molmo_agent import load_model
from molmo_agent.cli import run
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation.judged.judge import open_judge
from molmo_agent.pixmo.language_model.client import Budget, LanguageModel
from molmo_agent.pointers.served import network
from molmo_agent.policies.planner.served import ServedPlanner

PICTURE = np.zeros((40, 80, 3), dtype=np.uint8)
VENDOR = {
    "OPENAI_API_KEY": "sk-vendor-1",
    "OPENAI_ADMIN_KEY": "sk-admin-2",
    "OPENAI_ORG_ID": "org-3",
    "OPENAI_ORGANIZATION": "org-4",
    "OPENAI_PROJECT_ID": "proj-5",
    "OPENAI_WEBHOOK_SECRET": "hook-6",
    "OPENAI_CUSTOM_HEADERS": "X-Team: team-7\nAuthorization: Bearer custom-8",
}


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def vendor_variables(monkeypatch):
    for name, value in VENDOR.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MOLMO_API_KEY", raising=False)


def ask(server):
    return load_model(f"{server.url}#Molmo-7B-D", retries=0, timeout_s=30.0).point(PICTURE, "a")


@pytest.mark.usefixtures("vendor_variables")
def test_another_server_gets_nothing_that_identifies_the_user(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    server.models, server.plan = ["other"], [404]
    with pytest.raises(ModelError, match="the server offers these models: other"):
        ask(server)
    assert ask(server).status == "ok"
    for _, headers, _ in server.seen:
        assert "authorization" not in headers
        sent = str(headers)
        assert not [value for value in VENDOR.values() if value in sent]
        assert not [word for word in ("team-7", "custom-8", "x-stainless-os", "cookie") if word in sent]


@pytest.mark.usefixtures("vendor_variables")
def test_lists_of_models_are_asked_for_without_accounts_too(server, monkeypatch):
    seen = []
    handler = server.http.RequestHandlerClass
    get = handler.do_GET
    monkeypatch.setattr(handler, "do_GET", lambda self: (seen.append(str(self.headers)), get(self)))
    server.models, server.plan = ["other"], [404]
    with pytest.raises(ModelError, match="other"):
        ask(server)
    assert len(seen) == 1
    assert not [value for value in VENDOR.values() if value in seen[0]]


@pytest.mark.usefixtures("vendor_variables")
def test_the_vendor_s_variables_are_for_its_own_host_over_https(monkeypatch):
    own = {"Authorization": "Bearer sk-vendor-1", "OpenAI-Organization": "org-3", "OpenAI-Project": "proj-5"}
    assert network.credentials_for("https://api.openai.com/v1") == own
    assert network.credentials_for("https://API.OpenAI.com:443/v1") == own
    others = [
        "https://api.openai.com.evil.example/v1",
        "https://api-openai.com/v1",
        "https://xapi.openai.com/v1",
        "https://openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com./v1",
        "https://evil.example/api.openai.com/v1",
        "http://localhost:8000/v1",
    ]
    assert {url: network.credentials_for(url) for url in others} == {url: {} for url in others}
    monkeypatch.setenv("MOLMO_API_KEY", "own-9")
    assert network.key_for("https://evil.example/v1") == "own-9"
    assert network.key_for("https://api.openai.com/v1") == "sk-vendor-1"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert network.key_for("https://api.openai.com/v1") == "own-9"


@pytest.mark.usefixtures("vendor_variables")
def test_the_vendor_s_key_is_refused_over_http(monkeypatch):
    with pytest.raises(UsageError, match=r"OPENAI_API_KEY is set, and http would send it to api\.openai\.com in clear"):
        load_model("http://api.openai.com/v1#Molmo-7B-D")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="in clear"):
        load_model("http://api.openai.com/v1#Molmo-7B-D")


def test_over_http_a_key_goes_to_this_machine_alone(monkeypatch):
    monkeypatch.setenv("MOLMO_API_KEY", "own-9")
    here = [
        "http://localhost:1/v1",
        "http://LOCALHOST/v1",
        "http://127.0.0.1/v1",
        "http://127.9.9.9/v1",
        "http://[::1]:8/v1",
    ]
    assert {url: network.key_for(url) for url in here} == dict.fromkeys(here, "own-9")
    for host in (
        "localhost.example",
        "gpu.localhost",
        "127.0.0.1.example",
        "0.0.0.0",
        "10.0.0.1",
        "[::2]",
        "[fd00::1]",
    ):
        with pytest.raises(UsageError, match=r"use https, a tunnel to this machine \(ssh -L\)") as caught:
            network.key_for(f"http://{host}/v1")
        assert "own-9" not in str(caught.value)


@pytest.mark.parametrize("value", ["sk-a\nX-Other: 1", "sk a", "schlüssel", "sk-\x00", "sk-a“"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(monkeypatch, value):
    if "\0" in value:
        monkeypatch.setattr(os, "environ", {**os.environ, "MOLMO_API_KEY": value})
    else:
        monkeypatch.setenv("MOLMO_API_KEY", value)
    with pytest.raises(UsageError, match="MOLMO_API_KEY holds blanks, line ends or letters that no key has") as caught:
        load_model("https://host/v1#Molmo-7B-D")
    assert value not in str(caught.value)


def test_blanks_around_a_key_are_not_part_of_it(server, monkeypatch):
    monkeypatch.setenv("MOLMO_API_KEY", " own-9\n")
    assert ask(server).status == "ok"
    assert server.seen[-1][1]["authorization"] == "Bearer own-9"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_that_names_where_it_points_and_sends_nothing_there(server, monkeypatch, status):
    monkeypatch.setenv("MOLMO_API_KEY", "own-9")
    elsewhere = Server()
    try:
        target = f"{elsewhere.url}/chat/completions?token=own-9"
        server.plan = [Raw(b"", status, headers={"location": target})]
        with pytest.raises(ModelError, match=f"status {status}.*it points to {elsewhere.url}") as caught:
            ask(server)
        assert "own-9" not in str(caught.value)
        assert elsewhere.seen == []
    finally:
        elsewhere.close()


def test_a_request_to_another_server_is_stopped_before_it_is_sent(server):
    elsewhere = Server()
    try:
        model = load_model(f"{server.url}#Molmo-7B-D", retries=0, timeout_s=30.0)
        chat = getattr(model, "inner", model)._chat
        chat._client.base_url = elsewhere.url
        with pytest.raises(ModelError, match=r"was about to go to http://127.0.0.1; it was not sent"):
            model.point(PICTURE, "a")
        assert elsewhere.seen == []
    finally:
        elsewhere.close()


def test_a_netrc_file_is_not_read(server, monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login ada password lovelace\nmachine localhost login ada password lovelace\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    assert ask(server).status == "ok"
    assert "authorization" not in server.seen[-1][1]


ADDRESSES = [
    "http://ada:pa55word@host/v1#Molmo-7B-D",
    "https://pa55word@host/v1#Molmo-7B-D",
    "HTTPS://ada:pa55word@host/v1#Molmo-7B-D",
    "http://ada:x#pa55word@host/v1#Molmo-7B-D",
    "http://ada:x/pa55word@host/v1#Molmo-7B-D",
    "http://ada:x?pa55word@host/v1#Molmo-7B-D",
    "http://ada:x@pa55word@host/v1#Molmo-7B-D",
    "http://ada:pa55word@[::1/v1#Molmo-7B-D",
    "http://ada:pa55word@host/v1",
    "http://ada:pa55word#Molmo-7B-D",
    "http://host/v1?key=pa55word#Molmo-7B-D",
    "http://host/v1?pa55word",
    "ftp://ada:pa55word@host/v1#Molmo-7B-D",
    "http:/ada:pa55word@host/v1#Molmo-7B-D",
    "//ada:pa55word@host/v1#Molmo-7B-D",
    "ada:pa55word@host/v1#Molmo-7B-D",
]


def test_a_password_in_an_address_is_refused_and_shown_nowhere(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    wrong = []
    for address in ADDRESSES:
        monkeypatch.setattr(sys, "stderr", terminal)
        try:
            with run.loading(address, quiet=False):
                load_model(address)
            wrong.append(f"{address} was accepted")
        except UsageError as error:
            if "pa55word" in str(error):
                wrong.append(f"{address}: {error}")
        monkeypatch.undo()
    assert wrong == []
    assert "pa55word" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://api.openai.com@evil.example/v1", "the address of evil.example holds a user name or a password"),
        ("https://аpi.openai.com/v1", r"characters that can be mistaken for others.*xn--"),
        ("https://ａpi.openai.com/v1", "can be mistaken"),
        ("https://api。openai。com/v1", "can be mistaken"),
        ("https://api.openai.com%2eevil.example/v1", "can be mistaken"),
        ("https://api.openai.com\\@evil.example/v1", "without blanks, backslashes and control characters"),
        ("https://api.openai.com\t/v1", "without blanks"),
        ("https://api.openai.com\u200b/v1", "without blanks"),
        ("https:///v1", "expected an address like"),
        ("https://host:port/v1", "expected an address like"),
        ("file:///etc/passwd", "expected an address like"),
    ],
)
def test_a_host_that_can_be_mistaken_for_another_one_is_refused(url, message):
    with pytest.raises(UsageError, match=message):
        network.check_url(url)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://user:pa#ss@host:8000/v1#m", r"expected an address like .*\*\*\*@host"),
        ("https://user:secret@host/v1#m", "holds a user name or a password"),
        ("http://host:8000/v1?key=secret#m", "holds a query"),
        ("http://host:8000/v1", "expected an address and a model"),
    ],
)
def test_planners_judges_and_writers_are_named_by_the_same_rules_as_pointing_models(address, message, tmp_path):
    for open_address in (
        load_model,
        ServedPlanner.from_address,
        lambda address: open_judge(address, tmp_path),
        lambda address: LanguageModel.at(address, tmp_path, Budget(1000)),
    ):
        with pytest.raises(UsageError, match=message) as told:
            open_address(address)
        assert not [part for part in ("pa#", "ss@", "secret") if part in str(told.value)]


@pytest.mark.parametrize(
    "lines", [[b"HTTP/1.1 200 OK\r\n"], [b"HTTP/1.1 200 OK\r\n", b"x-a: 1\r\n"], [b"HTTP/1.1 100 C\r\n\r\n"]]
)
def test_a_server_whose_headers_drip_is_given_up_in_time(lines):
    stop = threading.Event()

    def drip(listener):
        connection, _ = listener.accept()
        with connection:
            for line in lines:
                connection.sendall(line)
            # Longer than the test by far, and a byte often enough for any limit on one read.
            while not stop.wait(0.05):
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        model = load_model(f"{url}#Molmo-7B-D", retries=0, timeout_s=0.5)
        try:
            with pytest.raises(ModelError, match="did not answer in time, 1 times"):
                model.point(PICTURE, "a")
        finally:
            stop.set()
            thread.join()


def test_what_fails_in_the_background_fails_for_the_one_who_waits():
    def fails():
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        network.within(5.0, fails)
    assert network.within(5.0, lambda: 7) == 7
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        network.within(0.01, lambda: time.sleep(0.3))
