"""The MCP server with the SDK's own client: over real pipes, over HTTP, in both kinds of the protocol."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import anyio
import pytest
from desktop_screen import needs, wait_for

from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.errors import UsageError
from molmo_agent.pointers.baselines import OraclePointer
from molmo_agent.rollout.guards import Guards
from molmo_agent.serve.session import Session

pytest.importorskip("mcp", reason="needs the extra 'mcp'")

import uvicorn
from mcp import Client, StdioServerParameters
from mcp_types import ElicitResult, Implementation

from molmo_agent.serve.mcp.desk import Desk
from molmo_agent.serve.mcp.http import TOKEN_VARIABLE, make_app, parse_address
from molmo_agent.serve.mcp.server import build_server

ERAS = ["legacy", "2026-07-28"]
FAMILY = {"task": "click-button"}
TOKEN = "a-token-of-more-than-sixteen"


class Screen:
    """A simulated desktop behind a desk, and what was asked about it."""

    def __init__(self, *, seed=3, env=None, **guards):
        self.env = env or SimDesktop(max_steps=10_000)
        _, info = self.env.reset(seed=seed, options=FAMILY)
        self.target = info["instruction"].removeprefix("click the ")
        self.guards, self.seed, self.questions = guards, seed, []
        self.desk = Desk(self.open, idle_s=guards.pop("idle_s", 60.0))
        self.server = build_server(self.desk)

    def open(self, ask):
        if self.guards.get("confirm", "never") != "never":
            self.guards["ask"] = ask
        model = OraclePointer(self.env.locate)
        return Session(self.env, model, guards=Guards(**self.guards), seed=self.seed, options=FAMILY)

    def client(self, mode="legacy", answer=None, **options):
        async def elicit(context, params):
            self.questions.append(params.message)
            return answer(params) if callable(answer) else answer

        return Client(self.server, mode=mode, elicitation_callback=elicit if answer else None, **options)

    def run(self, work, **options):
        """Let a client work."""

        async def main():
            async with self.client(**options) as client:
                return await work(client)

        try:
            return anyio.run(main)
        finally:
            self.desk.close()


def call(client, name, **arguments):
    return client.call_tool(name, arguments)


YES = ElicitResult(action="accept", content={"allow": True})
NO = ElicitResult(action="accept", content={"allow": False})
DECLINE = ElicitResult(action="decline")


# --- Tools ------------------------------------------------------------------------------------------------------------


def test_every_tool_says_what_it_may_change_and_what_it_returns():
    async def work(client):
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in Screen().run(work)}
    looking = {"point", "read_text", "screenshot", "wait_for"}
    assert set(tools) == looking | {"click_on", "type_into", "scroll", "drag", "press_keys"}
    for name, tool in tools.items():
        assert tool.annotations.read_only_hint == (name in looking), name
        assert tool.annotations.destructive_hint == (name not in looking | {"scroll"}), name
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema["type"] == "object", name
    assert "ambiguous" in json.dumps(tools["click_on"].output_schema)


@pytest.mark.parametrize("mode", ERAS)
def test_a_click_by_words_is_done_and_verified(mode):
    screen = Screen()

    async def work(client):
        point = await call(client, "point", target=screen.target)
        return point.structured_content, (await call(client, "click_on", target=screen.target)).structured_content

    point, click = screen.run(work, mode=mode)
    assert screen.env is not None
    assert click["outcome"] == "verified"
    assert len(click["actions"]) == 1
    place = click["candidates"][0]
    assert (place["x_px"], place["y_px"]) == (point["points"][0]["x_px"], point["points"][0]["y_px"])
    assert point["status"] == "ok"
    assert not point["none"]
    assert point["size"] == {"width": 640, "height": 480}


def test_a_screenshot_comes_as_an_image_within_the_side_that_was_asked_for():
    async def work(client):
        return [await call(client, "screenshot", max_side=side) for side in (64, 300, 1568)]

    sizes = []
    for result in Screen().run(work):
        assert result.content[0].type == "image"
        assert result.content[0].mime_type == "image/png"
        sizes.append((result.structured_content["image"]["width"], result.structured_content["screen"]["width"]))
    assert sizes == [(64, 640), (300, 640), (640, 640)]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("click_on", {"target": ""}, "target"),
        ("click_on", {"target": "x" * 5000}, "target"),
        ("click_on", {"target": " \t "}, "expected target in words"),
        ("press_keys", {"keys": "nokey"}, "names no key"),
        ("scroll", {"notches": 10**9}, "notches"),
        ("scroll", {"direction": "sideways"}, "direction"),
        ("type_into", {"target": "x"}, "text"),
        ("no_such_tool", {}, "no_such_tool"),
    ],
)
def test_a_call_that_cannot_be_meant_is_an_error_of_the_tool(name, arguments, message):
    screen = Screen()

    async def work(client):
        try:
            result = await client.call_tool(name, arguments)
        except Exception as error:
            return str(error)
        assert result.is_error
        return result.content[0].text

    assert message in screen.run(work)


# --- Consent ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(("answer", "outcome"), [(YES, "verified"), (NO, "refused"), (DECLINE, "refused")])
def test_a_person_is_asked_through_the_client(mode, answer, outcome):
    screen = Screen(confirm="always")

    async def work(client):
        return (await call(client, "click_on", target=screen.target)).structured_content

    result = screen.run(work, mode=mode, answer=answer)
    assert result["outcome"] == outcome
    assert bool(result["actions"]) == (outcome == "verified")
    assert screen.target in screen.questions[0]
    assert "Click (" in screen.questions[0]


@pytest.mark.parametrize("mode", ERAS)
def test_without_elicitation_an_action_that_needs_consent_is_refused_with_the_reason(mode):
    screen = Screen(confirm="always")

    async def work(client):
        return (await call(client, "click_on", target=screen.target)).structured_content

    result = screen.run(work, mode=mode)
    assert result["outcome"] == "refused"
    assert result["actions"] == []
    assert "does not support elicitation" in result["message"]
    assert screen.target in result["message"]


def test_a_question_that_is_no_longer_open_moves_nothing():
    screen = Screen(confirm="always")

    async def work(client):
        session = client.session
        first = await session.call_tool("click_on", {"target": screen.target}, allow_input_required=True)
        assert first.result_type == "input_required"
        # Something else is asked for instead, and afterwards the old question is answered.
        await session.call_tool("screenshot", {})
        late = await session.call_tool(
            "click_on",
            {"target": screen.target},
            input_responses={"confirm": YES},
            request_state=first.request_state,
            allow_input_required=True,
        )
        return late.structured_content

    result = screen.run(work, mode="2026-07-28", answer=YES)
    assert result["outcome"] == "refused"
    assert "no longer open" in result["message"]


# --- Guards, cancellation, other clients ------------------------------------------------------------------------------


def test_guards_cannot_be_talked_away_by_a_client():
    from molmo_agent.geometry import Box

    screen = Screen(deny=(Box(0, 0, 1, 1),))

    async def work(client):
        calls = [
            call(client, "click_on", target=screen.target),
            call(client, "press_keys", keys="ctrl+s"),
            call(client, "scroll", direction="down"),
        ]
        return [(await each).structured_content for each in calls]

    for result in screen.run(work):
        assert (result["outcome"], result["actions"]) == ("refused", []), result


class Typing(SimDesktop):
    """Types slowly, letter by letter, and says how far it came."""

    between_inputs = staticmethod(lambda holding: None)

    def __init__(self):
        super().__init__(max_steps=10_000)
        self.typed, self.released = [], False

    def step(self, action):
        try:
            for letter in getattr(action, "text", ""):
                self.between_inputs(False)
                self.typed.append(letter)
                time.sleep(0.02)
        except BaseException:
            self.released = True
            raise
        return super().step(action)


@pytest.mark.parametrize("mode", ERAS)
def test_a_call_that_its_client_cancels_stops_between_two_letters(mode):
    env = Typing()
    screen = Screen(env=env)

    async def work(client):
        with anyio.fail_after(60):
            await type_and_cancel(client)
        # The screen is free again.
        return (await call(client, "click_on", target=screen.target)).structured_content

    async def type_and_cancel(client):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: call(client, "type_into", target=screen.target, text="x" * 5000))
            while len(env.typed) < 3:
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    result = screen.run(work, mode=mode)
    assert len(env.typed) < 1000
    assert env.released
    assert result["outcome"] in ("verified", "no_visible_change")


@contextlib.contextmanager
def http_server(screen, token="", origins=()):
    """Serve a screen over HTTP; yields the address."""
    app = make_app(screen.server, "127.0.0.1", token, origins)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", log_config=None))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
    thread.start()
    wait_for(lambda: server.started, what="the server")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
        screen.desk.close()


@pytest.mark.parametrize("mode", ERAS)
def test_a_second_client_is_told_that_the_screen_is_in_use(mode):
    screen = Screen(idle_s=60)

    async def work(address):
        one = Client(address, mode=mode, client_info=Implementation(name="first", version="1"))
        two = Client(address, mode=mode, client_info=Implementation(name="second", version="1"))
        async with one as first, two as second:
            mine = await call(first, "click_on", target=screen.target)
            theirs = await call(second, "click_on", target=screen.target)
            look = await call(second, "screenshot")
            screen.desk._idle_s = 0
            later = await call(second, "press_keys", keys="f5")
            return mine.structured_content, theirs.structured_content, look, later.structured_content

    with http_server(screen) as address:
        mine, theirs, look, later = anyio.run(work, address)
    assert mine["outcome"] == "verified"
    assert theirs["outcome"] == "refused"
    assert "another client (first 1) is using this screen" in theirs["message"]
    assert look.is_error
    assert "another client" in look.content[0].text
    assert later["outcome"] == "no_visible_change"


# --- HTTP -------------------------------------------------------------------------------------------------------------


def post(address, **headers):
    names = {"content_type": "Content-Type", "host": "Host", "origin": "Origin", "authorization": "Authorization"}
    given = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    given |= {names[name]: value for name, value in headers.items()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, given), timeout=60) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_web_pages_and_foreign_hosts_do_not_get_in():
    with http_server(Screen(), origins=["https://mine.example"]) as address:
        origins = ["http://evil.example", "null", "http://127.0.0.1:1", "https://mine.example.evil"]
        assert [post(address, origin=origin) for origin in origins] == [403] * 4
        assert post(address, host="evil.example") == 421
        assert post(address, origin="https://mine.example") not in (401, 403, 421)
        assert post(address) not in (401, 403, 421)


def test_a_token_is_asked_for_where_one_is_set():
    with http_server(Screen(), token=TOKEN) as address:
        wrong = [
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": "Bearer"},
        ]
        assert [post(address, **headers) for headers in wrong] == [401] * 4
        assert post(address, authorization=f"Bearer {TOKEN}") not in (401, 403)


def test_beyond_this_machine_a_token_is_needed():
    for host in ("0.0.0.0", "192.168.1.5", "::", "desk.example"):
        with pytest.raises(UsageError, match=f"who would need a token: put one in {TOKEN_VARIABLE}"):
            make_app(Screen().server, host)
        make_app(Screen().server, host, TOKEN)
    for token in ("short", "with blanks in the middle", "ümlaute-und-andere-zeichen"):
        with pytest.raises(UsageError, match=f"expected the token in {TOKEN_VARIABLE} to have at least 16"):
            make_app(Screen().server, "127.0.0.1", token)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        make_app(Screen().server, host)


def test_addresses_and_origins_are_read_strictly():
    assert parse_address("8000") == ("127.0.0.1", 8000)
    assert parse_address("[::1]:9") == ("::1", 9)
    for text in ("", "host", "host:", "host:x", "1:70000"):
        with pytest.raises(UsageError, match="expected HOST:PORT"):
            parse_address(text)
    with pytest.raises(UsageError, match="expected an origin"):
        make_app(Screen().server, "127.0.0.1", origins=["https://a.example/page"])


# --- The command ------------------------------------------------------------------------------------------------------


def parameters(*arguments, home, **variables):
    kept = ("PATH", "PYTHONPATH", "HOME", "LANG", "XDG_RUNTIME_DIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "molmo_agent", "mcp", *arguments],
        env={**environment, "HOME": str(home), **variables},
    )


def test_agent_mcp_speaks_over_pipes_and_obeys_its_stop_file(tmp_path):
    stop = tmp_path / "STOP"
    arguments = ["--env", "sim-desktop", "--model", "oracle", "--family", "click-button", "--seed", "3"]
    target = Screen().target

    async def work():
        server = parameters(*arguments, "--stop-file", str(stop), home=tmp_path, PYTHONWARNINGS="always")
        async with Client(server) as client:
            done = (await call(client, "click_on", target=target)).structured_content
            stop.touch()
            stopped = (await call(client, "press_keys", keys="f5")).structured_content
            return done, stopped

    done, stopped = anyio.run(work)
    assert done["outcome"] == "verified"
    assert stopped["outcome"] == "refused"
    assert "the session is over" in stopped["message"]


@needs("Xvfb", "openbox", "zenity")
def test_a_dialog_of_a_real_program_is_answered_by_words(tmp_path):
    arguments = ["--virtual-display", "400x240", "--start", "zenity --question --text=Really", "--model", "reader"]

    async def work():
        async with Client(parameters(*arguments, home=tmp_path)) as client:
            lines = (await call(client, "read_text")).structured_content["lines"]
            absent = (await call(client, "point", target="the Zebra button")).structured_content
            click = (await call(client, "click_on", target="the Yes button")).structured_content
            gone = await call(client, "wait_for", target="Yes", gone=True, timeout_s=60)
            return [line["text"] for line in lines], absent, click, gone.structured_content

    lines, absent, click, gone = anyio.run(work)
    assert "Really" in lines
    assert "Yes" in lines
    assert absent["none"]
    assert absent["points"] == []
    assert click["outcome"] == gone["outcome"] == "verified"


def test_a_signal_ends_the_server_over_http(tmp_path):
    command = [sys.executable, "-m", "molmo_agent", "mcp", "--env", "sim-desktop", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = next(match[1] for line in server.stderr if (match := re.search(r"serving (\S+)", line)))
            assert post(address) not in (401, 403, 421)
            server.send_signal(signal.SIGTERM)
            output, _ = server.communicate(timeout=60)
        finally:
            server.kill()
    assert (server.returncode, output) == (130, "")


def test_options_that_contradict_each_other_are_reported():
    from typer.testing import CliRunner

    from molmo_agent.cli.app import app

    wrong = {
        "--origin goes with --http": ["--origin", "https://a.example"],
        "--start goes with": ["--env", "sim-desktop", "--start", "xcalc"],
        "--window goes with": ["--env", "sim-desktop", "--window", "x"],
        "who would need a token": ["--env", "sim-desktop", "--http", "0.0.0.0:0"],
    }
    for message, arguments in wrong.items():
        result = CliRunner().invoke(app, ["mcp", *arguments])
        assert message in str(result.exception)
