"""MiniWoB++ in a real Chromium: pixels, clicks and keys arrive, truth is what a click hits, nothing is left over."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from desktop_screen import needs, wait_for

from molmo_agent.actions import Back, Click, Drag, Key, LongPress, Move, PointAt, Scroll, Type, Wait
from molmo_agent.envs.doctor import _chromium
from molmo_agent.envs.web import browser as browser_module
from molmo_agent.envs.web.browser import Browser
from molmo_agent.envs.web.elements import PageElement, find
from molmo_agent.envs.web.installed import VARIABLES, find_browser
from molmo_agent.envs.web.miniwob import MiniWob, make_miniwob, tasks
from molmo_agent.errors import ActionRefused, EnvError, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.registry import load_env
from molmo_agent.rollout.batch import BatchConfig, roll_out
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import check_env

chromium = [pytest.mark.slow, pytest.mark.dependencies, needs("chromium", "chromedriver")]


@pytest.fixture(scope="module")
def page():
    """Return one browser for all tasks."""
    env = MiniWob()
    yield env
    env.close()


# --- Solving tasks by what is known of the page ----------------------------------------------------------------------


def seen(env, label=None, kind=None, **wanted):
    """Return the elements of that label, kind and so on."""
    return [
        e
        for e in env.elements()
        if label in (None, e.label) and kind in (None, e.kind) and all(getattr(e, k) == v for k, v in wanted.items())
    ]


def press(env, label=None, kind=None, number=0, **wanted):
    """Click one of them, and return what the step said."""
    found = wait_for(lambda: seen(env, label, kind, **wanted)[number:], f"{kind or 'element'} {label!r}")
    return env.step(Click(found[0].box.center))


def quoted(text):
    return re.findall(r'"([^"]+)"', text)


def press_quoted(env, text):
    return press(env, quoted(text)[0])


def tick_and_submit(env, text):
    names = re.fullmatch(r"Select (.+) and click Submit\.", text)[1].split(", ")
    for name in names:
        if name != "nothing":
            press(env, name, "checkbox")
    return press(env, "Submit")


def choose_and_submit(env, text):
    press(env, re.fullmatch(r"Select (.+) and click Submit\.", text)[1], "radio button")
    return press(env, "Submit")


def press_a_widget(env, text):
    kinds = {"text": "field", "textarea": "field", "radio": "radio button"}
    name = quoted(text)[0]
    wanted = "textarea" if name == "textarea" else "text"
    found = seen(env, kind=kinds.get(name, name))
    script = "const e = document.elementFromPoint(arguments[0], arguments[1]); return e.type"
    for element in found:
        x, y = element.box.center.x * 160, element.box.center.y * 210
        if kinds.get(name) != "field" or env._browser.script(script, x, y) == wanted:
            return env.step(Click(element.box.center))
    raise AssertionError(f"no {name} among {found}")


def press_the_numbered_field(env, text):
    return press(env, kind="field", number=int(re.search(r"(\d)", text)[1]) - 1)


def press_in_order(env, text):
    for label in re.findall(r"button (\w+)", text):
        last = press(env, label)
    return last


def press_in_ascending_order(env, text):
    # They hide after the first click.
    for element in sorted(seen(env, classes="text"), key=lambda e: int(e.label)):
        last = env.step(Click(element.box.center))
    return last


def press_the_tab(env, text):
    return press(env, re.search(r"Tab #\d", text)[0])


def press_the_link_in_some_tab(env, text):
    for number in range(1, len({e.label for e in seen(env, kind="tab")}) + 1):
        press(env, f"Tab #{number}")
        if seen(env, quoted(text)[0], "link"):
            return press(env, quoted(text)[0], "link")
    raise AssertionError(f"no link for {text}")


def wait_until_still(env):
    """Wait until nothing slides any more."""

    def still():
        before = env.elements()
        time.sleep(0.1)
        return env.elements() == before

    wait_for(still, "a still page")


def press_the_link_in_some_section(env, text):
    for header in sorted({e.label for e in seen(env, kind="tab") if e.label.startswith("Section")}):
        press(env, header)
        wait_until_still(env)  # sections slide
        if found := seen(env, quoted(text)[0], "link"):
            return env.step(Click(found[0].box.center))
        press(env, header)
        wait_until_still(env)
    raise AssertionError(f"no link for {text}")


def expand_and_submit(env, text):
    press(env, kind="tab")
    wait_until_still(env)
    return press(env, id="subbtn")


def press_the_coordinate(env, text):
    return press(env, id=re.search(r"\(.*\)", text)[0])


def open_folders(env, text):
    opened = set()
    while not seen(env, quoted(text)[0]):
        folder = next(e for e in seen(env, classes="folder") if e.label not in opened)
        opened.add(folder.label)
        env.step(Click(folder.box.center))
    return press_quoted(env, text)


def mark_odd_and_even(env, text):
    for number, shown in enumerate(seen(env, classes="display-number")):
        press(env, "Odd" if int(shown.label) % 2 else "Even", number=number)
    return press(env, "Submit")


def look_up(env, text):
    who, what = re.fullmatch(r"Find (\w+) in the contact book and click on their (?:phone )?(.+)\.", text).groups()
    while not seen(env, who, classes="name"):
        press(env, ">")
    return press(env, classes={"number": "phone"}.get(what, what))


def press_the_menu_item(env, text):
    *parents, item = re.fullmatch(r"Select (.+)", text)[1].split(">")
    for label in parents:
        found = wait_for(lambda label=label: seen(env, label), label)
        env.step(Move(found[0].box.center))
    return press(env, item)


def type_and_submit(env, text):
    press(env, kind="field")
    env.step(Type(quoted(text)[0]))
    return press(env, "Submit")


def press_the_colour(env, text):
    name = re.search(r"the (\w+) colored", text)[1]
    script = "return [...document.querySelectorAll('#area [data-color]')].map(e => e.dataset.color)"
    colours = env._browser.script(script)
    return press(env, kind="shape", number=colours.index(name))


SOLVERS = {
    "click-test": lambda env, text: press(env, kind="button"),
    "click-test-2": lambda env, text: press(env, "ONE"),
    "click-test-transfer": lambda env, text: press(env, "ONE"),
    "click-button": press_quoted,
    "click-button-sequence": press_in_order,
    "click-link": press_quoted,
    "click-dialog": lambda env, text: press(env, "Close", "button"),
    "click-dialog-2": lambda env, text: press(env, quoted(text)[0].replace("x", "Close"), "button"),
    "click-tab": press_the_tab,
    "click-tab-2": press_the_link_in_some_tab,
    "click-tab-2-easy": press_the_link_in_some_tab,
    "click-widget": press_a_widget,
    "click-checkboxes": tick_and_submit,
    "click-checkboxes-large": tick_and_submit,
    "click-checkboxes-transfer": tick_and_submit,
    "click-option": choose_and_submit,
    "click-collapsible": expand_and_submit,
    "click-collapsible-2": press_the_link_in_some_section,
    "click-color": press_the_colour,
    "click-menu": press_the_menu_item,
    "focus-text": lambda env, text: press(env, kind="field"),
    "focus-text-2": press_the_numbered_field,
    "grid-coordinate": press_the_coordinate,
    "navigate-tree": open_folders,
    "ascending-numbers": press_in_ascending_order,
    "odd-or-even": mark_odd_and_even,
    "phone-book": look_up,
    "unicode-test": press_quoted,
    "enter-text": type_and_submit,
    "enter-text-dynamic": type_and_submit,
}


class Timed:
    """An env whose steps are timed."""

    def __init__(self, env):
        self.env, self.seconds = env, []

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, action):
        start = time.perf_counter()
        answer = self.env.step(action)
        self.seconds.append(time.perf_counter() - start)
        return answer


class TestPages:
    pytestmark = chromium

    def test_an_oracle_does_thirty_tasks_in_one_browser(self, page, record_property, capsys):
        timed, failed = Timed(page), []
        for task, solve in SOLVERS.items():
            _, info = page.reset(seed=6, options={"task": task})
            _, reward, terminated, _, info = solve(timed, info["instruction"])
            if (reward, terminated, info["is_success"]) != (1.0, True, True):
                failed.append((task, info))
        median = 1e3 * float(np.median(timed.seconds))
        record_property("miniwob_ms_per_step", median)
        with capsys.disabled():
            print(f"\nMiniWoB++: {len(timed.seconds)} steps, median {median:.0f} ms a step with its picture")
        assert not failed

    def test_a_covered_middle_is_no_place_to_click(self, page):
        edges = """const box = document.getElementById('subbtn').getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]"""
        page.reset(seed=6, options={"task": "click-test-2"})
        x, y = page._browser.script(edges)
        assert page.step(Click(Point(x / 160, y / 210)))[1] == -1.0
        page.reset(seed=6)
        (box,) = page.locate("button ONE")
        assert not box.contains(Point(x / 160, y / 210))
        assert page.step(Click(box.center))[1] == 1.0

    def test_the_last_image_shows_the_page_and_no_cover(self, page):
        before, _ = page.reset(seed=6, options={"task": "click-test-2"})
        after = page.step(Click(page.locate("ONE")[0].center))[0]
        assert np.mean(before.image == after.image) > 0.9
        with pytest.raises(UsageError, match=r"the episode has ended; call reset\(\)"):
            page.step(Wait(0.0))

    def test_a_slow_model_loses_nothing(self, page):
        page.reset(seed=1, options={"task": "click-test"})
        late = "core.ept0 -= 3600e3; return core.EPISODE_MAX_TIME"
        assert page._browser.script(late) == 2**31 - 1
        _, reward, _, _, info = press(page, kind="button")
        assert (reward, info["raw_reward"]) == (1.0, 1.0)

    def test_what_fails_is_terminated_without_success(self, page):
        page.reset(seed=1, options={"task": "click-test-2"})
        assert press(page, "TWO")[1:] == (-1.0, True, False, {"is_success": False, "raw_reward": -1.0})

    def test_idle_steps_end_at_the_limit(self, page):
        page.reset(seed=1, options={"task": "click-test"})
        page._max_steps = 2
        try:
            assert page.step(PointAt(()))[2:4] == (False, False)
            assert page.step(Wait(0.0))[2:4] == (False, True)
        finally:
            page._max_steps = 20

    def test_moving_the_pointer_is_no_step_of_the_limit(self, page):
        page.reset(seed=1, options={"task": "click-test-2"})
        page._max_steps = 2
        try:
            moves = [page.step(Move(Point(0.5, 0.99)))[3] for _ in range(3)]
            assert (*moves, page.step(Wait(0))[3], page.step(Wait(0))[3]) == (False, False, False, False, True)
        finally:
            page._max_steps = 20

    @pytest.mark.parametrize("text", ["a < b && c > d", "Grüße", "Ελλάδα Москва", "日本語 한국어", "🙂 naïve"])
    def test_text_arrives_as_it_was_typed(self, page, text):
        page.reset(seed=1, options={"task": "enter-text"})
        observation, *_ = press(page, kind="field")
        assert observation.info["focus"] == "text tt"
        page.step(Type(text))
        assert page._browser.script("return document.getElementById('tt').value") == text

    def test_keys_act_on_the_focused_field(self, page):
        page.reset(seed=1, options={"task": "enter-text"})
        press(page, kind="field")
        page.step(Type("old"))
        page.step(Key(("ctrl", "a")))
        page.step(Type("new!"))
        page.step(Key(("backspace",)))
        page.step(Key(("Home",)))
        page.step(Key(("shift", "z")))
        assert page._browser.script("return document.getElementById('tt').value").lower() == "znew"
        with pytest.raises(ActionRefused, match="there is no key 'entr'; did you mean enter"):
            page.step(Key(("entr",)))
        with pytest.raises(ActionRefused, match="there is no key 'f99'"):
            page.step(Key(("f99",)))
        with pytest.raises(ActionRefused, match="there is no key '§§§'; name it like enter, pagedown, f5 or a"):
            page.step(Key(("§§§",)))

    def test_a_new_line_is_the_enter_key(self, page):
        page.reset(seed=1, options={"task": "text-transform"})
        page._browser.script("document.getElementById('area').innerHTML = '<textarea id=t></textarea>'")
        press(page, kind="field")
        page.step(Type("one\r\ntwo\nthree"))
        assert page._browser.script("return document.getElementById('t').value") == "one\ntwo\nthree"

    @pytest.mark.parametrize("scale", [1, 2])
    def test_a_point_is_the_css_pixel_under_it(self, page, scale):
        record = """window.hits = [];
            for (const kind of ['mousedown', 'mousemove', 'mouseup', 'dblclick', 'wheel'])
                addEventListener(kind, e => hits.push([kind, e.clientX, e.clientY, e.button, e.deltaY || 0]), true)"""
        env = page if scale == 2 else MiniWob("click-test", scale=scale)
        try:
            observation, _ = env.reset(seed=1, options={"task": "click-test"})
            assert observation.size == (160 * scale, 210 * scale)
            env._browser.script(record)

            def done(action, *kinds):
                env._browser.script("hits.length = 0")
                env.step(action)
                return [hit for hit in env._browser.script("return hits") if hit[0] in kinds]

            for point, pixel in (
                (Point(0.0, 0.0), [0, 0]),
                (Point(1.0, 1.0), [159, 209]),
                (Point(0.5, 0.98), [80, 205]),
                (Point(40.99 / 160, 204.01 / 210), [40, 204]),
            ):
                assert done(Click(point), "mousedown") == [["mousedown", *pixel, 0, 0]]
            low = Point(0.1, 0.98)
            assert [hit[3] for hit in done(Click(low, button="right"), "mousedown", "mouseup")] == [2, 2]
            assert len(done(Click(low, count=2), "dblclick")) == 1
            assert done(Move(Point(0.5, 0.98)), "mousemove")[-1][1:3] == [80, 205]
            # A double click selects, and what is selected would be dragged instead.
            env.reset(seed=1)
            env._browser.script(record)
            moves = done(Drag(low, Point(0.6, 0.98)), "mousedown", "mousemove", "mouseup")
            assert (moves[0][1], moves[-1][0], moves[-1][1]) == (16, "mouseup", 96)
            assert len(moves) > 5
            assert done(Scroll("down", 2, Point(0.5, 0.5)), "wheel")[0][:3] == ["wheel", 80, 105]
            start = time.perf_counter()
            done(LongPress(low, duration_s=0.3), "mouseup")
            assert time.perf_counter() - start > 0.3
        finally:
            if env is not page:
                env.close()

    def test_a_box_is_dragged(self, page):
        page.reset(seed=1, options={"task": "drag-box"})
        small, large = (seen(page, id=name)[0] for name in ("draggableSmall", "draggableLarge"))
        page.step(Drag(small.box.center, large.box.center))
        assert press(page, "Submit")[1] == 1.0

    def test_a_seed_is_an_episode_whatever_came_before(self, page):
        first = {}
        for task in ("click-test-2", "choose-date", "click-checkboxes", "click-test-2", "choose-date"):
            observation, info = page.reset(seed=11, options={"task": task})
            picture, instruction = first.setdefault(task, (observation.image, info["instruction"]))
            assert instruction == info["instruction"]
            assert np.array_equal(picture, observation.image)
            page.step(Click(Point(0.4, 0.35)))
        assert len({page.reset(options={"task": "click-checkboxes"})[1]["instruction"] for _ in range(4)}) > 1

    def test_policies_and_oracle_do_a_task_of_the_registry(self):
        env = load_env("miniwob:click-test-2")
        try:
            episode = rollout(PointingPolicy(OraclePointer(env.locate)), env, settle=AT_ONCE, seed=6)
            list(episode)
            assert env.name == "miniwob:click-test-2"
            assert episode.trajectory.success
        finally:
            env.close()

    def test_several_entries_of_a_list_are_selected_with_a_key_held(self, page):
        _, info = page.reset(seed=17, options={"task": "click-scroll-list"})
        assert info["instruction"].count(",") == 1
        episode = rollout(PointingPolicy(OraclePointer(page.locate)), page, settle=AT_ONCE, seed=17)
        actions = [step.decision.action for step in episode]
        assert [action.held for action in actions if isinstance(action, Click)] == [(), ("ctrl_or_cmd",), ()]
        assert episode.trajectory.success

    def test_two_browsers_play_at_the_same_time(self):
        def make_policy(env, seat):
            return PointingPolicy(OraclePointer(env.locate))

        result = roll_out(
            lambda: load_env("miniwob:click-test-2"),
            make_policy,
            CentrePointer(),
            episodes=6,
            seed=1,
            config=BatchConfig(num_envs=2),
        )
        assert [episode.success for episode in result.episodes] == [True] * 6

    def test_it_keeps_the_protocol(self):
        check_env(MiniWob("click-link"))

    def test_gymnasium_has_it(self):
        env = make_miniwob("click-test-2", render_mode="rgb_array")
        try:
            _, info = env.reset(seed=6)
            assert info["instruction"] == "Click button ONE."
            point = env.locate("ONE")[0].center
            _, reward, terminated, _, info = env.step(np.array([[point.x, point.y, 1.0]], np.float32))
            assert (reward, terminated, info["is_success"], info["in_mask"]) == (1.0, True, True, True)
            assert env.render().shape == (420, 320, 3)
        finally:
            env.close()


# --- Nothing is left over --------------------------------------------------------------------------------------------


def processes_of(folder):
    """Return the live processes that were started with this folder as theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if os.fsencode(f"TMPDIR={folder}") in path.read_bytes():
                found.append(path.parent.name)
        except OSError:  # gone meanwhile
            continue
    return found


class TestEnding:
    pytestmark = chromium

    def test_closing_leaves_neither_processes_nor_files(self):
        browser = Browser().start()
        folder = browser._folder
        assert len(processes_of(folder)) > 3
        assert browser.start() is browser
        browser.close()
        browser.close()
        assert not processes_of(folder)
        assert not Path(folder).exists()

    def test_a_killed_process_leaves_neither_processes_nor_files(self):
        code = (
            "import time; from molmo_agent.envs.web.miniwob import MiniWob; env = MiniWob(); env.reset(seed=1); "
            "print(env._browser._folder, flush=True); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            folder = process.stdout.readline().strip()
            assert len(processes_of(folder)) > 3
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: not processes_of(folder) and not Path(folder).exists(), what="the end of all")

    def test_a_crash_in_reset_ends_the_browser_and_the_next_reset_starts_another(self, monkeypatch):
        env = MiniWob("click-test")
        folders = []

        def crash(browser, width, height):
            folders.append(browser._folder)
            raise RuntimeError("boom")

        with monkeypatch.context() as patched:
            patched.setattr(Browser, "image", crash)
            with pytest.raises(RuntimeError, match="boom"):
                env.reset(seed=1)
        assert not processes_of(folders[0])
        assert not Path(folders[0]).exists()
        try:
            env.reset(seed=1)
            lost = env._browser._folder
            os.killpg(env._browser._server.pid, signal.SIGKILL)
            with pytest.raises(EnvError, match="the mouse did not move"):
                env.step(Click(Point(0.5, 0.5)))
            wait_for(lambda: not processes_of(lost), what="the end of the lost browser")
            assert not Path(lost).exists()
            with pytest.raises(UsageError, match=r"the page has no episode; call reset\(\) first"):
                env.observe()
            assert env.reset(seed=1)[1]["instruction"] == "Click the button."
        finally:
            env.close()

    def test_a_browser_that_is_gone_is_reported_whatever_is_asked_of_it(self):
        browser = Browser().start()
        try:
            browser._driver.command_executor.client_config.timeout = 5
            os.killpg(browser._server.pid, signal.SIGKILL)
            for ask, message in (
                (lambda: browser.image(10, 10), "Page.captureScreenshot failed: "),
                (lambda: browser.script("return 1"), "the page does not answer: "),
                (lambda: browser.open("about:blank"), "the page about:blank does not load: "),
                (lambda: browser.move(1, 1), "the mouse did not move: "),
                (lambda: browser.scroll(1, 1, 0, 10), "the wheel did not turn: "),
                (lambda: browser.press(("enter",)), "the keys were not sent: "),
                (lambda: browser.type("a"), "the keys were not sent: "),
            ):
                with pytest.raises(EnvError, match=message):
                    ask()
        finally:
            browser.close()
        assert not browser.running

    def test_a_page_that_is_not_there_is_reported(self):
        browser = Browser().start()
        try:
            with pytest.raises(EnvError, match=r"the page file:///nowhere.html does not load: .*ERR_FILE_NOT_FOUND"):
                browser.open("file:///nowhere.html")
            browser.open("data:text/html,<p style='width:3000px; height:3000px'>")
            browser.scroll(50, 50, 40, 100)
            wait_for(lambda: browser.script("return [scrollX, scrollY]") == [40, 100], "scrolling")
            with pytest.raises(EnvError, match=r"the page does not answer: .*boom"):
                browser.script("throw Error('boom')")
        finally:
            browser.close()

    def test_a_page_that_never_gets_ready_is_reported(self, page, monkeypatch):
        monkeypatch.setattr("molmo_agent.envs.web.miniwob._READY_S", 0.1)
        monkeypatch.setattr("molmo_agent.envs.web.miniwob._BEGIN_JS", "WOB_TASK_READY = false;")
        with pytest.raises(EnvError, match=r"the page 'click-test' was not ready after 0.1 s"):
            page.reset(seed=1, options={"task": "click-test"})


def program_of(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


class TestStarting:
    def test_no_browser_is_reported_with_what_to_install(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(EnvError, match="need Chromium, which is not on PATH: apt-get install chromium "):
            MiniWob("click-test").reset(seed=1)
        program_of(tmp_path, "chromium", "exit 0")
        with pytest.raises(EnvError, match=r"need Chromium's driver \(chromedriver\), which is not on PATH"):
            find_browser()
        driver = program_of(tmp_path, "chromedriver", "exit 0")
        assert find_browser() == (str(tmp_path / "chromium"), driver)

    def test_the_doctor_says_whether_it_is_there(self, monkeypatch, tmp_path):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        check = _chromium()
        assert (check.ok, check.detail) == (False, "web pages need Chromium, which is not on PATH")
        assert "chromium chromium-driver" in check.remedy
        program_of(tmp_path, "chromium", "exit 0")
        program_of(tmp_path, "chromedriver", "exit 0")
        check = _chromium()
        assert (check.ok, check.remedy) == (True, "")
        assert check.detail == f"{tmp_path}/chromium with {tmp_path}/chromedriver, for web tasks"

    def test_the_variables_are_set_both_or_neither(self, monkeypatch):
        monkeypatch.setenv(VARIABLES[0], "/opt/chromium")
        monkeypatch.delenv(VARIABLES[1], raising=False)
        with pytest.raises(EnvError, match="both or neither to be set; MINIWOB_CHROMEDRIVER is not"):
            find_browser()
        monkeypatch.setenv(VARIABLES[1], "/opt/chromedriver")
        assert find_browser() == ("/opt/chromium", "/opt/chromedriver")

    def test_a_chromium_that_cannot_run_is_reported_at_once(self, monkeypatch, tmp_path):
        binary = program_of(tmp_path, "chromium", "echo no library libnss3; exit 127")
        monkeypatch.setenv(VARIABLES[0], binary)
        monkeypatch.setenv(VARIABLES[1], "/bin/true")
        with pytest.raises(
            EnvError, match=r"chromium --version does not run: exit code 127, 'no library libnss3'; apt-"
        ):
            Browser().start()
        Path(binary).unlink()
        with pytest.raises(EnvError, match=r"chromium --version does not run: .*No such file.*; apt-get install"):
            Browser().start()

    def test_a_driver_that_dies_is_reported_with_its_words(self, monkeypatch, tmp_path):
        monkeypatch.setenv(VARIABLES[0], "/bin/true")
        monkeypatch.setenv(VARIABLES[1], program_of(tmp_path, "driver", "echo no library libnss3; exit 127"))
        browser = Browser()
        with pytest.raises(EnvError, match="driver did not start: no library libnss3; apt-get install"):
            browser.start()
        assert not browser.running
        assert browser._folder == ""

    def test_a_driver_that_hangs_is_not_waited_for(self, monkeypatch, tmp_path):
        monkeypatch.setenv(VARIABLES[0], "/bin/true")
        monkeypatch.setenv(VARIABLES[1], program_of(tmp_path, "driver", "exec sleep 60"))
        with pytest.raises(EnvError, match=r"did not become ready within 0.2 s; is the machine overloaded"):
            Browser().start(timeout_s=0.2)

    @pytest.mark.slow
    @needs("chromedriver")
    def test_a_chromium_that_does_not_start_is_reported_and_leaves_nothing(self, monkeypatch, tmp_path):
        # It knows its version, and no more.
        monkeypatch.setenv(VARIABLES[0], program_of(tmp_path, "chromium", "[ $1 = --version ]"))
        monkeypatch.setenv(VARIABLES[1], str(shutil.which("chromedriver")))
        made = []
        make = browser_module.tempfile.mkdtemp
        monkeypatch.setattr(browser_module.tempfile, "mkdtemp", lambda **how: made.append(make(**how)) or made[-1])
        with pytest.raises(EnvError, match=r"chromium did not start; does it run with --headless.*: "):
            Browser().start(timeout_s=3)
        assert made
        assert not any(Path(folder).exists() or processes_of(folder) for folder in made)

    def test_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "selenium", None)
        with pytest.raises(UsageError, match=r"a browser needs the extra 'web': pip install 'molmo-agent\[web\]'"):
            Browser().start()
        monkeypatch.setitem(sys.modules, "miniwob", None)
        with pytest.raises(UsageError, match=r"MiniWoB\+\+ needs the extra 'web'"):
            tasks()


# --- Names ------------------------------------------------------------------------------------------------------------


def test_an_unknown_task_is_answered_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match=r"unknown MiniWoB.. task 'clik-tset-2': did you mean click-test-2"):
        load_env("miniwob:clik-tset-2")
    with pytest.raises(UnknownNameError, match=r"unknown MiniWoB.. task 'flight.AA'"):
        MiniWob("flight.AA")


def test_all_pages_of_the_package_are_tasks():
    assert len(tasks()) == 130
    assert {*SOLVERS, "use-slider", "email-inbox"} <= {*tasks()}


def test_wrong_options_are_reported():
    with pytest.raises(UsageError, match=r"scale must be 1, 2, 3 or 4 pixels per CSS pixel, got 2.5"):
        MiniWob("click-test", scale=2.5)
    env = MiniWob("click-test")
    with pytest.raises(UsageError, match="expected the option task, got tasks"):
        env.reset(options={"tasks": "click-test"})
    with pytest.raises(ActionRefused, match="a web page cannot execute Back; it executes: Click, Drag, Key"):
        env.step(Back())
    with pytest.raises(UsageError, match=r"the page has no episode; call reset\(\) first"):
        env.step(Click(Point(0.5, 0.5)))


def element(label, kind, left=0.0):
    return PageElement(label=label, kind=kind, box=Box(left, 0.0, left + 0.1, 0.1))


def test_a_phrase_names_what_it_quotes_then_the_kind_then_the_longest_label():
    elements = (element("OK", "button"), element("OK", "text"), element("Look", "link"), element("OK then", "button"))
    assert find(elements, 'the button "OK"') == [elements[0]]
    assert find(elements, "OK then") == [elements[3]]
    assert find(elements, "the look link") == [elements[2]]
    assert find(elements, "the okra") == []
    assert find((element("", "field"), element("a", "text")), "the textbox") == [element("", "field")]
