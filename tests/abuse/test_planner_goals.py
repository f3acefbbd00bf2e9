"""Planners on every family of the simulated screens, on web pages, and in three real programs."""

import sys

import pytest
from chat_server import Server
from desktop_screen import needs
from planner_programs import GOALS, reach
from planner_stage import Shows, follows_the_task

from molmo_agent.envs.web.miniwob import MiniWob
from molmo_agent.evaluation.real_tasks.run import runnable
from molmo_agent.evaluation.real_tasks.session import missing_tools
from molmo_agent.evaluation.real_tasks.tasks import find_tasks
from molmo_agent.pointers.baselines import OraclePointer
from molmo_agent.policies.planner.policy import PlannerPolicy
from molmo_agent.policies.planner.served import ServedPlanner
from molmo_agent.registry import load_env, load_model, load_policy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.secrets import Secrets

pytest.importorskip("openai")
pytestmark = pytest.mark.timeout(1800)
MISSING = missing_tools() if sys.platform.startswith("linux") else ["Linux"]
# What every planner must do on simulated screens, and how many episodes of a family show it.
SHARE, SEEDS = 0.95, 20
SECRET = "hunter-22"
PAGES = (
    "click-checkboxes",
    "click-option",
    "enter-text",
    "enter-text-2",
    "enter-text-dynamic",
    "login-user",
    "click-dialog-2",
    "click-tab",
    "focus-text-2",
)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["sim-desktop", "sim-phone"])
def test_a_planner_on_a_server_does_every_family_of_a_simulated_screen(server, name):
    server.decide = follows_the_task
    env = load_env(name)
    families = env.tasks()
    planner = ServedPlanner.from_address(f"{server.url}#m?images=1&words=0")
    policy = PlannerPolicy(OraclePointer(env.locate), planner, capabilities=env.capabilities, reader=Shows())
    guards = Guards(max_steps=40, secrets=Secrets({"PASSWORD": SECRET}))
    secret = {"secret": SECRET} if name == "sim-desktop" else {}
    failed, count = [], 0
    for family in families:
        for seed in range(SEEDS):
            episode = rollout(
                policy,
                env,
                seed=seed,
                options={"task": family, **secret},
                guards=guards,
            )
            for _ in episode:
                pass
            count += 1
            if not episode.trajectory.success:
                failed.append((family, seed, episode.trajectory.task.instruction, episode.trajectory.ended))
    env.close()
    print(f"{name}: {count - len(failed)} of {count}")
    assert len(failed) <= (1 - SHARE) * count, failed


@needs("chromium", "chromedriver")
def test_rules_do_web_tasks_of_every_known_form():
    env, failed, count = MiniWob(), [], 0
    try:
        policy = load_policy("planner", load_model("oracle", env=env), env)
        for task in PAGES:
            for seed in range(5):
                episode = rollout(policy, env, seed=seed, options={"task": task}, guards=Guards(max_steps=25))
                for _ in episode:
                    pass
                count += 1
                if not episode.trajectory.success:
                    failed.append((task, seed, episode.trajectory.task.instruction, episode.trajectory.ended))
    finally:
        env.close()
    print(f"web pages: {count - len(failed)} of {count}")
    assert len(failed) <= (1 - SHARE) * count, failed


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
@pytest.mark.parametrize("goal", GOALS, ids=[goal.name for goal in GOALS])
def test_a_goal_is_reached_in_a_real_program(server, tmp_path, goal):
    if not runnable(find_tasks(goal.name))[0]:
        pytest.skip(f"needs {find_tasks(goal.name)[0].package}")
    trajectory, verdict, told = reach(goal, server, tmp_path / "run")
    assert not verdict, (verdict, trajectory.ended, told)
    assert trajectory.steps[-1].action.success, (trajectory.ended, told)
