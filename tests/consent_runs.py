"""Runs in which something happens while a person is asked or a model thinks; for the process that acts on a screen."""

import pathlib
import subprocess
import time

from waiting import wait_for

from molmo_agent.actions import Click, Done, Scroll, describe
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.errors import ActionRefused, EnvError, MolmoAgentError
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import Settle
from molmo_agent.testing import ScriptedDecisions

# The carets of these programs do not blink.
QUICK = Settle(reaction_s=0.15, quiet_s=0.05, large_quiet_s=0.1, watch_s=0.25, hover_s=0.05)

_desktops = {}


def command(folder, line):
    """Have the changing window carry out a line, and wait until it did."""
    control, log = pathlib.Path(folder, "control"), pathlib.Path(folder, "log")
    with control.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    wait_for(lambda: f"did {line}" in log.read_text(encoding="utf-8").splitlines(), f"what {line!r} does")
    # For the window manager.
    time.sleep(0.15)


def run(folder, actions, commands, *, asks=True, window=None, **guards):
    """Roll out scripted actions; ``commands`` maps the number of a decision to what happens after it.

    A person is asked then, or where nobody asks, the model still thinks. A command "STOP" makes the file that ends the
    run, "late" waits until its time is over. Returns how it ended, the refusals and the number of questions.
    """
    if window in _desktops and window is not None:
        # Another window by now.
        _desktops.pop(window).close()
    if window not in _desktops:
        _desktops[window] = Desktop(window=window)
    stop, questions = pathlib.Path(folder, "STOP"), []
    stop.unlink(missing_ok=True)
    begin = time.monotonic()

    def meanwhile(number):
        for line in commands.get(number, ()):
            if line == "STOP":
                stop.touch()
            elif line == "late":
                time.sleep(max(0.0, begin + guards["max_seconds"] - time.monotonic()) + 0.05)
            else:
                command(folder, line)

    def ask(decision, observation, why):
        questions.append((describe(decision.action), why))
        meanwhile(len(questions) - 1)
        return True

    class Policy(ScriptedDecisions):
        def act(self, task, observation, history):
            if not asks:
                meanwhile(len(history))
            return super().act(task, observation, history)

    limits = Guards(confirm="always" if asks else "never", ask=ask if asks else None, stop=stop.exists, **guards)
    episode = rollout(Policy(actions), _desktops[window], "do it", guards=limits, settle=QUICK)
    try:
        for _ in episode:
            pass
    except MolmoAgentError as error:
        # A run that is stopped closes it.
        _desktops.pop(window).close()
        return f"{type(error).__name__}: {error}", [], questions
    steps = episode.trajectory.steps
    return (
        episode.trajectory.ended,
        [step.refused and (step.refused.kind, step.refused.text) for step in steps],
        questions,
    )


def click_in_window(title, x, y):
    """Click in a window at a position of the screen; return the size and the pixel of the observation there."""
    with Desktop(window=title) as desktop:
        observation, _ = desktop.reset()
        point = observation.transform.from_device(x, y)
        desktop.step(Click(point))
    column, row = point.to_pixels(*observation.size)
    return observation.size, observation.image[row, column].tolist()


def try_again(actions, wait_s=0.0):
    """Execute actions on the whole screen, whatever becomes of each; return the errors."""
    desktop, errors = _desktops.setdefault(None, Desktop()), []
    desktop.reset()
    for action in actions:
        try:
            desktop.step(action)
        except (ActionRefused, EnvError) as error:
            errors.append(f"{type(error).__name__}: {error}")
        time.sleep(wait_s)
    return errors


def scroll_where_allowed(deny, between):
    """Scroll without a point while one region is denied; ``between`` moves the pointer once it is known where it is."""
    desktop = _desktops.setdefault(None, Desktop())
    if between:
        step = desktop.step

        def moved_before(action):
            if isinstance(action, Scroll):
                subprocess.run(["xdotool", "mousemove", *map(str, between)], check=True)
            return step(action)

        desktop.step = moved_before
    try:
        episode = rollout(ScriptedDecisions([Scroll("down", 2), Done()]), desktop, "do it", guards=Guards(deny=deny))
        return [step.refused and (step.refused.kind, step.refused.text) for step in episode]
    finally:
        desktop.__dict__.pop("step", None)
