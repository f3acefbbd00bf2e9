"""Goals in real programs and web pages, and a planner on a server that knows how to reach them."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from chat_server import Server
from planner_stage import call, report, said

from molmo_agent.episode import Trajectory
from molmo_agent.evaluation.real_tasks.pointers import AtspiPointer
from molmo_agent.evaluation.real_tasks.session import Session
from molmo_agent.evaluation.real_tasks.tasks import find_tasks
from molmo_agent.policies.planner.served import ServedPlanner
from molmo_agent.registry import load_env, load_policy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import Settle


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a person wants of a program, and the steps that a model would name."""

    # One of the real tasks: the program, its files and the verdict.
    name: str
    goal: str
    steps: tuple[str, ...]


GOALS = (
    Goal(
        name="calculator-multiply",
        goal="multiply 78 by 6 with the calculator and tell me the result",
        steps=(
            "click 7",
            "click 8",
            call("click", target="×"),
            "click 6",
            call("click", target="="),
            call("done", answer="468", evidence="468"),
        ),
    ),
    Goal(
        name="mousepad-save-as",
        goal="write a shopping list with bread, milk and two lemons, and save it as shopping.txt",
        steps=(
            call("type", text="Bread, milk, two lemons"),
            "click File",
            'click "Save As..."',
            call("type", text="shopping.txt"),
            "click Save",
            call("done", evidence="shopping.txt"),
        ),
    ),
    Goal(
        name="l3afpad-replace",
        goal="the letter says boat: replace that by ship, and save it",
        steps=(
            "click Search",
            "click Replace...",
            call("type", text="boat", into='"Find what"'),
            call("type", text="ship", into='"Replace with"'),
            'tick "Replace all at once"',
            'click "Find and Replace"',
            "press Escape",
            "press ctrl+s",
            call("done", evidence="the ship is repaired"),
        ),
    ),
)


def reach(goal: Goal, server: Server, folder: Path) -> tuple[Trajectory, str, list[str]]:
    """Reach a goal in its program.

    Returns:
        The trajectory, what is the case instead (empty if the goal is reached), and what the planner was told.
    """
    told: list[str] = []

    def decide(body: dict) -> str:
        told.append(report(body).partition("\n")[0])
        number = len(said(body))
        return goal.steps[number] if number < len(goal.steps) else call("give_up", reason="the script is over")

    server.decide = decide
    (task,) = find_tasks(goal.name)
    planner = ServedPlanner.from_address(f"{server.url}#m?images=1&words=0")
    with Session(task.files) as session:
        session.start(task.command)
        session.await_window()
        time.sleep(1.0)
        with contextlib.closing(load_env("desktop")) as env:
            policy = load_policy("planner", AtspiPointer(session, task.aliases), env, planner=planner)
            guards = Guards(max_steps=40, confirm="never")
            episode = rollout(policy, env, goal.goal, guards=guards, recorder=Recorder(folder), settle=Settle())
            for _ in episode:
                pass
        verdict, deadline = task.verdict(session), time.monotonic() + 60
        while verdict and time.monotonic() < deadline:
            time.sleep(0.5)
            verdict = task.verdict(session)
    return episode.trajectory, verdict, told
