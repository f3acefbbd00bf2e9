import dataclasses

import numpy as np
import pytest

from molmo_agent.actions import Click, Done, Drag, Key, PointAt, Type, Wait
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, Refusal, Step, Task
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits, PointingModel, Policy
from molmo_agent.point_text.parse import parse_points
from molmo_agent.pointers.baselines import (
    CentrePointer,
    OraclePointer,
    RandomPointer,
    ScriptedPointer,
    ScriptedPolicy,
)
from molmo_agent.policies.instructions.substep import as_field
from molmo_agent.policies.pointing import WORDINGS, PointingPolicy, progress
from molmo_agent.policies.typed_text import arrived, count_similar, readable_part
from molmo_agent.screen_text import Line, Word
from molmo_agent.transforms import ImageTransform

IMAGE = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3).astype(np.uint8)
IMAGE.flags.writeable = False
SEEN = Observation(IMAGE, ImageTransform.identity(64, 48))
A, B = Point(0.2, 0.3), Point(0.7, 0.6)


class Replies:
    """A pointing model that answers each question with the next of the given replies."""

    name = "replies"

    def __init__(self, *replies, dialect="molmo"):
        self.replies, self.dialect, self.asked = list(replies), dialect, []

    def point(self, image, instruction, *, max_points=None):
        self.asked.append(instruction)
        reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
        return parse_points(self.dialect, reply, (64, 48)).to_result()

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


def tag(*points, label="it"):
    if len(points) == 1:
        return f'<point x="{points[0].x * 100:.1f}" y="{points[0].y * 100:.1f}" alt="{label}">{label}</point>'
    pairs = " ".join(f'x{i}="{p.x * 100:.1f}" y{i}="{p.y * 100:.1f}"' for i, p in enumerate(points, 1))
    return f'<points {pairs} alt="{label}">{label}</points>'


def play(policy, instruction, outcomes=(), limit=20, screens=None):
    """Act until the policy is done; outcomes give effect, refusal or dry_run of each step; return all decisions."""
    history: list[Step] = []
    while len(history) < limit:
        screen = SEEN if screens is None else next(screens)
        decision = policy.act(Task(instruction), screen, tuple(history))
        outcome = outcomes[len(history)] if len(history) < len(outcomes) else {"effect": "changed"}
        history.append(Step(index=len(history), observation=screen, decision=decision, **outcome))
        if isinstance(decision.action, Done):
            break
    return [step.decision for step in history]


def actions(decisions):
    return [decision.action for decision in decisions]


# --- Following an instruction -----------------------------------------------------------------------------------------


def test_an_instruction_is_followed_step_by_step():
    model = ScriptedPointer({"Name": [A], "Submit": [B]})
    decisions = play(PointingPolicy(model), 'click Name, type "Ada", click Submit')
    assert actions(decisions) == [Click(A), Type("Ada"), Click(B), Done(True, "3 of 3 steps carried out")]
    assert [decision.instruction for decision in decisions] == ["click Name", 'type "Ada"', "click Submit", ""]
    assert [decision.result.status if decision.result else None for decision in decisions] == ["ok", None, "ok", None]


def test_typing_into_a_field_clicks_it_first_and_keeps_the_placeholder_of_a_secret():
    model = ScriptedPointer({"the Password field": [A]})
    decisions = play(PointingPolicy(model), "type {{PASSWORD}} into the Password field, then press Enter")
    assert actions(decisions)[:3] == [Click(A), Type("{{PASSWORD}}"), Key(("enter",))]


def test_a_drag_asks_for_both_ends():
    decisions = play(PointingPolicy(ScriptedPointer({"the file": [A], "Trash": [B]})), "drag the file to Trash")
    assert decisions[0].action == Drag(A, B)
    assert [found.point for found in decisions[0].result.points] == [A, B]
    assert decisions[0].result.reply.count("<point ") == 2


def test_pointing_takes_every_point_and_none_at_all():
    policy = PointingPolicy(ScriptedPointer({"the mugs": [A, B]}))
    assert play(policy, "point to the mugs")[0].action == PointAt((A, B))
    decision = play(policy, "point to the cats")[0]
    assert (decision.action, decision.result.status) == (PointAt(()), "none")


def test_the_same_sub_step_twice_is_done_twice():
    decisions = play(PointingPolicy(ScriptedPointer([A])), "click Next, click Next, wait 2 seconds")
    assert actions(decisions)[:3] == [Click(A), Click(A), Wait(2)]


def test_a_dry_run_goes_through_every_step():
    decisions = play(PointingPolicy(ScriptedPointer([A])), "click X, type a, click Y", [{"dry_run": True}] * 3)
    assert actions(decisions) == [Click(A), Type("a"), Click(A), Done(True, "3 of 3 steps carried out")]


def test_the_policy_holds_no_state_between_calls():
    policy = PointingPolicy(ScriptedPointer({"A": [A], "B": [B]}))
    done = Step(index=0, observation=SEEN, decision=Decision(action=Click(A)), effect="changed")
    for _ in range(2):
        assert policy.act(Task("click A, click B"), SEEN, (done,)).action == Click(B)
        assert policy.act(Task("click A, click B"), SEEN, ()).action == Click(A)


def test_braces_in_a_target_are_no_format_fields():
    model = Replies(tag(A))
    PointingPolicy(model).act(Task('click "{0} {name} {}"'), SEEN, ())
    assert model.asked == ['"{0} {name} {}"']


def test_an_instruction_that_makes_no_sense_is_a_usage_error():
    with pytest.raises(UsageError, match="expected something to do"):
        PointingPolicy(CentrePointer()).act(Task("..."), SEEN, ())


def test_a_failing_model_is_not_hidden():
    class Broken(CentrePointer):
        def point(self, image, instruction, *, max_points=None):
            raise ModelError("out of memory")

    with pytest.raises(ModelError, match="out of memory"):
        PointingPolicy(Broken()).act(Task("click A"), SEEN, ())


def test_wordings_must_have_room_for_the_target():
    for wordings in ((), ("{}", "Where is it")):
        with pytest.raises(ValueError, match=r"expected wordings with \{\} for the target, at least one, got"):
            PointingPolicy(CentrePointer(), wordings=wordings)


# --- Doubt ------------------------------------------------------------------------------------------------------------


def test_an_unreadable_reply_is_asked_again_in_other_words_within_one_decision():
    model = Replies("no idea", '<point x="120" y="5">far</point>', tag(A))
    assert play(PointingPolicy(model), "click Save")[0].action == Click(A)
    assert model.asked == [wording.replace("{}", "Save") for wording in WORDINGS]


def test_after_the_last_wording_the_policy_gives_up_and_shows_the_reply():
    model = Replies("no idea")
    decisions = play(PointingPolicy(model), "click Save, click Send")
    message = "could not 'click Save': the model gave no usable point for 'Save' (unparsed): it replied 'no idea'"
    assert actions(decisions) == [Done(False, message)]
    assert decisions[0].result.reply == "no idea"
    assert decisions[0].instruction == "click Save"
    assert len(model.asked) == len(WORDINGS)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("There are none.", "the model sees no 'Save'"),
        ("I'm sorry, I can't help.", "the model declines to point at 'Save'"),
    ],
)
def test_none_and_a_refusal_are_answers_and_not_asked_again(reply, reason):
    model = Replies(reply, tag(A))
    decision = PointingPolicy(model).act(Task("click Save"), SEEN, ())
    assert decision.action == Done(False, f"could not 'click Save': {reason}")
    assert model.asked == ["Save"]


def test_several_places_for_one_target_are_asked_again_and_never_clicked():
    decision = PointingPolicy(Replies(tag(A, B))).act(Task("click Save"), SEEN, ())
    assert decision.action == Done(False, "could not 'click Save': 2 places fit 'Save'; say which one is meant")
    assert PointingPolicy(Replies(tag(A, B), tag(B))).act(Task("click Save"), SEEN, ()).action == Click(B)


def test_points_that_wobble_around_one_place_are_one_place():
    near = Point(A.x + 0.005, A.y)
    assert PointingPolicy(Replies(tag(A, near))).act(Task("click Save"), SEEN, ()).action == Click(A)


def test_a_drag_without_its_end_is_not_begun():
    decision = PointingPolicy(ScriptedPointer({"the file": [A]})).act(Task("drag the file to Trash"), SEEN, ())
    assert decision.action == Done(False, "could not 'drag the file to Trash': the model sees no 'Trash'")


# --- History ----------------------------------------------------------------------------------------------------------


def test_a_refused_point_is_asked_for_in_other_words():
    model = Replies(tag(A), tag(B))
    decisions = play(
        PointingPolicy(model), "click Save", [{"refused": Refusal("region", "outside the allowed region")}]
    )
    assert actions(decisions)[:2] == [Click(A), Click(B)]
    assert model.asked[:2] == ["Save", "Where is Save"]


def test_the_same_refused_place_is_not_tried_again():
    decisions = play(
        PointingPolicy(Replies(tag(A))),
        "click Save",
        [{"refused": Refusal("unconfirmed", "not confirmed by the user")}],
    )
    message = (
        "could not 'click Save': asked again, the same place was found, and it was refused: not confirmed by the user"
    )
    assert actions(decisions) == [Click(A), Done(False, message)]


def test_refusals_are_retried_as_often_as_there_are_wordings():
    model = Replies(*(tag(Point(x / 10, 0.5)) for x in range(1, 9)))
    decisions = play(PointingPolicy(model), "click Save", [{"refused": Refusal("env", "no")}] * 9)
    assert actions(decisions)[-1] == Done(False, "could not 'click Save': it was refused: no")
    assert len(decisions) == len(WORDINGS) + 1


def test_what_needs_no_point_is_not_repeated_when_it_is_refused():
    decisions = play(
        PointingPolicy(CentrePointer()), "type a, press Enter", [{"refused": Refusal("secret", "a secret")}]
    )
    assert actions(decisions) == [Type("a"), Done(False, "could not 'type a': it was refused: a secret")]


def test_a_refused_click_is_never_followed_by_the_typing_meant_for_it():
    decisions = play(PointingPolicy(Replies(tag(A))), "type a into Name", [{"refused": Refusal("env", "no")}] * 5)
    assert not any(isinstance(action, Type) for action in actions(decisions))


def test_a_click_before_typing_needs_no_effect_and_its_absence_is_told():
    decisions = play(PointingPolicy(ScriptedPointer([A])), "click Name, type a", [{"effect": "unchanged"}])
    assert actions(decisions) == [
        Click(A),
        Type("a"),
        Done(True, "2 of 2 steps carried out; nothing changed after 'click Name'"),
    ]


def test_a_click_into_a_field_that_had_the_focus_is_not_told_where_the_text_was_seen():
    idle, seen = {"effect": "unchanged"}, {"effect": "changed"}
    for task, outcomes, told in [
        ("type ab into Name", [idle, seen], ""),
        ("type ab into Name, press Tab", [idle, seen, idle], "; nothing changed after 'press Tab'"),
        ("press Tab, type ab into Name", [idle, idle, seen], "; nothing changed after 'press Tab'"),
    ]:
        done = actions(play(PointingPolicy(CentrePointer()), task, outcomes))[-1]
        assert done == Done(True, f"{len(outcomes)} of {len(outcomes)} steps carried out{told}"), task


def test_nothing_but_idle_steps_are_no_success():
    decisions = play(PointingPolicy(CentrePointer()), "press Enter, press Tab", [{"effect": "unchanged"}] * 2)
    assert actions(decisions)[-1] == Done(False, "every step was carried out, but nothing on the screen changed")


def test_progress_counts_what_was_sent_and_what_was_refused_since():
    def step(refused=None):
        return Step(
            index=0, observation=SEEN, decision=Decision(action=Click(A)), refused=refused and Refusal("env", refused)
        )

    assert progress(()) == (0, ())
    assert progress((step("no"), step(), step("no"), step("never")))[0] == 1
    assert [str(s.refused) for s in progress((step("no"), step(), step("no"), step("never")))[1]] == ["no", "never"]


# --- Waiting for targets ----------------------------------------------------------------------------------------------

NONE = "There are none."
UNSEEN = "could not 'click Save': the model sees no 'Save'"


def patient(model, **options):
    return PointingPolicy(model, patience_s=5.0, **options)


def new_screens():
    """Return observations that all differ."""
    for value in range(200):
        yield Observation(np.full((48, 64, 3), value, np.uint8), ImageTransform.identity(64, 48))


def test_a_target_that_comes_late_is_waited_for():
    decisions = play(patient(Replies(NONE, NONE, tag(A))), "click Save", screens=new_screens())
    assert actions(decisions) == [Wait(0.4), Wait(0.8), Click(A), Done(True, "1 of 1 steps carried out")]
    assert [decision.instruction for decision in decisions[:3]] == ["click Save"] * 3
    assert decisions[0].result.status == "none"


def test_the_patience_ends_and_the_reason_stays():
    model = Replies(NONE)
    decisions = play(patient(model), "click Save", screens=new_screens())
    assert actions(decisions)[:-1] == [Wait(0.4), Wait(0.8), Wait(1.6), Wait(2.2)]
    assert decisions[-1].action == Done(False, UNSEEN + ", after looking for 5.0 s")


def test_a_screen_that_stays_the_same_is_not_asked_about_again_until_the_end():
    model = Replies(NONE)
    assert len(play(patient(model), "click Save")) == 5
    assert model.asked == ["Save", "Save"]


@pytest.mark.parametrize("outcome", [{"dry_run": True}, {"refused": Refusal("unsupported", "no Wait")}])
def test_where_waiting_is_not_possible_the_policy_gives_up(outcome):
    decisions = play(patient(Replies(NONE)), "click Save", [outcome])
    assert actions(decisions) == [Wait(0.4), Done(False, UNSEEN + ", after looking for 0.4 s")]


def test_an_uncertain_point_is_looked_at_again_and_then_left_to_the_guards():
    class Unsure(Replies):
        traits = ModelTraits(min_confidence=0.6)

        def point(self, image, instruction, *, max_points=None):
            return dataclasses.replace(super().point(image, instruction), confidence=self.confidences.pop(0))

    model = Unsure(tag(A))
    model.confidences = [0.2, 0.9]
    assert actions(play(patient(model), "click Save", screens=new_screens()))[:2] == [Wait(0.4), Click(A)]
    model.confidences = [0.2] * 9
    assert actions(play(patient(model), "click Save", screens=new_screens()))[4:5] == [Click(A)]


def test_what_is_waited_for_is_no_step_done_and_a_wait_of_the_task_is_one():
    model = Replies(NONE, tag(A), NONE, tag(B))
    decisions = play(patient(model), "click Save, wait 2 seconds, click Send", screens=new_screens())
    assert actions(decisions) == [
        Wait(0.4),
        Click(A),
        Wait(2),
        Wait(0.4),
        Click(B),
        Done(True, "3 of 3 steps carried out"),
    ]
    history = [Step(index=i, observation=SEEN, decision=decision) for i, decision in enumerate(decisions[:4])]
    assert progress(history)[0] == 2


def test_other_doubts_are_not_waited_for():
    assert isinstance(play(patient(Replies("no idea")), "click Save")[0].action, Done)
    assert isinstance(play(patient(Replies("I'm sorry, I can't help.")), "click Save")[0].action, Done)
    with pytest.raises(ValueError, match="patience_s must be a number of seconds >= 0, got -1"):
        PointingPolicy(CentrePointer(), patience_s=-1)


# --- Effects ----------------------------------------------------------------------------------------------------------

IDLE, ELSEWHERE, CHANGED = {"effect": "unchanged"}, {"effect": "changed_elsewhere"}, {"effect": "changed"}
NO_CHANGE = "nothing on the screen changed"


def failure(step, reason):
    return Done(False, f"{step!r} had no effect: {reason}")


def attempt(task, *outcomes, model=None, waits=IDLE):
    """Play a task with patience; the outcomes are those of all steps but the waits, whose outcome is ``waits``."""
    policy, history, outcomes = patient(model or ScriptedPointer([A])), [], list(outcomes)
    while not (history and isinstance(history[-1].action, Done)):
        decision = policy.act(Task(task), SEEN, tuple(history))
        outcome = waits if isinstance(decision.action, Wait) else outcomes.pop(0) if outcomes else CHANGED
        history.append(Step(index=len(history), observation=SEEN, decision=decision, **outcome))
    return [step.action for step in history]


def but_waits(actions):
    return [action for action in actions if not isinstance(action, Wait)]


def test_a_click_without_effect_is_looked_at_again_tried_twice_and_then_no_success():
    last = failure("click Save", NO_CHANGE + ", even after a second click")
    waits = [Wait(1.0), Wait(2.0), Wait(2.0)]
    assert attempt("click Save, click Send", IDLE, IDLE) == [Click(A), *waits, Click(A), *waits, last]


def test_a_second_click_with_an_effect_is_one_step():
    done = but_waits(attempt("click Save, click Send", IDLE, CHANGED, CHANGED))
    assert done[:-1] == [Click(A)] * 3
    assert done[-1] == Done(True, "2 of 2 steps carried out; nothing changed after 'click Save'")


def test_a_click_that_is_asked_for_three_times_is_counted_right_with_a_retry():
    done = but_waits(attempt("click Next 3 times", CHANGED, IDLE, CHANGED, CHANGED))
    assert done[:-1] == [Click(A)] * 4
    assert done[-1].success


@pytest.mark.parametrize(
    "task",
    [
        "right-click X",
        "double-click X",
        "long-press X",
        "drag X to Y",
        "ctrl-click X",
        "tick X",
        "turn off X",
        "click Delete",
        "click Send",
        "click Pay now",
    ],
)
def test_what_could_do_harm_or_is_no_plain_click_is_not_tried_twice(task):
    assert but_waits(attempt(task, IDLE))[1:] == [failure(task, NO_CHANGE)]


@pytest.mark.parametrize("second", [NONE, tag(B)])
def test_a_second_click_needs_the_same_target_at_the_same_place(second):
    assert but_waits(attempt("click Save", IDLE, model=Replies(tag(A), second))) == [
        Click(A),
        failure("click Save", NO_CHANGE),
    ]


def test_a_second_click_that_is_refused_is_told():
    refused = {"refused": Refusal("unconfirmed", "not confirmed by the user")}
    reason = NO_CHANGE + ", and a second click was refused: not confirmed by the user"
    assert but_waits(attempt("click Save", IDLE, refused)) == [Click(A), Click(A), failure("click Save", reason)]


def test_the_effect_of_a_click_may_come_while_the_policy_waits():
    done = attempt("click Save, click Send", IDLE, CHANGED, waits=ELSEWHERE)
    assert done == [Click(A), Wait(1.0), Click(A), Done(True, "2 of 2 steps carried out")]


def test_after_a_late_effect_the_next_target_is_waited_for_as_long_as_ever():
    model = Replies(tag(A), NONE, NONE, NONE, NONE, NONE)
    decisions = play(patient(model), "click Save, click Send", [IDLE, CHANGED] + [IDLE] * 9, screens=new_screens())
    assert actions(decisions)[:-1] == [Click(A), Wait(1.0), Wait(0.4), Wait(0.8), Wait(1.6), Wait(2.2)]
    assert decisions[1].result.reply == f"waiting for an effect: {NO_CHANGE}"
    assert decisions[-1].action.message == "could not 'click Send': the model sees no 'Send', after looking for 5.0 s"


def test_a_click_may_change_the_screen_elsewhere_but_a_tick_changes_its_box():
    assert attempt("click File", ELSEWHERE)[-1].success
    assert attempt("tick Remember me", ELSEWHERE)[-1] == failure("tick Remember me", "nothing changed near it")


@pytest.mark.parametrize("task", ["press Enter", "scroll down", "wait 1 second", "hover over X", "go back"])
def test_what_may_leave_the_screen_as_it_is_needs_no_effect(task):
    assert attempt(f"click X, {task}", CHANGED, IDLE, waits=CHANGED)[-1].success


def test_typing_without_a_change_is_no_success():
    done = attempt('type "Ada" into Name, press Enter', CHANGED, IDLE)
    assert but_waits(done) == [Click(A), Type("Ada"), failure('type "Ada" into Name', NO_CHANGE)]


def test_without_patience_every_step_is_carried_out_and_success_not_claimed():
    policy = PointingPolicy(ScriptedPointer([A]))
    decisions = play(policy, "click Save, click Next 3 times", [CHANGED, IDLE])
    assert actions(decisions) == [*[Click(A)] * 4, failure("click Next 3 times", NO_CHANGE)]


def test_text_that_appears_far_from_its_field_is_no_success():
    reason = "the screen changed only far from the field"
    assert attempt('type "Ada" into Name', CHANGED, ELSEWHERE)[-1] == failure('type "Ada" into Name', reason)


def test_a_caret_that_blinks_is_no_typed_text():
    def screens(text_px):
        image = np.full((48, 64, 3), 200, np.uint8)
        yield Observation(image, ImageTransform.identity(64, 48))
        yield Observation(image, ImageTransform.identity(64, 48))
        while True:
            image = image.copy()
            image[20:30, 10 : 10 + text_px] = 0
            yield Observation(image, ImageTransform.identity(64, 48))

    task = 'type "Ada" into Name'
    for text_px, last in [
        (2, failure(task, "nothing but a caret changed")),
        (20, Done(True, "2 of 2 steps carried out")),
    ]:
        assert play(patient(ScriptedPointer([A])), task, screens=screens(text_px))[-1].action == last
    assert play(patient(ScriptedPointer([A])), 'type "A" into Name', screens=screens(2))[-1].action.success


class Reader:
    """Reads prepared lines, by the value of the first pixel of the image."""

    name = "reader"

    def __init__(self, *screens):
        self.screens = screens

    def read(self, image):
        box = Box(0, 0, 1, 1)
        texts = self.screens[min(int(image[0, 0, 0]), len(self.screens) - 1)]
        return [Line(tuple(Word(word, box) for word in text.split()), box, 1.0) for text in texts]


def typing(task, *screens, outcomes=(), patience_s=0.0):
    """Play a task with a reader; each observation shows the next of the screens, the last one from then on."""
    model = ScriptedPointer([A])
    model.traits = ModelTraits(reader=Reader(*screens))
    policy = PointingPolicy(model, patience_s=patience_s)
    return actions(play(policy, task, outcomes, screens=new_screens()))


ADA = 'type "Ada Lovelace" into Name'
NOT_VISIBLE = "the typed text is not visible"


def test_typed_text_is_read_and_small_mistakes_of_the_reader_are_forgiven():
    assert typing(ADA, ["Name"], ["Name"], ["Name", "ADA Love1ace"])[-1].success
    assert typing(ADA, ["Name"], ["Name"], ["Name", "Ada Byron"])[-1] == failure(ADA, NOT_VISIBLE)


def test_text_that_was_there_before_is_not_the_typed_one():
    before = ["Ada Lovelace"]
    assert typing(ADA, before, before, before)[-1] == failure(ADA, NOT_VISIBLE)
    assert typing(ADA, before, before, before * 2)[-1].success


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_text_that_is_drawn_late_is_looked_for_within_the_patience(looks):
    waits = [Wait(1.0), Wait(2.0), Wait(2.0)]
    late = [["Name"]] * (2 + looks) + [["Ada Lovelace"]]
    assert typing(ADA, *late, patience_s=5.0)[2:] == [*waits[:looks], Done(True, "2 of 2 steps carried out")]
    assert typing(ADA, ["Name"], patience_s=5.0)[2:] == [*waits, failure(ADA, NOT_VISIBLE)]


@pytest.mark.parametrize(
    "task",
    [
        'type "{{PASSWORD}}" into Name',
        'type "hunter2" into the Password field',
        'type "1234" into PIN',
        'type "ab" into Name',
        'type "?!..." into Name',
        'type "search words\n" into Name',
    ],
)
def test_text_that_cannot_be_read_needs_a_change_only(task):
    assert typing(task, ["Name"])[-1].success
    assert not typing(task, ["Name"], outcomes=[CHANGED, IDLE])[-1].success


def test_a_click_without_effect_does_not_show_where_the_text_belongs():
    outcomes = [IDLE, ELSEWHERE]
    assert typing(ADA, ["Name"], ["Name"], ["Ada Lovelace"], outcomes=outcomes)[-1].success
    assert not typing(ADA, ["Name"], ["Name"], ["Ada Lovelace"], outcomes=[CHANGED, ELSEWHERE])[-1].success


@pytest.mark.parametrize(
    ("piece", "text", "count"),
    [
        ("ada", "adaada", 2),
        ("ada", "adbada", 1),
        ("hello", "he1lo", 1),
        ("hello", "hexxo", 0),
        ("hello", "hellohello", 2),
        ("lovelace", "", 0),
    ],
)
def test_similar_pieces_are_counted_without_overlaps(piece, text, count):
    assert count_similar(piece, text) == count


def test_of_long_text_the_end_is_enough_and_the_beginning_is_what_a_limit_keeps():
    text = "the quick brown fox jumps over the lazy dog"
    part = readable_part(text, "type it")
    box = Box(0, 0, 1, 1)
    assert arrived(part, [], [Line((Word("jumps over the lazy dog", box),), box, 1.0)])
    for visible in ("the quick brown fox jum", "brown fox jumps"):
        assert not arrived(part, [], [Line((Word(visible, box),), box, 1.0)])
    assert readable_part("first line\nsecond line", "type it") == "secondline"


# --- Models without weights -------------------------------------------------------------------------------------------

MODELS = [
    OraclePointer(lambda instruction: [Box(0.1, 0.2, 0.3, 0.4), Box(0, 0, 1, 1)] if instruction == "here" else []),
    RandomPointer(3),
    CentrePointer(),
    ScriptedPointer([A, B]),
    ScriptedPointer({"here": [A]}),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_keeps_the_protocol(model):
    assert isinstance(model, PointingModel)
    other = np.zeros((9, 7, 3), np.uint8)
    images, questions = [IMAGE, IMAGE, other, IMAGE], ["here", "nowhere", "here", "here"]
    alone = [model.point(image, text) for image, text in zip(images, questions, strict=True)]
    assert model.point_batch(images, questions) == alone
    assert alone[0] == alone[3]
    for result in alone:
        assert isinstance(result, PointResult)
        assert parse_points("molmo", result.reply).status == result.status
    capped = model.point(IMAGE, "here", max_points=1)
    assert len(capped.points) == 1 or capped.status == "unparsed"
    with pytest.raises(ValueError, match="zip"):
        model.point_batch([IMAGE], [])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_can_drive_the_policy(model):
    policy = PointingPolicy(model)
    assert isinstance(policy, Policy)
    assert model.name in policy.name
    first = policy.act(Task("click Save"), SEEN, ())
    assert first == policy.act(Task("click Save"), SEEN, ())
    assert isinstance(first.action, Click | Done)


def test_the_oracle_gives_the_middle_of_the_first_box_or_none():
    assert MODELS[0].point(IMAGE, "here").points == (LabelledPoint(Point(0.2, 0.30000000000000004)),)
    assert MODELS[0].point(IMAGE, "nowhere").status == "none"


def test_random_points_depend_on_seed_picture_and_instruction_only():
    def ask(seed=1, image=IMAGE, text="a"):
        return RandomPointer(seed).point(image, text).points[0].point

    assert ask() == ask(image=IMAGE.copy())
    assert ask() == ask(image=np.asfortranarray(IMAGE))
    assert len({ask(), ask(seed=2), ask(text="b"), ask(image=IMAGE[::-1]), ask(image=IMAGE.transpose(1, 0, 2))}) == 5
    points = [RandomPointer(0).point(IMAGE, str(i)).points[0].point for i in range(400)]
    assert abs(np.mean([p.x for p in points]) - 0.5) < 0.06
    assert abs(np.mean([p.y for p in points]) - 0.5) < 0.06


def test_a_scripted_policy_says_its_lines_by_the_length_of_the_history():
    decision = Decision(action=Type("x"), instruction="say x")
    policy = ScriptedPolicy([Click(A), decision])
    assert isinstance(policy, Policy)
    assert play(policy, "whatever") == [Decision(action=Click(A)), decision, Decision(action=Done())]


def test_what_is_typed_into_is_asked_for_as_a_field_where_the_model_tells_fields_from_labels():
    class KnowsFields(Replies):
        traits = ModelTraits(knows_fields=True)

    task = 'type "a" into "Name", type "b" into the Email box, then click "Name"'
    plain, knows = Replies(tag(A)), KnowsFields(tag(A))
    for model in (plain, knows):
        play(PointingPolicy(model), task)
    assert plain.asked == ['"Name"', "the Email box", '"Name"']
    assert knows.asked == ['the "Name" field', "the Email box", '"Name"']
    assert as_field("the Name") == "the Name field"
    for named in ("the Email box", "the search bar", "the document", "the field", "the Notes text area"):
        assert as_field(named) == named
