"""A planner reaches a goal in a real program, and does web tasks in a real browser."""

import sys

import pytest
from chat_server import Server
from desktop_screen import needs
from planner_programs import GOALS, reach

from molmo_agent.envs.web.miniwob import MiniWob
from molmo_agent.evaluation.real_tasks.run import runnable
from molmo_agent.evaluation.real_tasks.session import missing_tools
from molmo_agent.evaluation.real_tasks.tasks import find_tasks
from molmo_agent.registry import load_model, load_policy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout

pytest.importorskip("openai")
MISSING = missing_tools() if sys.platform.startswith("linux") else ["Linux"]
# Pages with more than one step; the rest of the families runs in tests/abuse.
PAGES = ("click-checkboxes", "login-user")


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
def test_a_goal_is_reached_in_a_real_program(tmp_path):
    goal = GOALS[0]
    if not runnable(find_tasks(goal.name))[0]:
        pytest.skip(f"needs {find_tasks(goal.name)[0].package}")
    server = Server()
    try:
        trajectory, verdict, told = reach(goal, server, tmp_path / "run")
    finally:
        server.close()
    last = trajectory.steps[-1]
    assert not verdict, (verdict, trajectory.ended, told)
    assert last.action.success, (trajectory.ended, told)
    assert last.decision.plan.answer == "468"


@pytest.mark.slow
@pytest.mark.dependencies
@needs("chromium", "chromedriver")
def test_rules_do_web_tasks_of_several_steps():
    env, failed = MiniWob(), []
    try:
        policy = load_policy("planner", load_model("oracle", env=env), env)
        for task in PAGES:
            episode = rollout(policy, env, seed=5, options={"task": task}, guards=Guards(max_steps=25))
            for _ in episode:
                pass
            if not episode.trajectory.success:
                failed.append((task, episode.trajectory.task.instruction, episode.trajectory.ended))
    finally:
        env.close()
    assert not failed
