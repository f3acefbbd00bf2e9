"""A policy of your own: ask in two ways, and click only where both answers agree.

    python examples/write_a_policy.py [--model nano] [--episodes 8]

A policy has a name and `act`: task, observation and history in, a decision out. It keeps no state of the episode; what
happened so far is in the history. Being sure costs a second question and some successes; it saves wrong clicks.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

from molmo_agent import Click, Decision, Done, Observation, PointingModel, Step, Task, load_env, load_model
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.batch import BatchConfig, roll_out
from molmo_agent.testing import check_policy

AGREE = 0.03  # of the picture's width and height


class TwiceAsked:
    """Clicks what the instruction names if two ways of asking lead to one place; gives up otherwise."""

    def __init__(self, model: PointingModel) -> None:
        self.name, self.model = f"twice({model.name})", model

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide the next action."""
        if history:
            return Decision(action=Done())
        target = task.instruction.removeprefix("click ")
        answers = [self.model.point(observation.image, text) for text in (target, f"Where is {target}?")]
        for answer in answers:
            # `none`, `unparsed`, `out_of_range` and `refused` are no places, and two places are one too many.
            if answer.status != "ok" or len(answer.points) != 1:
                return Decision(action=Done(False, f"no sure answer: {answer.status}"), result=answer)
        first, second = (answer.points[0].point for answer in answers)
        if first.distance(second) > AGREE:
            return Decision(action=Done(False, "the answers differ"), result=answers[0])
        return Decision(action=Click(first), instruction=task.instruction, result=answers[0])


def main() -> int:
    """Roll both policies out on the same episodes, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="who points")
    parser.add_argument("--episodes", type=int, default=8, help="of clicking a button")
    arguments = parser.parse_args()

    check_policy(TwiceAsked(CentrePointer()))  # shapes, types, the same answer twice, no click on doubt
    model = load_model(arguments.model)
    for policy in (PointingPolicy, TwiceAsked):
        result = roll_out(
            functools.partial(load_env, "sim-desktop"),
            lambda env, seat, policy=policy: policy(seat),
            model,
            episodes=arguments.episodes,
            config=BatchConfig(options={"task": "click-button"}),
        )
        hits = sum(episode.success is True for episode in result.episodes)
        clicks = sum(episode.steps for episode in result.episodes)
        print(f"{policy.__name__}: {hits} of {arguments.episodes} done, {clicks - hits} wrong clicks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
