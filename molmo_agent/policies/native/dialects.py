"""How each family of native agents is asked, and how its replies are read: prompt, history rule, dialect, scale."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image as PILImage

from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.point_text.scales import Frame, Scale
from molmo_agent.pointers.served.chat import image_part
from molmo_agent.policies.native import molmo_web, qwen, ui_tars
from molmo_agent.policies.native.replies import NativeStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An earlier step: the screenshot as it was sent, and the reply."""

    image: PILImage.Image
    reply: str


Read = Callable[[str, Frame, Point | None], NativeStep]
Ask = Callable[[str, Sequence[Past], PILImage.Image, Frame], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A family's words.

    Args:
        name: for people.
        read: a reply, the frame of its numbers, and the place of the pointer -> a step.
        ask: a task, the earlier steps and the present screenshot -> the messages.
        scale: of its numbers; None: that of the model's generation, see the families of served models.
    """

    name: str
    read: Read
    ask: Ask
    scale: Scale | None = None


# UI-TARS keeps every text and the newest five images, the present one among them.
_UI_TARS_IMAGES = 5


def _user(image: PILImage.Image, text: str = "") -> dict[str, Any]:
    return {"role": "user", "content": [image_part(image), *([{"type": "text", "text": text}] if text else [])]}


def _ask_ui_tars(phone: bool) -> Ask:
    def ask(task: str, past: Sequence[Past], image: PILImage.Image, frame: Frame) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [{"role": "user", "content": ui_tars.prompt(task, phone=phone)}]
        first = len(past) + 1 - _UI_TARS_IMAGES
        for number, step in enumerate(past):
            messages += [_user(step.image)] if number >= first else []
            messages.append({"role": "assistant", "content": step.reply})
        return [*messages, _user(image)]

    return ask


def _ask_qwen(tool: qwen.Tool) -> Ask:
    def ask(task: str, past: Sequence[Past], image: PILImage.Image, frame: Frame) -> list[dict[str, Any]]:
        size = frame.size if frame.scale == "pixels" else (1000, 1000)
        done = "".join(f"\nStep {number}: {step.reply.strip()}" for number, step in enumerate(past, start=1))
        text = f"The user query: {task}\nEarlier steps:{done or ' none'}"
        return [{"role": "system", "content": qwen.prompt(tool, size)}, _user(image, text)]

    return ask


def _ask_molmo_web(task: str, past: Sequence[Past], image: PILImage.Image, frame: Frame) -> list[dict[str, Any]]:
    steps = []
    for step in past:
        read = molmo_web.read(step.reply, frame)
        steps.append((read.thought, molmo_web.action_words(read.actions[0], frame)))
    return [_user(image, molmo_web.prompt(task, steps))]


def dialect_of(model: str, *, phone: bool) -> Dialect:
    """Return the dialect of a model by its name.

    Raises:
        UsageError: the model is of no family whose action text is known.
    """
    name = model.lower().replace("_", "-")
    if "ui-tars" in name or "uitars" in name:
        return Dialect(name="UI-TARS", read=lambda reply, frame, _: ui_tars.read(reply, frame), ask=_ask_ui_tars(phone))
    if "molmoweb" in name or "molmo-web" in name:
        return Dialect(
            name="MolmoWeb",
            read=lambda reply, frame, _: molmo_web.read(reply, frame),
            ask=_ask_molmo_web,
            scale=100,
        )
    if "qwen" in name:
        tool: qwen.Tool = "mobile_use" if phone else "computer_use"
        return Dialect(
            name=f"Qwen-VL {tool}",
            read=lambda reply, frame, pointer: qwen.read(reply, frame, tool, pointer),
            ask=_ask_qwen(tool),
        )
    raise UsageError(
        f"the action text of {model!r} is not known; known: UI-TARS, Qwen-VL, MolmoWeb. Use it as a planner: --planner"
    )
