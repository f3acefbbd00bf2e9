"""Goal -> the planner's next step -> point -> action. Holds no episode state: the history has everything.

Each step of the history carries the planner's step that it belongs to (:class:`molmo_agent.episode.Plan`), with what
was said since the step before. The steps of one plan are carried out by a :class:`PointingPolicy`, which looks for the
target, waits for the effect and says what is missing; its verdict is the report that the planner gets next.

The run ends with success only where the planner says that it is done and nothing speaks against it
(:mod:`molmo_agent.policies.planner.claims`). A planner that keeps failing, repeats itself, or uses up its budget ends
it without success, with the reason.
"""

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from molmo_agent.actions import Done, Wait
from molmo_agent.episode import Decision, Exchange, Image, Observation, Plan, Step, Task
from molmo_agent.interfaces import PointingModel, PolicyTraits, model_traits
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.policies.planner.briefing import Briefing, Planner, Talk
from molmo_agent.policies.planner.claims import (
    asks_question,
    carried_out,
    compact,
    doubt_about_answer,
    doubt_about_evidence,
    new_failure,
)
from molmo_agent.policies.planner.steps import Proposal, ReplyError, read_call, read_reply, tools_for
from molmo_agent.policies.planner.support import unsupported
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.screen_text import Line, TextReader

MAX_FAILURES = 4
"""So many failures in a row end a run: replies that are no step, targets that are not found, steps without effect."""

MAX_VISITS = 3
"""So often the same step is carried out on the same screen."""

MAX_DENIED = 2
"""So many claims to be done are not accepted before the run ends."""

MAX_QUESTIONS = 5
"""So many questions the user is asked in one run."""

# Screens that an answer is looked for on, the newest first.
_SCREENS = 8
_MAX_WORDS = 30
_NOT_ACCEPTED = "Not accepted as done: "
_START = "Nothing was done yet."

Read = Callable[[], Sequence[Line]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The steps of one plan."""

    plan: Plan
    steps: tuple[Step, ...]

    @property
    def screen(self) -> Image:
        """The screen that the planner saw."""
        return self.steps[0].observation.image

    @property
    def last(self) -> Step:
        """The newest step."""
        return self.steps[-1]

    @property
    def was_sent(self) -> bool:
        """Whether its newest action reached the device."""
        return self.last.refused is None

    @property
    def had_effect(self) -> bool:
        """Whether one of its actions was seen to change the screen."""
        return any(
            step.effect in ("changed", "changed_elsewhere")
            for step in self.steps
            if not (step.refused or isinstance(step.action, Done | Wait))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of the last step, for the planner."""

    report: str = _START
    failed: bool = False


class PlannerPolicy:
    """Follows a goal with a planner and a pointing model.

    Args:
        model: points at the targets.
        planner: proposes the steps.
        capabilities: the actions of the env; None: every action is offered.
        patience_s: how long targets and effects are waited for, see :class:`PointingPolicy`.
        reader: reads the screen, for planners without eyes and for the check of what a planner claims; None: the
            model's own, or the default one.
        ask_user: asks the user a question and returns the answer; None: a question ends the run.
    """

    def __init__(
        self,
        model: PointingModel,
        planner: Planner,
        *,
        capabilities: Iterable[type] | None = None,
        patience_s: float = 0.0,
        reader: TextReader | None = None,
        ask_user: Callable[[str], str] | None = None,
    ) -> None:
        self.name = f"planner({planner.name}, {model.name})"
        traits = model_traits(model)
        self._reader: TextReader = traits.reader or reader or LazyReader()
        self.traits = PolicyTraits(min_confidence=traits.min_confidence, reader=traits.reader)
        self._planner, self._tools, self._ask_user = planner, tools_for(capabilities), ask_user
        self._pointing = PointingPolicy(
            model, lambda call: read_call(call).steps, patience_s=patience_s, reader=self._reader
        )

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide the next action.

        Raises:
            ModelError: the planner cannot be reached or does not answer, or the pointing model failed.
        """
        turns = turns_of(history)
        outcome = _Outcome()
        if turns:
            following = self._carry_on(turns[-1], observation)
            if isinstance(following, Decision):
                return following
            outcome = following
        return _Planning(self, task, observation, turns, outcome).decide()

    def _carry_on(self, turn: Turn, observation: Observation) -> Decision | _Outcome:
        """Return the next action of a plan, or what came of it."""
        if turn.last.dry_run:
            reason = "a dry run sends nothing, and what follows depends on the screen after this step"
            return Decision(action=Done(False, reason), instruction=turn.last.decision.instruction)
        if turn.last.refused is not None and turn.last.refused.kind != "changed":
            return _Outcome(report=f"Not sent: {turn.last.refused}", failed=True)
        steps = tuple(replace(step, index=index) for index, step in enumerate(turn.steps))
        decision = self._pointing.act(Task(turn.plan.call), observation, steps)
        if not isinstance(decision.action, Done):
            # A person who agreed to the plan agreed to all of it.
            doubt = "" if any(not step.refused for step in turn.steps) else turn.steps[0].decision.doubt
            return replace(decision, plan=Plan(number=turn.plan.number, call=turn.plan.call), doubt=doubt)
        if not decision.action.success:
            return _Outcome(report=f"Failed: {decision.action.message}", failed=True)
        changed = "the screen changed" if turn.had_effect else "no change was seen or needed"
        return _Outcome(report=f"Carried out, {changed}: {read_call(turn.plan.call).words}")


class _Planning:
    """The planner is asked until one of its steps can be carried out; what is said is kept with that step."""

    def __init__(
        self, policy: PlannerPolicy, task: Task, observation: Observation, turns: Sequence[Turn], outcome: _Outcome
    ) -> None:
        self._policy, self._task, self._observation = policy, task, observation
        self._turns, self._outcome = turns, outcome
        # Whether the last step failed; what the planner says does not change that.
        self._step_failed = outcome.failed
        # What came of each plan: it stands in the exchange after it.
        later = [turn.plan.exchanges[0].failed for turn in turns[1:] if turn.plan.exchanges]
        self._done = [turn for turn, failed in zip(turns, [*later, outcome.failed], strict=False) if not failed]
        self._earlier = [exchange for turn in turns for exchange in turn.plan.exchanges]
        self._exchanges: list[Exchange] = []
        self._tokens, self._cost = 0, 0.0
        self._read = functools.cache(functools.partial(policy._reader.read, observation.image))

    def decide(self) -> Decision:
        """Ask until there is a decision."""
        while True:
            if reason := self._why_over():
                return self._end(reason)
            briefing = self._briefing()
            reply = self._policy._planner.propose(briefing)
            self._tokens += reply.tokens
            self._cost += reply.cost
            self._exchanges.append(Exchange(report=self._outcome.report, reply=reply.text, failed=self._outcome.failed))
            try:
                if reply.doubt:
                    raise ReplyError(reply.doubt)
                proposal = read_reply(reply.text, self._policy._tools)
            except ReplyError as error:
                self._outcome = _Outcome(report=f"Not understood: {error}", failed=True)
                continue
            if decision := self._try(proposal):
                return decision

    def _try(self, proposal: Proposal) -> Decision | None:
        """Return the decision that follows from a proposal, or None where the planner is asked again."""
        match proposal.name:
            case "done":
                return self._finish(proposal)
            case "give_up":
                return self._end(f"the planner gives up: {proposal.arguments['reason']}")
            case "ask":
                return self._question(str(proposal.arguments["question"]))
        same = [turn for turn in self._turns if turn.plan.call == proposal.call and self._is_now(turn.screen)]
        if len(same) >= MAX_VISITS:
            return self._end(f"the planner goes in circles: {proposal.words!r} on the same screen for the fourth time")
        if same and same[-1] is self._turns[-1] and self._step_failed:
            self._outcome = _Outcome(report="That is the step that just failed. Try another way.", failed=True)
            return None
        decision = self._policy._pointing.act(Task(proposal.call), self._observation, ())
        if isinstance(decision.action, Done):
            self._step_failed = True
            self._outcome = _Outcome(report=f"Failed: {decision.action.message}. {self._words()}", failed=True)
            return None
        doubt = unsupported(proposal.steps, self._asked(), self._read)
        return replace(decision, plan=self._plan(proposal.call), doubt=doubt)

    def _question(self, question: str) -> Decision | None:
        asked = [exchange for exchange in (*self._earlier, *self._exchanges) if exchange.user]
        if self._policy._ask_user is None:
            return self._end(f"the planner asks, and nobody can answer here: {question}")
        if len(asked) >= MAX_QUESTIONS:
            return self._end(f"the planner asks more than {MAX_QUESTIONS} questions, the last one: {question}")
        answer = self._policy._ask_user(question).strip()
        if not answer:
            return self._end(f"the user gave no answer to the planner's question: {question}")
        self._exchanges[-1] = replace(self._exchanges[-1], user=answer)
        self._outcome = _Outcome(report=f"The user answers: {answer}")
        return None

    def _finish(self, proposal: Proposal) -> Decision | None:
        """End with success if nothing speaks against it."""
        answer, evidence = (str(proposal.arguments.get(name, "")) for name in ("answer", "evidence"))
        doubt = self._doubt(answer, evidence)
        if not doubt:
            seen = f"answer: {answer}" if answer else f"the screen shows {evidence!r}" if evidence else "all steps"
            number = sum(1 for turn in self._turns if turn.had_effect)
            return Decision(
                action=Done(True, f"{number} steps with an effect; {seen}"),
                plan=replace(self._plan(), answer=answer),
            )
        denied = [e for e in (*self._earlier, *self._exchanges) if e.report.startswith(_NOT_ACCEPTED)]
        self._outcome = _Outcome(report=f"{_NOT_ACCEPTED}{doubt}. Show it, go on, or give up.", failed=True)
        if len(denied) + 1 >= MAX_DENIED:
            said = f" It answers: {answer!r}." if answer else ""
            return self._end(f"the planner says that it is done, but {doubt}.{said}", answer=answer)
        return None

    def _doubt(self, answer: str, evidence: str) -> str:
        """Return what speaks against a claim to be done, or an empty string."""
        task = self._task.instruction
        if self._step_failed:
            return "its last step failed"
        if self._turns and (failure := new_failure(self._policy._reader.read(self._turns[-1].screen), self._read())):
            return f"the screen now shows {failure!r}"
        if carried_out(task, [step for turn in self._done for step in read_call(turn.plan.call).steps]):
            return ""
        is_question = asks_question(task)
        if is_question and not compact(answer):
            return "the task asks a question, and there is no answer"
        if not is_question and not any(turn.had_effect for turn in self._turns):
            return "no step changed anything"
        if is_question:
            images = [self._observation.image, *(turn.screen for turn in reversed(self._turns))][:_SCREENS]
            reads = [functools.partial(self._policy._reader.read, image) for image in images]
            if doubt := doubt_about_answer(answer, reads):
                return doubt
        return doubt_about_evidence(evidence, self._read()) if evidence or not is_question else ""

    def _why_over(self) -> str:
        reports = [exchange.failed for exchange in (*self._earlier, *self._exchanges)] + [self._outcome.failed]
        if len(list(itertools.takewhile(bool, reversed(reports)))) >= MAX_FAILURES:
            return f"{MAX_FAILURES} failures in a row, the last one: {self._outcome.report}"
        tokens = self._tokens + sum(turn.plan.tokens for turn in self._turns)
        cost = self._cost + sum(turn.plan.cost for turn in self._turns)
        return self._policy._planner.budget.exceeded(tokens, cost)

    def _end(self, reason: str, *, answer: str = "") -> Decision:
        return Decision(action=Done(False, reason), plan=replace(self._plan(), answer=answer))

    def _plan(self, call: str = "") -> Plan:
        return Plan(
            number=len(self._turns) + 1,
            call=call,
            exchanges=tuple(self._exchanges),
            tokens=self._tokens,
            cost=self._cost,
        )

    def _briefing(self) -> Briefing:
        talks = [
            Talk(exchange=exchange, screen=turn.screen) for turn in self._turns for exchange in turn.plan.exchanges
        ]
        talks += [Talk(exchange=exchange, screen=self._observation.image) for exchange in self._exchanges]
        return Briefing(
            task=self._task.instruction,
            tools=self._policy._tools,
            talks=talks,
            report=self._outcome.report,
            screen=self._observation.image,
            lines=self._read() if self._policy._planner.reads_words else (),
            num_sent=sum(turn.was_sent for turn in self._turns),
            failed=self._outcome.failed,
            idle=self._outcome.failed and self._step_failed and bool(self._turns) and self._turns[-1].was_sent,
        )

    def _asked(self) -> str:
        """Return all that the user said."""
        answers = [exchange.user for exchange in (*self._earlier, *self._exchanges) if exchange.user]
        return "\n".join([self._task.instruction, *answers])

    def _is_now(self, screen: Image) -> bool:
        return screen.shape == self._observation.image.shape and bool(np.array_equal(screen, self._observation.image))

    def _words(self) -> str:
        lines = [line.text for line in self._read() if line.text.strip()]
        return f"Words on the screen: {json.dumps(lines[:_MAX_WORDS], ensure_ascii=False)}"


def turns_of(history: Sequence[Step]) -> list[Turn]:
    """Group the steps of a run by the plan that they carry out."""
    turns = []
    plans = [step for step in history if step.decision.plan is not None and step.decision.plan.call]
    for _, group in itertools.groupby(plans, lambda step: step.decision.plan.number if step.decision.plan else 0):
        steps = tuple(group)
        plan = steps[0].decision.plan
        assert plan is not None
        turns.append(Turn(plan=plan, steps=steps))
    return turns


def load(
    model: PointingModel,
    planner: str | Planner = "rules",
    *,
    capabilities: Iterable[type] | None = None,
    patience_s: float = 0.0,
    reader: TextReader | None = None,
    ask_user: Callable[[str], str] | None = None,
) -> PlannerPolicy:
    """Make the policy for :func:`molmo_agent.registry.load_policy`.

    Args:
        model: points at the targets.
        planner: "rules", or ``http://host:8000/v1#model``, see :func:`load_planner`; or a planner.
        capabilities: see :class:`PlannerPolicy`, as the rest.
        patience_s: see there.
        reader: see there.
        ask_user: see there.

    Raises:
        UsageError: there is no such planner.
    """
    from molmo_agent.policies.planner.loading import load_planner

    return PlannerPolicy(
        model,
        load_planner(planner) if isinstance(planner, str) else planner,
        capabilities=capabilities,
        patience_s=patience_s,
        reader=reader,
        ask_user=ask_user,
    )
