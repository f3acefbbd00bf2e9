"""Many episodes at once give what each gives alone; a batch holds live episodes only; doubt moves nothing."""

import hashlib
import itertools
import threading

import numpy as np
import pytest

from molmo_agent.actions import Click, Done, PointAt
from molmo_agent.episode import Decision, LabelledPoint, PointResult
from molmo_agent.errors import EnvError, ModelError, RunStopped, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import EnvTraits, model_traits
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.batch import BatchConfig, episode_seed, roll_out
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.trajectory import load_trajectory
from molmo_agent.testing import TARGET, ToyEnv


class Clicker:
    """Asks for the instruction at every step and clicks there, until the env ends the episode."""

    name = "clicker"

    def __init__(self, model):
        self.model = model

    def act(self, task, observation, history):
        result = self.model.point(observation.image, task.instruction)
        return Decision(action=Click(result.points[0].point), result=result)


class Blurred:
    """Sees the red square, and points beside it on half of all pictures. Notes what it was asked."""

    name = "blurred"

    def __init__(self):
        self.batches = []

    def point(self, image, instruction, *, max_points=None):
        return self.point_batch([image], [instruction])[0]

    def point_batch(self, images, instructions):
        self.batches.append([hashlib.sha256(image.tobytes()).hexdigest() for image in images])
        return [self._look(image) for image in images]

    def _look(self, image):
        y, x = np.argwhere((image == TARGET).all(-1)).mean(0)
        wrong = hashlib.sha256(image.tobytes()).digest()[0] % 2
        x = (x + wrong * image.shape[1] / 2) % image.shape[1]
        point = Point(x / image.shape[1], y / image.shape[0])
        return PointResult(status="ok", reply="", points=(LabelledPoint(point),))


def clicker(env, model):
    return Clicker(model)


def pointing(env, model):
    return PointingPolicy(model)


def toys(clicks=2):
    """Return a maker of envs and the list of what it made."""
    made = []

    def make():
        made.append(ToyEnv(clicks=clicks))
        return made[-1]

    return make, made


FOUR = Guards(max_steps=4, max_seconds=600)


def test_any_number_of_envs_gives_the_same_episodes():
    results = [
        roll_out(toys()[0], clicker, Blurred(), episodes=13, seed=5, config=BatchConfig(num_envs=number, guards=FOUR))
        for number in (1, 3, 8, 40)
    ]
    first = results[0].episodes
    assert all(result.episodes == first for result in results)
    assert [episode.index for episode in first] == list(range(13))
    assert {episode.success for episode in first} == {True, False}
    assert len({episode.steps for episode in first}) > 1
    again = roll_out(toys()[0], clicker, Blurred(), episodes=13, seed=6, config=BatchConfig(guards=FOUR))
    assert [e.seed for e in again.episodes] != [e.seed for e in first]


def test_some_episodes_are_what_they_are_among_all():
    everything = roll_out(toys()[0], clicker, Blurred(), episodes=10, seed=5, config=BatchConfig(guards=FOUR))
    some = roll_out(toys()[0], clicker, Blurred(), episodes=[7, 2], seed=5, config=BatchConfig(num_envs=2, guards=FOUR))
    assert some.episodes == (everything.episodes[7], everything.episodes[2])


def test_one_call_asks_for_all_live_episodes_and_for_nothing_else():
    make, made = toys()
    model = Blurred()
    result = roll_out(make, clicker, model, episodes=9, seed=5, config=BatchConfig(num_envs=4, guards=FOUR))
    steps = sum(episode.steps for episode in result.episodes)
    # No picture of an ended episode, and none twice: one question for each decision.
    assert sum(map(len, model.batches)) == steps == sum(len(env.actions) for env in made)
    assert [len(batch) for batch in model.batches] == [count for count, _ in result.calls]
    assert len(made) == 4
    # Full as long as there are episodes for all envs.
    sizes = [len(batch) for batch in model.batches]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 4
    assert len(sizes) < steps / 2
    assert result.episodes[0].statuses == {"ok": result.episodes[0].steps}


def test_what_is_in_a_batch_does_not_depend_on_how_fast_envs_are():
    class Slow(ToyEnv):
        delays = itertools.cycle((0.0, 0.004, 0.001))

        def step(self, action):
            threading.Event().wait(next(self.delays))
            return super().step(action)

    def batches(make):
        model = Blurred()
        roll_out(make, clicker, model, episodes=8, seed=5, config=BatchConfig(num_envs=3, guards=FOUR))
        return model.batches

    assert batches(lambda: Slow(clicks=2)) == batches(toys()[0])


def test_a_seed_and_a_number_decide_an_episode():
    seeds = {episode_seed(seed, index) for seed in range(20) for index in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert episode_seed(3, 4) == 1373224434
    asked = []

    class Noting(ToyEnv):
        def reset(self, *, seed=None, options=None):
            asked.append((seed, options))
            return super().reset(seed=seed, options=options)

    roll_out(Noting, pointing, CentrePointer(), episodes=2, seed=3, config=BatchConfig(options={"a": 1}))
    assert asked == [(episode_seed(3, 0), {"a": 1}), (episode_seed(3, 1), {"a": 1})]


def test_an_oracle_asks_its_own_env_and_the_model_is_left_alone():
    result = roll_out(
        toys(clicks=1)[0],
        lambda env, seat: PointingPolicy(OraclePointer(env.locate)),
        Blurred(),
        episodes=6,
        config=BatchConfig(num_envs=3),
    )
    assert all(episode.success for episode in result.episodes)
    assert result.calls == ()


def test_an_env_lives_in_one_thread():
    class Bound(ToyEnv):
        def __init__(self):
            super().__init__()
            self.thread = threading.get_ident()

        def reset(self, **given):
            assert threading.get_ident() == self.thread != threading.main_thread().ident
            return super().reset(**given)

        def close(self):
            assert threading.get_ident() == self.thread
            super().close()

    assert len(roll_out(Bound, pointing, CentrePointer(), episodes=5, config=BatchConfig(num_envs=3)).episodes) == 5


class Doubtful:
    """Answers with everything but a point, in turn."""

    name = "doubtful"

    def __init__(self):
        self.asked = 0
        kinds = (*["unparsed", "out_of_range"] * 8, "none", *["unparsed"] * 5, "refused")
        self._results = itertools.cycle([PointResult(status=kind, reply="<point x=9999>") for kind in kinds])

    def point(self, image, instruction, *, max_points=None):
        return self.point_batch([image], [instruction])[0]

    def point_batch(self, images, instructions):
        self.asked += len(images)
        return [next(self._results) for _ in images]


def test_ten_thousand_doubtful_answers_move_nothing():
    make, made = toys()
    model, statuses = Doubtful(), {}
    wordings = tuple("{}" + "!" * count for count in range(40))
    result = roll_out(
        make,
        lambda env, seat: PointingPolicy(seat, wordings=wordings),
        model,
        episodes=1100,
        config=BatchConfig(num_envs=16),
    )
    assert model.asked >= 10_000
    assert sum(count for count, _ in result.calls) == model.asked
    assert [env.actions for env in made] == [[]] * 16
    for episode in result.episodes:
        assert (episode.success, episode.steps) == (False, 0)
        assert episode.ended.startswith("the policy says: Give up: could not 'click the red square'")
        for status, count in episode.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    assert set(statuses) == {"none", "out_of_range", "refused", "unparsed"}


class Broken(Blurred):
    """Fails in the way that it is told to."""

    def __init__(self, failure):
        super().__init__()
        self._failure = failure

    def point_batch(self, images, instructions):
        answers = super().point_batch(images, instructions)
        return self._failure(answers) if len(self.batches) > 1 else answers


def fail(error):
    def failure(answers):
        raise error

    return failure


def not_a_number(answers):
    return [PointResult(status="ok", reply="", points=(LabelledPoint(Point(float("nan"), 0.5)),)) for _ in answers]


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (
            not_a_number,
            ModelError,
            r"'blurred' failed: ValueError: x must be a fraction of the image in \[0, 1\], got nan",
        ),
        (fail(RuntimeError("out of memory")), ModelError, "the model 'blurred' failed: RuntimeError: out of memory"),
        (fail(ModelError("the server is gone")), ModelError, "^the server is gone$"),
        (lambda answers: answers[1:], ModelError, "expected 3 answers of the model 'blurred', got 2"),
        (fail(KeyboardInterrupt()), RunStopped, r"stopped by the user \(Ctrl-C\) after 0 episodes"),
    ],
)
def test_a_model_that_fails_ends_all_episodes_and_closes_all_envs(failure, kind, message):
    make, made = toys()
    before = threading.active_count()
    with pytest.raises(kind, match=message):
        roll_out(make, clicker, Broken(failure), episodes=9, seed=5, config=BatchConfig(num_envs=3, guards=FOUR))
    assert [env.closed for env in made] == [True] * 3
    # One click each from the call that worked; what came of the failed one moved nothing.
    assert [len(env.actions) for env in made] == [1] * 3
    assert threading.active_count() == before


def test_an_env_that_fails_ends_the_run_and_names_the_episode():
    made = []

    class Failing(ToyEnv):
        def __init__(self):
            super().__init__(clicks=2)
            made.append(self)

        def reset(self, *, seed=None, options=None):
            if seed == episode_seed(5, 4):
                raise EnvError("the phone is gone")
            return super().reset(seed=seed, options=options)

    told = []
    with pytest.raises(EnvError, match=r"^episode 4: the phone is gone$"):
        roll_out(
            Failing,
            clicker,
            Blurred(),
            episodes=9,
            seed=5,
            config=BatchConfig(num_envs=3, guards=FOUR),
            on_episode=told.append,
        )
    assert all(env.closed for env in made)
    assert {episode.index for episode in told} <= {0, 1, 2, 3}
    assert told


def test_an_env_that_cannot_be_made_or_closed_ends_the_run():
    def broken():
        raise EnvError("no phone is connected")

    with pytest.raises(EnvError, match="episode 0: no phone is connected"):
        roll_out(broken, clicker, Blurred(), episodes=3, config=BatchConfig(num_envs=2))

    class Stuck(ToyEnv):
        def close(self):
            raise EnvError("the phone does not let go")

    with pytest.raises(EnvError, match=r"episode \d: the phone does not let go"):
        roll_out(Stuck, pointing, CentrePointer(), episodes=3, config=BatchConfig(num_envs=2))


@pytest.mark.parametrize("waits_outside", [True, False])
def test_envs_that_wait_for_something_outside_act_at_the_same_time_and_others_never(waits_outside):
    lock, acting, most = threading.Lock(), set(), []

    class Waiting(ToyEnv):
        def step(self, action):
            with lock:
                acting.add(self)
                most.append(len(acting))
            threading.Event().wait(0.02)
            with lock:
                acting.discard(self)
            return super().step(action)

    Waiting.traits = EnvTraits(waits_outside=waits_outside)
    roll_out(Waiting, clicker, Blurred(), episodes=4, seed=5, config=BatchConfig(num_envs=4, guards=FOUR))
    assert max(most) == (4 if waits_outside else 1)


def test_an_instruction_that_cannot_be_followed_is_an_episode_without_success():
    class Vague(ToyEnv):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return observation, {**info, "instruction": "if it rains, click it"}

    (episode,) = roll_out(Vague, pointing, CentrePointer(), episodes=1).episodes
    assert episode.success is False
    assert "cannot follow the instruction: cannot follow 'if it rains" in episode.ended


def test_an_env_without_tasks_of_its_own_is_told():
    class Idle(ToyEnv):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed, options=options)[0], {}

    with pytest.raises(UsageError, match="episode 0: the env 'toy' has no task of its own"):
        roll_out(Idle, pointing, CentrePointer(), episodes=2)


def test_numbers_that_make_no_sense_are_told():
    with pytest.raises(UsageError, match="expected at least 1 episode and 1 env, got 0 and 1"):
        roll_out(ToyEnv, pointing, CentrePointer(), episodes=0)
    with pytest.raises(UsageError, match="expected at least 1 episode and 1 env, got 3 and 0"):
        roll_out(ToyEnv, pointing, CentrePointer(), episodes=3, config=BatchConfig(num_envs=0))


def test_what_the_env_measures_is_kept():
    class Measuring(ToyEnv):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, {**info, "spl": 0.25}

    (episode,) = roll_out(Measuring, pointing, CentrePointer(), episodes=1, seed=1).episodes
    assert (episode.spl, episode.reward, episode.steps) == (0.25, 0.0, 1)


def test_episodes_are_recorded_apart(tmp_path):
    result = roll_out(
        toys()[0],
        clicker,
        Blurred(),
        episodes=4,
        seed=5,
        config=BatchConfig(num_envs=2, guards=FOUR),
        make_recorder=lambda number: Recorder(tmp_path / str(number)) if number != 2 else None,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "3"]
    for number in (0, 1, 3):
        trajectory = load_trajectory(tmp_path / str(number))
        assert trajectory.success == result.episodes[number].success
        assert len(trajectory.steps) == result.episodes[number].steps


def test_a_seat_keeps_to_the_most_points_that_are_wanted():
    class Two(Blurred):
        def _look(self, image):
            points = tuple(LabelledPoint(Point(x, 0.5)) for x in (0.1, 0.9))
            return PointResult(status="ok", reply="", points=points)

    seen = []

    class Asking(Clicker):
        def act(self, task, observation, history):
            seen.append(self.model.point(observation.image, "a", max_points=1))
            seen.extend(self.model.point_batch([observation.image], ["b"]))
            return Decision(action=PointAt(()))

    roll_out(
        ToyEnv,
        lambda env, seat: Asking(seat),
        Two(),
        episodes=1,
        config=BatchConfig(guards=Guards(max_steps=1, max_seconds=9)),
    )
    assert [result.status for result in seen] == ["unparsed", "ok"]


class Talker(Blurred):
    """Answers in words too: with the question and its limit. Notes the questions of each call."""

    name = "talker"

    def __init__(self, answers=lambda texts: texts):
        super().__init__()
        self.calls = []
        self._answers = answers

    def answer_batch(self, images, questions, *, max_new_tokens):
        self.calls.append((max_new_tokens, list(questions)))
        return self._answers([f"{question}, {max_new_tokens}" for question in questions])


class Talking(Clicker):
    """Asks in words, in every second episode also for a point, and ends the episode with the replies."""

    def __init__(self, model, number):
        super().__init__(model)
        self.number = number

    def act(self, task, observation, history):
        images, limit = [observation.image] * 2, 5 + self.number % 2
        replies = model_traits(self.model).answerer.answer_batch(
            images, [f"{self.number}a", f"{self.number}b"], max_new_tokens=limit
        )
        if self.number % 2:
            self.model.point(observation.image, task.instruction)
        return Decision(action=Done(True, " ".join(replies)))


def test_questions_in_words_of_all_envs_go_to_the_model_in_one_call():
    model = Talker()
    config = BatchConfig(num_envs=4, guards=FOUR)
    result = roll_out(ToyEnv, lambda env, seat: Talking(seat, seat.episode), model, episodes=4, config=config)
    for number, episode in enumerate(result.episodes):
        limit = 5 + number % 2
        assert episode.ended == f"the policy says: Done: {number}a, {limit} {number}b, {limit}"
        assert episode.statuses == ({"ok": 1} if number % 2 else {})
    # One call per length limit in each round; then the pointing questions.
    assert model.calls == [(5, ["0a", "2a"]), (6, ["1a", "3a"]), (5, ["0b", "2b"]), (6, ["1b", "3b"])]
    assert [count for count, _ in result.calls] == [2, 2, 2, 2, 2]


def test_points_and_words_of_one_round_reach_those_who_asked():
    def make_policy(env, seat):
        return Talking(seat, 0) if seat.episode == 0 else Clicker(seat)

    model = Talker()
    config = BatchConfig(num_envs=2, guards=Guards(max_steps=1, max_seconds=600))
    words, points = roll_out(ToyEnv, make_policy, model, episodes=2, config=config).episodes
    assert (words.ended, words.statuses) == ("the policy says: Done: 0a, 5 0b, 5", {})
    assert (points.steps, points.statuses) == (1, {"ok": 1})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (fail(RuntimeError("out of memory")), "the model 'talker' failed: RuntimeError: out of memory"),
        (lambda texts: texts[1:], "expected 2 answers of the model 'talker', got 1"),
    ],
)
def test_a_model_that_fails_to_answer_in_words_ends_all_episodes(answers, message):
    config = BatchConfig(num_envs=2)
    with pytest.raises(ModelError, match=message):
        roll_out(ToyEnv, lambda env, seat: Talking(seat, 0), Talker(answers), episodes=2, config=config)


def test_a_seat_of_a_model_that_only_points_answers_nothing_in_words():
    abilities = []

    def make_policy(env, seat):
        abilities.append(model_traits(seat).answerer)
        return PointingPolicy(seat)

    roll_out(ToyEnv, make_policy, CentrePointer(), episodes=1)
    assert abilities == [None]
