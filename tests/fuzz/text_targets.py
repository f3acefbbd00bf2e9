"""Fuzz targets of text: what models reply, what people write, what is shown."""

import contextlib
import io
import unicodedata

from registry import target, target_of_bytes

from molmo_agent.cli.run import Request, env_options_of, parse_box
from molmo_agent.console import SafeStream
from molmo_agent.envs.desktop.virtual_display import parse_size
from molmo_agent.errors import ModelError, MolmoAgentError, PointTextError, UsageError
from molmo_agent.point_text.denials import denial
from molmo_agent.point_text.parse import DIALECTS, parse_points, parse_reference
from molmo_agent.pointers.served.answer import read_answer
from molmo_agent.pointers.served.families import profile_of
from molmo_agent.policies.android_actions import read_action
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.visible_text import visible_lines, visible_text

# --- Replies ----------------------------------------------------------------------------------------------------------

REPLIES = {
    "molmo": (b'<points x1="1.0" y1="2.5" x2="99.9" y2="100.0" alt="d">d</points>', b"There are none."),
    "molmo2": (b'<points coords="1 1 105 205 2 300 400">cats</points>', b"<think>a</think>"),
    "molmo-tokens": (b'<point x="<|10|>" y="<|999|>" alt="d">d</point>', b'<point x="1.0" y="<|5|>">d</point>'),
    "gemini": (b'```json\n[{"point": [5, 6], "label": "a"}]\n```', b'{"box_2d": [1, 2, 3, 4], "visible": true}'),
    "qwen": (b'{"bbox_2d": [1, 2, 3, 4]}', b'<tool_call>{"name": "click", "arguments": {"x": 1, "y": 2}}</tool_call>'),
    "tuple": (b"[(0.512, 0.250), (1, 0)]", b"It is at (0.5, 0.5)."),
    "gui": (b"Thought: a\nAction: click(start_box='<|box_start|>(1,2)<|box_end|>')", b"pyautogui.click(x=0.5, y=.5)"),
}


def reply_target(dialect: str) -> None:
    """Register the parser of a dialect, in all its scales."""

    @target(f"reply-{dialect}", *REPLIES[dialect])
    def read(text: str) -> None:
        for scale in DIALECTS[dialect].scales:
            parsed = parse_points(dialect, text, (640, 480), scale)
            assert bool(parsed.points) == (parsed.status == "ok")
            assert bool(parsed.reason) == (parsed.status != "ok")
            for item in parsed.points:
                assert 0 <= item.point.x <= 1
                assert 0 <= item.point.y <= 1


for _name in DIALECTS:
    reply_target(_name)


@target("reply-reference", b'<point x="1.0" y="2.0" alt="a">a</point>', b"Click(1.0, 2.0) 1=123, 456")
def reference(text: str) -> None:
    """The lenient parser of the metrics."""
    assert all(0 <= x <= 640 and 0 <= y <= 480 for x, y in parse_reference(text, 640, 480).points)


@target("denial", b"The button is not here.", "図は存在しません。".encode(), b'"No" means no')
def deny(text: str) -> None:
    """Words that take a point away."""
    assert not denial(text, reasoning=True) or denial(text)


@target("action-text", b"Plan: tap Action: Click(50.0, 7.3)", b"Type hello\nWait", b"Scroll down", b"Open App Clock")
def action_text(text: str) -> None:
    """AndroidControl's action text."""
    with contextlib.suppress(PointTextError):
        point = getattr(read_action(text).action, "point", None)
        assert point is None or (0 <= point.x <= 1 and 0 <= point.y <= 1)


@target_of_bytes(
    "server-answer",
    b'{"choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}',
    b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "length"}]}\n\ndata: [DONE]\n',
    b'{"error": {"message": "x"}}',
    b'{"choices": [{"message": {"tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]}}]}',
)
def server_answer(data: bytes) -> None:
    """The body of a server's answer."""
    with contextlib.suppress(ModelError):
        answer = read_answer(data.decode("utf-8", "replace"), "http://server/v1", 64)
        assert answer.cut <= bool(answer.doubt)


# --- What people write ------------------------------------------------------------------------------------------------


@target("instruction", b'click "Save", type "a b" into Name, then press ctrl+s', b"drag the file to the bin; wait 2 s")
def instruction(text: str) -> None:
    """A task in words."""
    with contextlib.suppress(UsageError):
        assert split_instruction(text)


@target("options", b"0,0,0.5,1", b"10,20,300,400", b"1280x800", b"primary")
def options(text: str) -> None:
    """Boxes, regions, sizes and monitors on the command line."""
    with contextlib.suppress(MolmoAgentError):
        box = parse_box(text)
        assert 0 <= box.left <= box.right <= 1
        assert 0 <= box.top <= box.bottom <= 1
    with contextlib.suppress(MolmoAgentError):
        assert min(parse_size(text)) > 0
    for name in ("region", "monitor"):
        with contextlib.suppress(MolmoAgentError):
            env_options_of(Request(env="desktop", model="centre", task="x", **{name: text}))


@target("model-name", b"Qwen/Qwen2.5-VL-7B", b"molmo2-8b", b"ui-venus-ground-1.5")
def model_name(text: str) -> None:
    """The name of a model on a server."""
    with contextlib.suppress(UsageError):
        assert "x" in profile_of(text).question.format("x")


# --- What is shown ----------------------------------------------------------------------------------------------------


@target("visible-text", b"line\nend", b"\x1b[31mred", "a\u0301\u202e👨‍👩‍👧".encode(), "می‌خواهم".encode())
def shown(text: str) -> None:
    """Text for terminals, pages and pictures."""
    line = visible_text(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in line)
    assert visible_text(line) == line
    assert visible_lines(text).count("\n") <= text.count("\n")
    out = io.StringIO()
    SafeStream(out).write(text)
    assert "\x1b" not in out.getvalue().replace("\x1b[A", "")
