"""Our screens behind the computer tools of other agents: with their own packages and a scripted model."""

import asyncio
import base64
import io
import json
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from desktop_screen import FAST, Actor, EventWindow, needs

from molmo_agent.actions import Click, Drag, Key, Scroll, Type
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import ActionRefused, ImageError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.pointers.baselines import OraclePointer, ScriptedPointer
from molmo_agent.rollout.guards import Guards
from molmo_agent.serve.hosts.cua_grounder import Grounder, register
from molmo_agent.serve.hosts.openai_tools import ComputerTool as OpenAITool
from molmo_agent.serve.hosts.screen import HostScreen
from molmo_agent.serve.picture import Picture, PictureLimits
from molmo_agent.serve.session import Session

# Screens whose screenshots have to be scaled down, by as much and with as little sense for round numbers as people's.
SIZES = [(640, 480), (2560, 1440), (3000, 1111), (1083, 1920)]


class Desk:
    """A simulated desktop, its session, and the inputs that reached it."""

    def __init__(self, size=(640, 480), seed=3, family="click-button", **guards):
        self.inputs = inputs = []

        class Recorded(SimDesktop):
            def step(self, action):
                inputs.append(action)
                return super().step(action)

        self.env = Recorded(*size, max_steps=100_000)
        options = {"task": family}
        self.task = self.env.reset(seed=seed, options=options)[1]["instruction"]
        self.session = Session(
            self.env, OraclePointer(self.env.locate), guards=Guards(**guards), seed=seed, options=options
        )

    def target(self, limits=None):
        """Return the middle of the target in pixels of the picture that is sent."""
        picture = Picture.of(self.session.screenshot(), limits or PictureLimits())
        return picture.pixel(self.env.locate(self.task)[0].center)


# --- Pictures and places ----------------------------------------------------------------------------------------------


def test_a_screenshot_fits_the_limits_and_keeps_its_shape():
    wrong = []
    for limits in (PictureLimits(), PictureLimits(max_side=800), PictureLimits(max_side=4000, max_pixels=300_000)):
        for size in [*SIZES, (7680, 4320), (1, 1), (20_000, 3), (1568, 1568)]:
            width, height = limits.fit(size)
            fits = max(width, height) <= limits.max_side and width * height <= limits.max_pixels
            # Up to the one pixel that is cut off.
            close = min(size) < 16 or abs(width * size[1] - height * size[0]) <= max(size)
            if not (
                fits
                and close
                and (size != limits.fit(size)) == (max(size) > limits.max_side or size[0] * size[1] > limits.max_pixels)
            ):
                wrong.append((size, width, height))
    assert wrong == []


def test_every_pixel_of_the_picture_leads_to_its_own_place_on_the_screen_and_back():
    limits, rng = PictureLimits(), np.random.default_rng(5)
    for width, height in SIZES:
        screen = np.zeros((height, width, 3), np.uint8)
        picture = Picture(screen[: limits.fit((width, height))[1], : limits.fit((width, height))[0]], (width, height))
        across, down = picture.size
        pixels = [(0, 0), (across - 1, down - 1), (0, down - 1)]
        pixels += [(int(rng.integers(across)), int(rng.integers(down))) for _ in range(300)]
        for x, y in pixels:
            point = picture.point(x, y)
            assert picture.pixel(point) == (x, y)
            left, top = point.to_pixels(width, height)
            assert abs(left - (x + 0.5) * width / across) <= 1
            assert abs(top - (y + 0.5) * height / down) <= 1


def test_a_place_outside_the_picture_is_refused_and_never_moved_to_the_edge():
    desk = Desk()
    screen = HostScreen(desk.session)
    for place in [(-1, 5), (640, 5), (5, 480), (1e9, 5), (float("nan"), 5), (5, float("inf"))]:
        outcome = screen.click(place)
        assert outcome.result == "refused"
        assert "outside the screenshot" in outcome.message
    assert desk.inputs == []


def test_a_screen_that_changed_its_size_needs_a_new_screenshot():
    desk = Desk()
    screen = HostScreen(desk.session)
    screen.screenshot()
    desk.env.reset(seed=3, options={"task": "click-button", "size": (800, 600)})
    desk.session.screenshot()
    outcome = screen.click((5, 5))
    assert outcome.result == "refused"
    assert "was 640x480" in outcome.message
    assert desk.inputs == []


def test_what_no_screen_executes_as_asked_is_refused():
    desk = Desk()
    screen = HostScreen(desk.session)
    refused = {
        "straight line": screen.drag([(10, 10), (60, 200), (110, 10)]),
        "held keys is not": screen.drag([(10, 10), (60, 200)], ["shift"]),
        "at least two places": screen.drag([(10, 10)]),
        "steps of the wheel": screen.scroll((10, 10), "down", 0),
        "expected 0 to 100 seconds": screen.wait(1e6),
        "no text to type": screen.type(""),
        "names no key": screen.keys("hyperjump"),
        "1 to 100 presses": screen.keys("tab", 0),
        "is not known": screen.click(None),
    }
    assert [text for text, outcome in refused.items() if text not in outcome.message] == []
    assert {outcome.result for outcome in refused.values()} == {"refused"}
    assert desk.inputs == []
    assert screen.drag([(10, 10), (60, 60), (110, 110)]).actions


def click_marks(marks):
    """Click on marks of a real screen as an agent does that saw the screenshot; return what came of it."""
    with Desktop(pace=FAST) as env:
        screen = HostScreen(Session(env, ScriptedPointer([])))
        picture = screen.screenshot()
        pixels = [picture.pixel(Point.from_pixel(x, y, *picture.screen)) for x, y, *_ in marks]
        return picture.size, [screen.click(pixel).result for pixel in pixels]


@needs("Xvfb", "openbox")
def test_marks_on_a_real_screen_are_hit_through_a_picture_of_another_size():
    with VirtualDisplay(2560, 1440), EventWindow() as window:
        actor = Actor()
        try:
            size, results = actor.do(click_marks, window.marks[:4])
        finally:
            actor.close()
        clicked = [(event["x"], event["y"]) for event in window.events("press")]
    assert size == PictureLimits().fit((2560, 1440))
    assert results == ["no_visible_change"] * 4
    # A pixel of the picture is not quite two pixels of the screen.
    for (x, y), mark in zip(clicked, window.marks[:4], strict=True):
        assert abs(x - mark[0]) <= 1
        assert abs(y - mark[1]) <= 1


# --- Anthropic --------------------------------------------------------------------------------------------------------


@pytest.fixture
def claude():
    pytest.importorskip("anthropic", reason="needs the package anthropic")
    from molmo_agent.serve.hosts import anthropic_tools

    return anthropic_tools


def scripted_claude(replies):
    """Return a client of the SDK whose server gives these replies, and the requests that it gets."""
    import anthropic
    import httpx2

    requests = []

    def answer(request):
        requests.append(json.loads(request.content))
        call = replies[len(requests) - 1] if len(requests) <= len(replies) else None
        content = {"type": "text", "text": "done"}
        if call is not None:
            name, given = call
            content = {"type": "tool_use", "id": f"t{len(requests)}", "name": name, "input": given}
            content["toolset_name"] = "computer"
        message = {"id": "m", "type": "message", "role": "assistant", "model": "scripted", "content": [content]}
        message |= {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        message["usage"] = {"input_tokens": 1, "output_tokens": 1}
        return httpx2.Response(200, json=message)

    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(api_key="none", http_client=httpx2.Client(transport=transport)), requests


def run_toolset(toolset, replies):
    """Run the SDK's tool runner; return the tool results in order."""
    client, requests = scripted_claude(replies)
    messages = [{"role": "user", "content": "go"}]
    client.beta.messages.tool_runner(model="m", max_tokens=9, tools=[toolset], messages=messages).until_done()
    return requests[0]["tools"], [request["messages"][-1]["content"][0] for request in requests[1:]]


@pytest.mark.parametrize("size", SIZES)
def test_the_toolset_of_anthropic_clicks_what_the_model_saw(claude, size):
    desk = Desk(size)
    toolset = claude.ComputerToolset(desk.session, confirm=lambda context: True)
    x, y = desk.target()
    tools, results = run_toolset(
        toolset, [("screenshot", {}), ("left_click", {"coordinate": [x, y]}), ("cursor_position", {})]
    )
    assert tools[0]["type"] == "computer_toolset_20260801"
    assert set(tools[0]["configs"]) == set(claude.NOT_POSSIBLE)
    image = PIL.Image.open(io.BytesIO(base64.b64decode(results[0]["content"][0]["source"]["data"])))
    assert image.size == PictureLimits().fit(size)
    assert desk.env.success
    assert results[2]["content"][0]["text"] == f"X={x},Y={y}"


def test_every_member_of_the_toolset_does_what_its_name_says(claude):
    desk = Desk()
    toolset = claude.ComputerToolset(desk.session, confirm=lambda context: True)
    run_toolset(
        toolset,
        [
            ("right_click", {"coordinate": [9, 9]}),
            ("double_click", {"coordinate": [9, 9]}),
            ("triple_click", {"coordinate": [9, 9]}),
            ("middle_click", {"coordinate": [9, 9]}),
            ("left_click", {"coordinate": [9, 9], "text": "ctrl+shift"}),
            ("left_click_drag", {"start_coordinate": [9, 9], "coordinate": [99, 9]}),
            ("scroll", {"coordinate": [9, 9], "scroll_direction": "up", "scroll_amount": 4}),
            ("type", {"text": "héllo"}),
            ("key", {"text": "alt+Tab", "repeat": 2}),
            ("mouse_move", {"coordinate": [99, 99]}),
        ],
    )
    place, there = Point.from_pixel(9, 9, 640, 480), Point.from_pixel(99, 9, 640, 480)
    assert desk.inputs[:-1] == [
        Click(place, "right"),
        Click(place, "left", 2),
        Click(place, "left", 3),
        Click(place, "middle"),
        Click(place, "left", 1, ("ctrl", "shift")),
        Drag(place, there),
        Scroll("up", 4, place),
        Type("héllo"),
        Key(("alt", "tab")),
        Key(("alt", "tab")),
    ]


def test_what_the_guards_refuse_is_an_error_that_the_model_reads(claude):
    desk = Desk(deny=(Box(0, 0, 1, 1),))
    toolset = claude.ComputerToolset(desk.session, confirm=lambda context: True)
    _, results = run_toolset(
        toolset,
        [("left_click", {"coordinate": [9, 9]}), ("type", {"text": "x"}), ("left_click", {"coordinate": [9999, 9]})],
    )
    assert [result["is_error"] for result in results] == [True] * 3
    assert desk.inputs == []
    assert "denied region" in results[0]["content"][0]["text"]


def test_the_toolset_needs_somebody_who_asks(claude):
    with pytest.raises(Exception, match="requires a confirm callable"):
        claude.ComputerToolset(Desk().session)
    desk = Desk(confirm="always", ask=lambda decision, observation, why: False)
    _, results = run_toolset(claude.ComputerToolset(desk.session), [("key", {"text": "Return"})])
    assert results[0]["is_error"]
    assert "not confirmed" in results[0]["content"][0]["text"]
    assert desk.inputs == []


@pytest.mark.parametrize("version", ["computer_20250124", "computer_20251124"])
def test_the_older_tools_of_anthropic_click_what_the_model_saw(claude, version):
    desk = Desk((2560, 1440))
    tool = claude.ComputerTool(desk.session, version)
    definition = tool.definition()
    assert (definition["display_width_px"], definition["display_height_px"]) == PictureLimits().fit((2560, 1440))
    x, y = desk.target()

    def use(**given):
        return tool.run(SimpleNamespace(id="t", input=given))

    assert use(action="screenshot")["content"][0]["type"] == "image"
    assert use(action="zoom", region=[0, 0, 90, 60])["is_error"] == (version == "computer_20250124")
    assert use(action="left_click", coordinate=[x, y]) == {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "done"}],
        "is_error": False,
    }
    assert desk.env.success
    wrong = [{"action": "left_mouse_down"}, {"action": "hold_key", "text": "a", "duration": 1}, {"action": "fly"}, {}]
    wrong += [{"action": "type"}, {"action": "scroll", "scroll_direction": "down"}, {"action": "left_click_drag"}]
    assert [use(**given)["is_error"] for given in wrong] == [True] * 7


# --- OpenAI -----------------------------------------------------------------------------------------------------------


def openai_call(*actions, checks=()):
    # Calls with several actions came after the lowest version that the extra 'remote' allows.
    pytest.importorskip("openai.types.responses.computer_action", reason="needs a newer openai")
    from openai.types.responses import ResponseComputerToolCall

    return ResponseComputerToolCall.model_validate(
        {
            "id": "i",
            "call_id": "c",
            "status": "completed",
            "type": "computer_call",
            "pending_safety_checks": list(checks),
            **({"action": actions[0]} if len(actions) == 1 else {"actions": list(actions)}),
        }
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_computer_tool_of_openai_clicks_what_the_model_saw(size):
    desk = Desk(size)
    x, y = desk.target()
    answer = OpenAITool(desk.session).run(openai_call({"type": "click", "x": x, "y": y, "button": "left"}))
    assert desk.env.success
    assert answer.remarks == []
    assert answer.output["call_id"] == "c"
    assert answer.output["type"] == "computer_call_output"
    data = answer.output["output"]["image_url"].removeprefix("data:image/png;base64,")
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).size == PictureLimits().fit(size)


def test_actions_of_one_call_are_carried_out_in_order_until_one_is_refused():
    desk = Desk(deny=(Box(0.5, 0, 1, 1),))
    actions = [
        {"type": "move", "x": 20, "y": 20},
        {"type": "double_click", "x": 20, "y": 20},
        {"type": "scroll", "x": 20, "y": 20, "scroll_x": -120, "scroll_y": 310},
        {"type": "drag", "path": [{"x": 20, "y": 20}, {"x": 90, "y": 20}]},
        {"type": "screenshot"},
        {"type": "click", "x": 600, "y": 20, "button": "left"},
        {"type": "click", "x": 20, "y": 20, "button": "left"},
    ]
    answer = OpenAITool(desk.session).run(openai_call(*actions))
    kinds = [type(action).__name__ for action in desk.inputs]
    assert kinds == ["Move", "Click", "Scroll", "Scroll", "Drag"]
    assert [(each.direction, each.notches) for each in desk.inputs[2:4]] == [("down", 3), ("left", 1)]
    assert answer.outcomes[-1].result == "refused"
    assert "denied region" in answer.remarks[0]["content"]


@pytest.mark.parametrize("button", ["back", "forward"])
def test_a_button_that_no_screen_has_is_refused(button):
    desk = Desk()
    answer = OpenAITool(desk.session).run(openai_call({"type": "click", "x": 1, "y": 1, "button": button}))
    assert answer.outcomes[0].result == "refused"
    assert desk.inputs == []


def test_a_safety_check_that_nobody_acknowledges_sends_nothing():
    desk, check = Desk(), {"id": "s", "code": "malicious", "message": "odd page"}
    call = openai_call({"type": "click", "x": 1, "y": 1, "button": "left"}, checks=[check])
    for acknowledge in (None, lambda check: False):
        with pytest.raises(ActionRefused, match="odd page"):
            OpenAITool(desk.session, acknowledge=acknowledge).run(call)
    assert desk.inputs == []
    answer = OpenAITool(desk.session, acknowledge=lambda check: True).run(call)
    assert answer.output["acknowledged_safety_checks"] == [check]
    assert len(desk.inputs) == 1


def test_openai_agents_drive_a_screen_as_their_own_computer():
    agents = pytest.importorskip("agents.computer", reason="needs the package openai-agents")
    from molmo_agent.serve.hosts.openai_agents import Computer

    desk = Desk((2560, 1440))
    computer, (x, y) = Computer(desk.session), desk.target()
    assert isinstance(computer, agents.AsyncComputer)
    assert computer.dimensions == PictureLimits().fit((2560, 1440))

    async def work():
        await computer.screenshot()
        await computer.click(x, y, "left")
        await computer.keypress(["CTRL", "S"])
        await computer.scroll(x, y, 0, -200)
        await computer.type("a")
        await computer.double_click(x, y)
        await computer.drag([(x, y), (x + 50, y)])
        await computer.move(x, y)
        await computer.wait()
        with pytest.raises(ActionRefused, match="outside the screenshot"):
            await computer.click(9999, y, "left")

    asyncio.run(work())
    kinds = [type(action).__name__ for action in desk.inputs]
    assert kinds == ["Click", "Key", "Scroll", "Type", "Click", "Drag", "Move", "Wait"]
    assert desk.env.success


# --- Google -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def gemini():
    pytest.importorskip("google.genai", reason="needs the package google-genai")
    from molmo_agent.serve.hosts import google_tools

    return google_tools


def google_call(name, **given):
    from google.genai import types

    return types.FunctionCall(id="f", name=name, args=given)


@pytest.mark.parametrize("size", SIZES)
def test_the_functions_of_google_click_what_the_model_saw(gemini, size):
    desk = Desk(size)
    tool = gemini.ComputerTool(desk.session)
    center = desk.env.locate(desk.task)[0].center
    answer = tool.run(google_call("click_at", x=round(center.x * 1000), y=round(center.y * 1000)))
    response = answer.part.function_response
    assert desk.env.success
    assert response.response["outcome"] == "verified"
    assert response.name == "click_at"
    image = PIL.Image.open(io.BytesIO(response.parts[0].inline_data.data))
    assert image.size == PictureLimits().fit(size)
    assert set(tool.definition().computer_use.excluded_predefined_functions) == set(gemini.EXCLUDED)


def test_every_function_of_google_does_what_its_name_says(gemini):
    desk = Desk(family="fill-field", seed=5)
    tool = gemini.ComputerTool(desk.session)
    center = desk.env.locate(desk.task)[0].center
    x, y = round(center.x * 1000), round(center.y * 1000)
    calls = [
        google_call("hover_at", x=x, y=y),
        google_call("type_text_at", x=x, y=y, text="Ada", press_enter=False),
        google_call("key_combination", keys="control+a"),
        google_call("scroll_document", direction="down"),
        google_call("scroll_at", x=999, y=0, direction="left", magnitude=500),
        google_call("drag_and_drop", x=0, y=0, destination_x=1000, destination_y=1000),
    ]
    results = [tool.run(call).outcome.result for call in calls]
    assert "refused" not in results
    assert results[1] == "verified"
    kinds = [type(action).__name__ for action in desk.inputs]
    assert kinds == ["Move", "Click", "Type", "Key", "Scroll", "Scroll", "Drag"]
    assert desk.inputs[2] == Type("Ada", replace=True)
    assert desk.inputs[5].notches == 3


@pytest.mark.parametrize(
    "call",
    [
        ("click_at", {"x": -1, "y": 5}),
        ("click_at", {"x": 1001, "y": 5}),
        ("click_at", {"x": "5", "y": 5}),
        ("click_at", {"y": 5}),
        ("navigate", {"url": "https://a.example"}),
        ("go_back", {}),
        ("type_text_at", {"x": 1, "y": 1}),
        ("key_combination", {"keys": "hyper"}),
        ("launch_missiles", {}),
    ],
)
def test_a_function_call_that_cannot_be_carried_out_is_an_error_in_the_answer(gemini, call):
    desk = Desk()
    answer = gemini.ComputerTool(desk.session).run(google_call(call[0], **call[1]))
    assert answer.part.function_response.response["error"]
    assert desk.inputs == []


def test_where_google_demands_a_confirmation_a_person_gives_it(gemini):
    decision = {"decision": "require_confirmation", "explanation": "this buys something"}
    call = google_call("click_at", x=5, y=5, safety_decision=decision)
    asked = []
    for confirm, sent in ((None, 0), (lambda why: False, 0), (lambda why: asked.append(why) or True, 1)):
        desk = Desk()
        answer = gemini.ComputerTool(desk.session, confirm=confirm).run(call)
        assert len(desk.inputs) == sent
        assert ("safety_acknowledgement" in answer.part.function_response.response) == bool(sent)
    assert asked == ["this buys something"]


# --- cua --------------------------------------------------------------------------------------------------------------


def picture_of(width, height):
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "white").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask(model, image="", words="x", **options):
    return asyncio.run(Grounder(model, **options).predict_click("molmo-agent/x", image or picture_of(200, 100), words))


class Sure:
    """Points at one place, as sure as it is told."""

    name = "sure"

    def __init__(self, confidence):
        self.confidence, self.traits = confidence, ModelTraits(min_confidence=0.5, zooms=True)

    def point(self, image, instruction, *, max_points=None):
        points = (LabelledPoint(Point(1.0, 0.5)),)
        return PointResult(status="ok", reply="", points=points, confidence=self.confidence)

    def point_batch(self, images, instructions):
        return [self.point(image, "") for image in images]


def test_a_grounder_answers_in_pixels_of_the_screenshot_or_not_at_all():
    assert ask(ScriptedPointer([Point(0.5, 0.25)])) == (100, 25)
    assert ask(ScriptedPointer([Point(0.5, 0.25)]), "data:image/png;base64," + picture_of(10, 10)) == (5, 2)
    assert ask(Sure(0.9)) == (199, 50)
    assert ask(ScriptedPointer([])) is None
    assert ask(ScriptedPointer([Point(0, 0), Point(1, 1)])) is None
    assert ask(Sure(0.2)) is None
    assert ask(Sure(0.2), min_confidence=0) == (199, 50)
    assert Grounder(Sure(1)).get_capabilities() == ["click"]


@pytest.mark.parametrize("image", ["%%%", "aGVsbG8=", picture_of(9, 9)[:40], "data:image/png;base64,!"])
def test_what_is_no_screenshot_is_an_error(image):
    with pytest.raises(ImageError):
        ask(Sure(1), image)


def test_a_grounder_plans_nothing():
    with pytest.raises(UsageError, match="only points"):
        asyncio.run(Grounder(Sure(1)).predict_step([], "molmo-agent/auto"))


def test_a_grounder_is_found_by_its_name_in_cua():
    decorators = pytest.importorskip("cua_agent.decorators", reason="needs the package cua-agent")
    register("molmo-agent/auto", Sure(0.9))
    found = decorators.find_agent_config("molmo-agent/auto")
    assert asyncio.run(found.agent_class().predict_click("m", picture_of(200, 100), "x")) == (199, 50)


def test_a_name_that_cua_could_take_for_another_model_is_not_registered():
    for name in ("auto", "molmo-agent/", "gpt-5"):
        with pytest.raises(UsageError, match="expected a name such as"):
            register(name)
