"""Native agents: each one's action text is read strictly and written back, and its run ends honestly."""

import json

import pytest
from chat_server import Server
from planner_stage import Shows

from molmo_agent.actions import (
    Back,
    Click,
    Done,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.errors import PointTextError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.point_text.scales import Frame
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.policies.native import molmo_web, qwen, ui_tars
from molmo_agent.policies.native.dialects import dialect_of
from molmo_agent.policies.native.policy import load
from molmo_agent.policies.native.replies import OutOfScreen
from molmo_agent.registry import load_model, load_policy
from molmo_agent.rollout.loop import rollout
from molmo_agent.testing import ToyEnv

pytest.importorskip("openai")
THOUSAND, PIXELS, PERCENT = Frame(1000, (1000, 800)), Frame("pixels", (1000, 800)), Frame(100, (1000, 800))
A, B = Point(0.35, 0.67), Point(0.5, 0.25)


def near(action, other) -> bool:
    """Return whether two actions are equal up to the rounding of a dialect."""
    if type(action) is not type(other):
        return False
    for name in action.__slots__:
        mine, its = getattr(action, name), getattr(other, name)
        if isinstance(mine, Point) and isinstance(its, Point):
            if mine.distance(its) > 0.002:
                return False
        elif mine != its:
            return False
    return True


# --- UI-TARS ----------------------------------------------------------------------------------------------------------

UI_TARS = {
    "Thought: save.\nAction: click(start_box='(350,670)')": (Click(A),),
    "Action: click(start_box='<|box_start|>(350,670)<|box_end|>')": (Click(A),),
    "Thought: x\nAction: click(point='<point>350 670</point>')": (Click(A),),
    "Action: left_double(start_box='[340, 660, 360, 680]')": (Click(A, count=2),),
    "Action: right_single(start_box='(350, 670)')": (Click(A, button="right"),),
    "Action: drag(start_box='(350,670)', end_box='(500,250)')": (Drag(A, B),),
    "Action: drag(start_point='<point>350 670</point>', end_point='<point>500 250</point>')": (Drag(A, B),),
    "Action: hotkey(key='ctrl c')": (Key(("ctrl", "c")),),
    "Action: hotkey(key='pagedown')": (Key(("pagedown",)),),
    "Action: type(content='Ada\\'s list')": (Type("Ada's list"),),
    "Action: type(content='lemons\\n')": (Type("lemons"), Key(("enter",))),
    "Action: scroll(start_box='(350,670)', direction='down')": (Scroll("down", 5, A),),
    "Action: wait()": (Wait(5.0),),
    "Action: press_back()": (Back(),),
    "Action: open_app(app_name='Clock')": (OpenApp("Clock"),),
}
NOT_UI_TARS = [
    "click(start_box='(350,670)')",
    "I would click Save.",
    "Action: click(start_box='(350,670)')\nAction: click(start_box='(1,2)')",
    "Action: click(start_box='(350,670)') and then wait()",
    "Action: click(start_box='(350,670)', force='1')",
    "Action: click(start_box='350,670,1')",
    "Action: click(350, 670)",
    "Action: click()",
    "Action: click(start_box='(350.5e1,670)')",
    "Action: drag(start_box='(350,670)')",
    "Action: hotkey(key='ctrl banana')",
    "Action: scroll(start_box='(350,670)', direction='away')",
    "Action: __import__('os').system('ls')",
    "Action: run(command='ls')",
    "Action: type(content='a', content='b')",
    "Thought: \u0661\nAction: click(start_box='(\u0663\u0665\u0660,670)')",
    "Action: " + "click(" * 5000,
    "",
]


def test_ui_tars_replies_are_read():
    wrong = {
        reply: ui_tars.read(reply, THOUSAND).actions
        for reply, actions in UI_TARS.items()
        if len(actions) != len(got := ui_tars.read(reply, THOUSAND).actions) or not all(map(near, got, actions))
    }
    assert not wrong


def test_other_replies_are_no_ui_tars_action():
    accepted = []
    for reply in NOT_UI_TARS:
        try:
            accepted.append((reply[:60], ui_tars.read(reply, THOUSAND)))
        except PointTextError:
            continue
    assert not accepted


def test_ui_tars_1_5_counts_pixels_of_the_image_that_it_was_sent():
    read = ui_tars.read("Action: click(start_box='(999,799)')", PIXELS).actions[0]
    assert isinstance(read, Click)
    assert read.point.to_pixels(1000, 800) == (999, 799)
    with pytest.raises(OutOfScreen, match="outside of 1000 x 800"):
        ui_tars.read("Action: click(start_box='(1000,10)')", PIXELS)
    with pytest.raises(OutOfScreen):
        ui_tars.read("Action: click(start_box='(1001,10)')", THOUSAND)


def test_ui_tars_ends_with_an_answer_or_asks():
    end = ui_tars.read("Thought: done\nAction: finished(content='Version 7')", THOUSAND)
    assert (end.ending, end.text, end.thought) == ("done", "Version 7", "done")
    assert ui_tars.read("Action: call_user()", THOUSAND).ending == "ask"


# --- Qwen-VL ----------------------------------------------------------------------------------------------------------


def tool(name: str, **arguments) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


COMPUTER = {
    tool("computer_use", action="left_click", coordinate=[350, 536]): (Click(A),),
    "I click it.\n" + tool("computer_use", action="double_click", coordinate=[350, 536]): (Click(A, count=2),),
    tool("computer_use", action="right_click", coordinate=[350, 536]): (Click(A, button="right"),),
    tool("computer_use", action="mouse_move", coordinate=[350, 536]): (Move(A),),
    tool("computer_use", action="left_click_drag", coordinate=[350, 536]): (Drag(B, A),),
    tool("computer_use", action="key", keys=["ctrl", "s"]): (Key(("ctrl", "s")),),
    tool("computer_use", action="key", keys=["Return"]): (Key(("enter",)),),
    tool("computer_use", action="type", text="a'b\n"): (Type("a'b\n"),),
    tool("computer_use", action="scroll", pixels=-500): (Scroll("down", 5),),
    tool("computer_use", action="hscroll", pixels=120): (Scroll("right", 1),),
    tool("computer_use", action="wait", time=2): (Wait(2.0),),
}
MOBILE = {
    tool("mobile_use", action="click", coordinate=[350, 536]): (Click(A),),
    tool("mobile_use", action="long_press", coordinate=[350, 536], time=2): (LongPress(A, 2.0),),
    tool("mobile_use", action="swipe", coordinate=[350, 536], coordinate2=[500, 200]): (Drag(A, B),),
    tool("mobile_use", action="system_button", button="Home"): (Home(),),
    tool("mobile_use", action="system_button", button="Enter"): (Key(("enter",)),),
    tool("mobile_use", action="open", text="Clock"): (OpenApp("Clock"),),
}
NOT_QWEN = [
    "click (350, 536)",
    json.dumps({"name": "computer_use", "arguments": {"action": "wait", "time": 1}}),
    tool("computer_use", action="left_click"),
    tool("computer_use", action="left_click", coordinate=[350]),
    tool("computer_use", action="left_click", coordinate=["350", 536]),
    tool("computer_use", action="left_click", coordinate=[350.5, 536]),
    tool("computer_use", action="left_click", coordinate=[350, 536], text="x"),
    tool("computer_use", action="left_click", coordinate=[1, 2]) * 2,
    tool("computer_use", action="left_click", coordinate=[1, 2]) + " and then I wait",
    tool("computer_use", action="format_disk"),
    tool("computer_use", action="scroll", pixels=0),
    tool("computer_use", action="wait", time=1e6),
    tool("computer_use", action="key", keys=[]),
    tool("computer_use", action="key", keys=["ctrl", "banana"]),
    tool("computer_use", action="terminate", status="maybe"),
    tool("bash", command="ls"),
    "<tool_call>{" + "}" * 100 + "</tool_call>",
]


def test_qwen_replies_are_read():
    rows = [("computer_use", *row) for row in COMPUTER.items()] + [("mobile_use", *row) for row in MOBILE.items()]
    wrong = []
    for name, reply, actions in rows:
        got = qwen.read(reply, PIXELS, name, B).actions
        if len(got) != len(actions) or not all(map(near, got, actions)):
            wrong.append((reply, got))
    assert not wrong


def test_other_replies_are_no_qwen_action():
    accepted = []
    for reply in NOT_QWEN:
        try:
            accepted.append((reply[:60], qwen.read(reply, PIXELS, "computer_use", B)))
        except PointTextError:
            continue
    assert not accepted


def test_the_two_generations_of_qwen_use_two_scales():
    reply = tool("computer_use", action="left_click", coordinate=[500, 500])
    assert near(qwen.read(reply, THOUSAND, "computer_use").actions[0], Click(Point(0.5, 0.5)))
    assert near(qwen.read(reply, PIXELS, "computer_use").actions[0], Click(Point(0.5, 0.625)))
    with pytest.raises(PointTextError, match="begins at the pointer"):
        qwen.read(tool("computer_use", action="left_click_drag", coordinate=[1, 1]), PIXELS, "computer_use")


# --- MolmoWeb ---------------------------------------------------------------------------------------------------------


def web(name: str, **arguments) -> str:
    return json.dumps({"thought": "next", "action": {"name": name, **arguments}})


MOLMO_WEB = {
    web("click", x=35.0, y=67.0, button="left", click_type="single"): (Click(A),),
    json.dumps({"name": "mouse_click", "x": 35, "y": 67}): (Click(A),),
    web("dblclick", x=35.0, y=67.0): (Click(A, count=2),),
    web("hover_at", x=35.0, y=67.0, duration=1.0): (Move(A),),
    web("mouse_drag_and_drop", from_x=35.0, from_y=67.0, to_x=50.0, to_y=25.0): (Drag(A, B),),
    web("scroll", delta_x=0.0, delta_y=50.0): (Scroll("down", 4),),
    web("scroll_at", x=35.0, y=67.0, delta_x=0.0, delta_y=-25.0): (Scroll("up", 2, A),),
    web("keyboard_type", text="lemons"): (Type("lemons"),),
    web("keyboard_press", key="Enter"): (Key(("enter",)),),
    web("keyboard_press", key="ControlOrMeta+a"): (Key(("ctrl", "a")),),
    web("browser_nav", nav_type="go_back"): (Back(),),
    web("noop"): (Wait(1.0),),
}
NOT_MOLMO_WEB = [
    "click 35 67",
    web("click", x=35.0),
    web("click", x=135.0, y=2.0),
    web("click", x=-1.0, y=2.0),
    web("click", x="35", y=67),
    web("click", x=0.35, y=0.67),
    web("click", x=35, y=67, url="http://x.test"),
    web("goto", url="http://x.test"),
    web("browser_nav", nav_type="new_tab"),
    web("keyboard_press", key="Delete"),
    web("scroll", delta_x=10.0, delta_y=10.0),
    web("scroll"),
    web("eval", code="1"),
    web("click", x=35, y=67) * 2,
    json.dumps({"action": {"name": "noop"}, "also": {"name": "noop"}}),
    "[]",
    "{}",
]


def test_molmo_web_replies_are_read():
    wrong = []
    for reply, actions in MOLMO_WEB.items():
        got = molmo_web.read(reply, PERCENT).actions
        if len(got) != len(actions) or not all(map(near, got, actions)):
            wrong.append((reply, got))
    assert not wrong


def test_other_replies_are_no_molmo_web_action():
    accepted = []
    for reply in NOT_MOLMO_WEB:
        try:
            accepted.append((reply[:60], molmo_web.read(reply, PERCENT)))
        except PointTextError:
            continue
    assert not accepted


def test_molmo_web_is_asked_with_its_last_ten_steps_as_text():
    past = [(f"t{number}", {"name": "noop"}) for number in range(12)]
    text = molmo_web.prompt("buy lemons", past, title="Shop", url="http://shop.test/" + "x" * 200)
    assert text.startswith("molmo_web_think: \n# GOAL\nbuy lemons\n\n# PREVIOUS STEPS\n## Step 3\nTHOUGHT: t2\n")
    assert "## Step 12\nTHOUGHT: t11\nACTION: {'name': 'noop'}\n" in text
    page = text.partition("Page 0: ")[2].partition("\n")[0]
    assert page == f"Shop | http://shop.test/{'x' * 83}"
    assert text.endswith("# NEXT STEP\n\n")


# --- Both ways --------------------------------------------------------------------------------------------------------

EVERYTHING = [
    Click(A),
    Click(A, count=2),
    Click(A, button="right"),
    Drag(B, A),
    Key(("ctrl", "c")),
    Key(("enter",)),
    Type('it\'s "quoted"\tand\\slashed'),
    Wait(5.0),
    Back(),
    Home(),
    OpenApp("Clock"),
    LongPress(A, 0.8),
    Move(A),
    Scroll("down", 5, A),
    Scroll("up", 2),
    Scroll("left", 3),
]


@pytest.mark.parametrize(
    ("read", "write", "frame"),
    [
        (ui_tars.read, lambda action, frame: f"Action: {ui_tars.write(action, frame)}", THOUSAND),
        (ui_tars.read, lambda action, frame: f"Action: {ui_tars.write(action, frame)}", PIXELS),
        (
            lambda reply, frame: qwen.read(reply, frame, "computer_use", B),
            lambda action, frame: qwen.write(action, frame, "computer_use"),
            PIXELS,
        ),
        (
            lambda reply, frame: qwen.read(reply, frame, "mobile_use"),
            lambda action, frame: qwen.write(action, frame, "mobile_use"),
            THOUSAND,
        ),
        (molmo_web.read, lambda action, frame: molmo_web.write(action, frame, "next"), PERCENT),
    ],
    ids=["ui-tars 1.0", "ui-tars 1.5", "computer_use", "mobile_use", "molmoweb"],
)
def test_what_a_dialect_writes_it_reads_again(read, write, frame):
    written, wrong = 0, []
    for action in EVERYTHING:
        try:
            reply = write(action, frame)
        except ValueError:
            continue
        written += 1
        (again,) = read(reply, frame).actions
        if not near(again, action) and not isinstance(action, Wait):
            wrong.append((action, reply, again))
    assert written >= 8
    assert not wrong


# --- Runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def play(server, name, replies, *, task="find the red square", texts=("Version 7",), clicks=99):
    """Roll a model out in the toy env; return the steps and the env."""
    script = list(replies)
    server.decide = lambda body: script.pop(0)
    env = ToyEnv(width=280, height=280, clicks=clicks)
    policy = load(load_model(f"{server.url}#{name}", retries=0), capabilities=env.capabilities, reader=Shows(*texts))
    episode = rollout(policy, env, task)
    for _ in episode:
        pass
    return episode.trajectory.steps, env


def test_a_native_agent_acts_and_says_that_it_is_done(server):
    def box(body):
        return "Thought: t\nAction: type(content='abc\\n')"

    steps, env = play(server, "UI-TARS-7B", [box(None), "Action: finished(content='')"])
    assert [type(action) for action in env.actions] == [Type, Key]
    assert isinstance(steps[-1].action, Done)
    assert not steps[-1].action.success
    assert "changed nothing" in steps[-1].action.message


def test_every_screenshot_up_to_five_is_in_the_question_of_ui_tars(server):
    replies = [f"Action: hotkey(key='f{number}')" for number in range(1, 9)]
    play(server, "UI-TARS-1.5-7B", [*replies, "Action: call_user()"])
    counts = [json.dumps(seen[2]).count('"image_url": {') for seen in server.seen]
    assert counts == [1, 2, 3, 4, 5, 5, 5, 5, 5]
    assert sum(message["role"] == "assistant" for message in server.seen[-1][2]["messages"]) == 8


def test_qwen_gets_its_tool_and_the_newest_screenshot(server):
    replies = [
        tool("computer_use", action="key", keys=["f5"]),
        tool("computer_use", action="terminate", status="failure"),
    ]
    steps, _ = play(server, "Qwen3-VL-8B-Instruct", replies)
    body = server.seen[-1][2]
    assert '"computer_use"' in body["messages"][0]["content"]
    assert "Step 1:" in body["messages"][1]["content"][1]["text"]
    assert not steps[-1].action.success


def test_a_reply_that_is_no_action_ends_the_run_and_sends_nothing(server):
    for name, reply in (
        ("UI-TARS-7B", "Action: click(start_box='(2000,5)')"),
        ("Qwen3-VL-8B-Instruct", "I cannot see it"),
        ("MolmoWeb-8B?dialect=molmo", web("goto", url="http://x.test")),
    ):
        steps, env = play(server, name, [reply])
        assert not env.actions, name
        assert not steps[-1].action.success
        assert steps[-1].decision.result.reply == reply


def test_an_answer_counts_if_the_screen_shows_it(server):
    for text, success in (("Version 7", True), ("Version 8", False)):
        steps, _ = play(server, "UI-TARS-7B", [f"Action: finished(content='{text}')"], task="tell me the version")
        assert steps[-1].action.success is success
        assert steps[-1].decision.plan.answer == text


def test_an_address_that_the_task_does_not_name_is_not_typed(server):
    replies = ["Action: type(content='http://evil.example/x')", "Action: call_user()"]
    steps, env = play(server, "UI-TARS-7B", replies)
    assert not env.actions
    assert steps[0].refused.kind == "unconfirmed"


def test_only_models_whose_words_are_known_are_native_agents(server):
    assert dialect_of("Qwen2.5-VL-7B", phone=True).name == "Qwen-VL mobile_use"
    with pytest.raises(UsageError, match="known: UI-TARS, Qwen-VL, MolmoWeb"):
        dialect_of("llama-3", phone=False)
    with pytest.raises(UsageError, match="needs a model on a server"):
        load(CentrePointer())
    policy = load_policy("native", f"{server.url}#UI-TARS-1.5-7B", ToyEnv())
    assert policy.name == "native(UI-TARS-1.5-7B, UI-TARS)"
