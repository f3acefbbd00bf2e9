"""Who is measured: models under a policy, the oracle, and two baselines that obey what they read.

The baselines show that the measure can fail: an agent that obeys must be captured.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from molmo_agent.episode import Decision, Image, Observation, Step, Task
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.injection.cases import Stage
from molmo_agent.geometry import Box
from molmo_agent.interfaces import PointingModel, Policy, policy_traits
from molmo_agent.pointers.baselines import OraclePointer
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.policies.planner.briefing import Briefing, Budget, PlannerReply
from molmo_agent.policies.planner.rules import steps_of_list
from molmo_agent.registry import load_model, load_policy
from molmo_agent.screen_text import TextReader

ORACLE, OBEDIENT, SCREEN_READING = "oracle", "decoy-following", "screen-reading"
OBEYING_PLANNER = "obeying-planner"
# Before the name of a planner: "planner=http://localhost:8000/v1#model".
_PLANNER = "planner="
BASELINES = {
    ORACLE: "knows where everything is, and does the task alone",
    OBEDIENT: "knows where everything is, and does what the screen says; it must be captured",
    SCREEN_READING: "a policy: reads the screen and does what it orders, where it finds an order; else the task",
    OBEYING_PLANNER: "a policy: a planner that proposes what the screen orders, then the task; its guard may stop it",
}

# An imperative on the screen with what it is about, in the words that the screen has.
_IMPERATIVE = re.compile(
    r"\b(?:click|press|tap|select|open)\s+(?:on\s+)?(?:[\"“](?P<quoted>[^\"”]{2,40})[\"”]|(?P<bare>[^.,:;\"”()<>{}]{2,40}))",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\s+(?:first|now|to|before|and|please)\b.*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Agent:
    """A model with a policy. The names are those of ``agent run``, or of ``BASELINES``.

    A planner is the policy ``planner=NAME``, with a name as ``agent run --planner`` takes it. A policy of another
    package is measured by its entry point's name.
    """

    model: str
    policy: str | None = None

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.model if self.policy is None else f"{self.model} + {self.policy}"

    @property
    def obeys(self) -> bool:
        """Whether it does what the screen says by construction."""
        return self.model == OBEDIENT or self.policy in (SCREEN_READING, OBEYING_PLANNER)

    @property
    def _finds_orders(self) -> bool:
        """Whether it knows where everything is, also what the screen orders."""
        return self.model == ORACLE and self.policy == OBEYING_PLANNER

    def check(self) -> None:
        """Check the combination before a run.

        Raises:
            UsageError: a baseline cannot have another policy.
        """
        if self.model in (ORACLE, OBEDIENT) and self.policy is not None and not self._finds_orders:
            raise UsageError(f"{self.model} has a policy of its own; got --policy {self.policy}")


class ObedientPolicy:
    """Does what the screen orders instead of the task.

    Args:
        inner: carries the order out, in the grammar of instructions.
        read: returns the order on the first screen of a run; empty: there is none, the task is done.
        name: for records.
    """

    def __init__(self, inner: Policy, read: Callable[[Image], str], name: str) -> None:
        self._inner, self._read, self.name = inner, read, name
        self.traits = policy_traits(inner)

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide as the inner policy does for the order."""
        first = history[0].observation if history else observation
        order = self._read(first.image)
        return self._inner.act(Task(order) if order else task, observation, history)


class ObeyingPlanner:
    """A planner that the screen has won over: it proposes what the screen orders, and then the steps of the task.

    It shows what the guard of planners stops: steps that the words of the task do not support.

    Args:
        order: what the screen orders, in the grammar of instructions; empty: nothing.
    """

    name = OBEYING_PLANNER
    reads_words = False
    budget = Budget()

    def __init__(self, order: str) -> None:
        self._ordered = steps_of_list(order) or []

    def propose(self, briefing: Briefing) -> PlannerReply:
        """Return the next step; a step of the task that failed ends the run, one of the order does not."""
        number = len(briefing.talks)
        calls = [*self._ordered, *(steps_of_list(briefing.task) or [])]
        if briefing.failed and not briefing.idle and number > len(self._ordered):
            call = {"name": "give_up", "arguments": {"reason": briefing.report}}
        else:
            call = calls[number] if number < len(calls) else {"name": "done", "arguments": {}}
        return PlannerReply(text=json.dumps(call, ensure_ascii=False))


class OrderReader:
    """Finds an order in the words of a screen, as a naive agent does.

    Args:
        reader: reads the words.
    """

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader

    def __call__(self, image: Image) -> str:
        """Return an order as an instruction; empty if the screen gives none that can be carried out."""
        text = " ".join(line.text for line in self._reader.read(image))
        for match in _IMPERATIVE.finditer(text):
            label = (match["quoted"] or _TAIL.sub("", match["bare"])).strip()
            # A label begins with a capital; other words only go on with a sentence.
            if label[:1].isupper():
                instruction = f'click "{label}"'
                if len(split_instruction(instruction)) == 1:
                    return instruction
        return ""


class PolicyMaker:
    """Makes an agent's policy for each stage; model and reader are loaded once.

    Args:
        agent: who is measured.
        min_confidence: replaces the model's threshold; 0 disables it.
    """

    def __init__(self, agent: Agent, min_confidence: float | None = None) -> None:
        agent.check()
        self._agent, self._min_confidence = agent, min_confidence
        self._model: PointingModel | None = None
        self._reader: OrderReader | None = None

    def __call__(self, stage: Stage) -> Policy:
        """Return the policy that acts on a stage.

        Raises:
            UsageError: the policy cannot be used with the model.
            ModelError: the model cannot be loaded.
        """
        model, policy = self._agent.model, self._agent.policy
        if policy == OBEYING_PLANNER:
            return self._obeying_planner(stage)
        if model == ORACLE:
            return load_policy("pointing", OraclePointer(stage.locate), stage.env)
        if model == OBEDIENT:
            # The control has nothing to obey.
            locate = stage.locate_ordered if stage.order else stage.locate
            inner = load_policy("pointing", OraclePointer(locate), stage.env)
            return ObedientPolicy(inner, lambda image: stage.ordered, OBEDIENT)
        self._model = self._model or load_model(model)
        name, _, planner = (policy or "").partition(_PLANNER)
        if planner and not name:
            confidence = self._min_confidence
            return load_policy("planner", self._model, stage.env, min_confidence=confidence, planner=planner)
        if policy != SCREEN_READING:
            return load_policy(policy, self._model, stage.env, min_confidence=self._min_confidence)
        if self._reader is None:
            from molmo_agent.ocr.reader import load_reader

            self._reader = OrderReader(load_reader())
        inner = load_policy("pointing", self._model, stage.env, min_confidence=self._min_confidence)
        return ObedientPolicy(inner, self._reader, SCREEN_READING)

    def _obeying_planner(self, stage: Stage) -> Policy:
        pointer: PointingModel
        if self._agent.model == ORACLE:
            ordered = (
                {target for step in split_instruction(stage.ordered) for target in step.targets} if stage.order else ()
            )

            def locate(phrase: str) -> Sequence[Box]:
                return stage.locate_ordered(phrase) if phrase in ordered else stage.locate(phrase)

            pointer = OraclePointer(locate)
        else:
            self._model = self._model or load_model(self._agent.model)
            pointer = self._model
        planner = ObeyingPlanner(stage.ordered)
        return load_policy("planner", pointer, stage.env, min_confidence=self._min_confidence, planner=planner)
