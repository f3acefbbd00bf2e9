"""Instruction -> points, again at every step: for envs that are steered by pointing alone, such as a robot's camera.

Every step asks with the whole instruction about the current image; the env ends the episode.
"""

from collections.abc import Sequence

from molmo_agent.actions import Done, PointAt
from molmo_agent.episode import Decision, Observation, Step, Task
from molmo_agent.interfaces import PointingModel, PolicyTraits, model_traits


class WaypointPolicy:
    """Returns the model's points as one ``PointAt``; gives up on any other answer, and on a refusal.

    Args:
        model: answers the instruction; its confidence threshold becomes the policy's.
    """

    def __init__(self, model: PointingModel) -> None:
        self.name = f"waypoints({model.name})"
        self.traits = PolicyTraits(min_confidence=model_traits(model).min_confidence)
        self._model = model

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Point at what the instruction refers to.

        Raises:
            ModelError: the model failed.
        """
        if history and history[-1].refused:
            # The image is the same, so the model would answer the same.
            return Decision(action=Done(False, f"the point was refused: {history[-1].refused}"))
        result = self._model.point(observation.image, task.instruction)
        if result.status == "ok":
            action = PointAt(tuple(candidate.point for candidate in result.points))
            return Decision(action=action, instruction=task.instruction, result=result)
        reason = f"the model gave no usable point ({result.status})"
        return Decision(action=Done(False, reason), instruction=task.instruction, result=result)
