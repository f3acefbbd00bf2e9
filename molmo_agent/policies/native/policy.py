"""Goal and screenshot -> a native agent's next action, with its own prompt, scale and history rule.

Holds no episode state: earlier replies are kept with the steps of the history. A reply that is not exactly one action,
or a point outside the screenshot, ends the run; the result holds the reply. "Finished" is success only where nothing
speaks against it: the last action had an effect, and an answer that the task asks for was read on the screen.
"""

import functools
import time
from collections.abc import Iterable, Sequence

from PIL import Image as PILImage

from molmo_agent.actions import Action, Back, Done, Home, Key, OpenApp, Type, Wait, points_of
from molmo_agent.episode import (
    Decision,
    Exchange,
    Image,
    LabelledPoint,
    Observation,
    Plan,
    PointResult,
    PointStatus,
    Step,
    Task,
)
from molmo_agent.errors import PointTextError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import PointingModel, PolicyTraits, model_traits
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.point_text.scales import Frame
from molmo_agent.pointers.remote import RemotePointer
from molmo_agent.pointers.served.chat import Chat
from molmo_agent.pointers.served.families import Profile
from molmo_agent.policies.instructions.substep import SubStep
from molmo_agent.policies.native.dialects import Dialect, Past, dialect_of
from molmo_agent.policies.native.replies import NativeStep, OutOfScreen
from molmo_agent.policies.planner.claims import asks_question, doubt_about_answer
from molmo_agent.policies.planner.policy import Turn, turns_of
from molmo_agent.policies.planner.support import unsupported
from molmo_agent.screen_text import TextReader

MAX_TOKENS = 512
# Screens that an answer is looked for on, the newest first.
_SCREENS = 8


class NativeAgentPolicy:
    """Follows a goal with a model that acts in its own words.

    Args:
        chat: the way to the model.
        dialect: its words.
        profile: scale and image limits of its generation.
        reader: reads the screen, where an answer must be found on it.
    """

    def __init__(self, chat: Chat, dialect: Dialect, profile: Profile, *, reader: TextReader | None = None) -> None:
        self.name = f"native({chat.model}, {dialect.name})"
        self.traits = PolicyTraits()
        self._chat, self._dialect, self._profile = chat, dialect, profile
        self._reader: TextReader = reader or LazyReader()

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide the next action.

        Raises:
            ModelError: the server cannot be reached, refuses, or does not answer with a chat completion.
        """
        turns = turns_of(history)
        if turns and (following := self._rest(turns)) is not None:
            return following
        image, frame = self._sent(observation.image)
        past = [Past(image=self._sent(turn.screen)[0], reply=turn.plan.call) for turn in turns]
        began = time.perf_counter()
        answer = self._chat.complete(self._dialect.ask(task.instruction, past, image, frame), MAX_TOKENS, image.size)
        took = time.perf_counter() - began
        plan = Plan(
            number=len(turns) + 1,
            call=answer.text,
            exchanges=(Exchange(report="", reply=answer.text),),
            tokens=sum(answer.usage or (0, 0)),
        )
        status: PointStatus = "refused" if answer.refused else "unparsed"
        try:
            if answer.refused or answer.doubt:
                raise PointTextError(answer.doubt or "the model or its server declined", answer.text)
            step = self._dialect.read(answer.text, frame, _pointer(history))
        except PointTextError as error:
            status = "out_of_range" if isinstance(error, OutOfScreen) else status
            result = PointResult(status=status, reply=answer.text, latency_s=took)
            return Decision(action=Done(False, f"no action: {error}"), result=result, plan=plan)
        if step.ending is not None:
            return self._end(step, task, observation, turns, plan)
        return self._decision(step.actions[0], step, plan, took, task, observation)

    def _rest(self, turns: Sequence[Turn]) -> Decision | None:
        """Return the next input of a reply that is more than one."""
        turn = turns[-1]
        step = self._dialect.read(turn.plan.call, self._sent(turn.screen)[1], _pointer(turns[-1].steps))
        if turn.last.refused is not None or turn.last.dry_run or len(turn.steps) >= len(step.actions):
            return None
        plan = Plan(number=turn.plan.number, call=turn.plan.call)
        return Decision(action=step.actions[len(turn.steps)], instruction=step.thought[:200], plan=plan)

    def _decision(
        self, action: Action, step: NativeStep, plan: Plan, took: float, task: Task, observation: Observation
    ) -> Decision:
        points = tuple(map(LabelledPoint, points_of(action)))
        result = PointResult(status="ok", reply=plan.call, points=points, latency_s=took) if points else None
        read = functools.partial(self._reader.read, observation.image)
        doubt = unsupported([_as_substep(action) for action in step.actions], task.instruction, read)
        return Decision(action=action, instruction=step.thought[:200], result=result, plan=plan, doubt=doubt)

    def _end(
        self, step: NativeStep, task: Task, observation: Observation, turns: Sequence[Turn], plan: Plan
    ) -> Decision:
        """End the run as the model says, if nothing speaks against it."""
        plan = Plan(number=plan.number, exchanges=plan.exchanges, tokens=plan.tokens, answer=step.text)
        if step.ending != "done":
            said = "asks for the user's help" if step.ending == "ask" else "says that it cannot be done"
            return Decision(action=Done(False, f"the model {said}{': ' if step.text else ''}{step.text}"), plan=plan)
        acted = [turn for turn in turns if not all(isinstance(one.action, Wait) for one in turn.steps)]
        doubt = ""
        if asks_question(task.instruction):
            images = [observation.image, *(turn.screen for turn in reversed(turns))][:_SCREENS]
            doubt = doubt_about_answer(step.text, [functools.partial(self._reader.read, image) for image in images])
        elif not acted:
            doubt = "nothing was done"
        if acted and not acted[-1].had_effect:
            doubt = doubt or "its last action changed nothing"
        if doubt:
            return Decision(action=Done(False, f"the model says that it is done, but {doubt}"), plan=plan)
        return Decision(action=Done(True, f"the model says that it is done: {step.text}".rstrip(": ")), plan=plan)

    def _sent(self, image: Image) -> tuple[PILImage.Image, Frame]:
        """Return an image in the size that is sent, and the frame of the reply's numbers."""
        whole = PILImage.fromarray(image)
        sent = self._profile.limits.fit(whole) if self._profile.limits else whole
        return sent, Frame(self._dialect.scale or self._profile.scale or 1000, sent.size)


def _pointer(history: Sequence[Step]) -> Point | None:
    """Return where the last action that was sent left the pointer."""
    for step in reversed(history):
        if not step.refused and (points := points_of(step.action)):
            return points[-1]
    return None


def _as_substep(action: Action) -> SubStep:
    """Return what an action asks for, as far as it needs the words of the user."""
    match action:
        case Type(text=text):
            return SubStep(text=f"type {text!r}", gesture="type", value=text)
        case Key(keys=keys):
            return SubStep(text=f"press {'+'.join(keys)}", gesture="key", value=" ".join(keys))
        case OpenApp(name=name):
            return SubStep(text=f"launch {name}", gesture="open_app", value=name)
        case _:
            return SubStep(text="", gesture="move")


def load(
    model: PointingModel, *, capabilities: Iterable[type] | None = None, reader: TextReader | None = None
) -> NativeAgentPolicy:
    """Make the policy for :func:`molmo_agent.registry.load_policy`.

    Args:
        model: on a server; its name says how it writes actions.
        capabilities: the actions of the env; a phone has a way home.
        reader: see :class:`NativeAgentPolicy`.

    Raises:
        UsageError: the model is not on a server, or of no family whose action text is known.
    """
    served = model if isinstance(model, RemotePointer) else model_traits(model).answerer
    if not isinstance(served, RemotePointer):
        raise UsageError(
            "the policy 'native' needs a model on a server: --model http://host:8000/v1#UI-TARS-1.5-7B; "
            f"got {model.name!r}"
        )
    phone = capabilities is not None and bool({Home, Back} & set(capabilities))
    dialect = dialect_of(served.name, phone=phone)
    chat = Chat(served.url, served.name, timeout_s=120.0, retries=2)
    return NativeAgentPolicy(chat, dialect, served.profile, reader=reader)
