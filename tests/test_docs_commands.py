"""Every command and every Python block of the README and of the pages in docs/ runs, at a tiny size.

The commands run in one folder that has what their readers have: images, points.jsonl, data sets, checkpoints. A
checkpoint that readers download is a tiny one of the same name, the phone is a daemon at the end of a real adb wire,
and a model on a server is a server on this machine.
"""

import glob
import json
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import steps_data
from adb_device import AdbDevice, adb_server
from chat_server import Server
from made_data import cap, parquet
from misbehaving_server import serving
from PIL import Image
from test_data_academic import chart_qa, doc_qa, text_vqa
from test_eval_benchmarks import write_pointing
from tiny_training import small_run, write_model, write_points
from typer.main import get_command
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.errors import EnvError
from molmo_agent.evaluation.nano_suite import run as nano_suite
from molmo_agent.evaluation.nano_suite.sets import ScreenSet
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.policies import pointing
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.testing import ToyEnv
from molmo_agent.train.recipe import to_yaml

ROOT = Path(__file__).parents[1]
# docs/cli.md is generated and shows usage, not commands.
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "cli.md")]
GOLDEN = ROOT / "tests" / "golden" / "android_control"

# adbutils and python-xlib leave sockets to the garbage collector.
# Users see warnings of other packages as text; the tests of each part hold our own code to none.
pytest_plugins = ("quick_ranks",)
pytestmark = [
    pytest.mark.usefixtures("quick_ranks"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
        "ignore::DeprecationWarning",
        "ignore::FutureWarning",
        "ignore::UserWarning",
    ),
]

# What does not run here, and why. A part of a command -> the reason. Its words are understood all the same.
CANNOT = {
    "agent eval human": "serves a page until Ctrl-C, or needs votes; test_human_page and test_human_evaluation run it",
    "agent eval rescore": "needs a run; test_rescoring makes some",
    "agent eval compare": "needs the runs of two models; test_result_folders writes them",
    "--hub-results": "needs a server with a model; test_result_folders starts one",
    "--address": "needs a Ray cluster; one of two machines is started in test_train_run",
    "agent serve": "serves until it is ended; test_serve_remote runs it with the client",
    "http://localhost:8000/v1#": "asks a language model; test_planner_served and test_native_agents answer as one",
    "8000#nano": "asks agent serve; test_serve_remote runs both",
    "agent eval cap-f1": "needs a judge; test_cap_f1 serves one",
    "agent eval text ": "needs published files; test_text_runs writes some in their layout",
    "agent eval screenspot_v2": "needs published files; test_grounding_runs writes some in their layout",
    "agent eval osworld_g": "needs published files; test_grounding_readers writes some in their layout",
    "agent eval clocks": "needs photographs of clocks; test_clock_benchmark writes tables and images",
    "agent start --vision openai": "downloads two models; test_start_model starts from folders",
    "agent pixmo all": "draws documents for a minute; test_pixmo_all runs it with few",
    "made/pixmo-points": "needs what agent pixmo all makes; test_pixmo_all and test_pixmo_stats run it",
    "made/mixture.yaml": "needs what agent pixmo all makes; test_pixmo_all runs it",
    "python benchmarks/nano_ablation.py": "trains for minutes at the least; test_ablations runs its parts",
    "python examples/clock_reader.py": "trains for half an hour; test_clock_reader takes steps of its recipe",
    "torchrun": "starts processes that import torch; test_train_cli starts two",
    "agent train my.yaml --ray": "starts Ray as does `agent train android_control --ray`, which runs here",
    "--episodes 10 --workers 2": "starts Ray; test_cli_rollout plays on it",
    "agent train nano --workers": "starts processes that import torch; test_train_cli starts two",
    "agent eval real-tasks": "operates programs for long; test_real_tasks has three of them operated",
}
# What a reader replaces by something of their own, and what is there in its place.
REPLACED = {
    '"..."': "'click OK'",
    "trajectories/...": "trajectories/toy",
    "=DIR": "=data/android_control",
    "FOLDER": "data/real",
    "--data HOME": "--data data/eleven",
    " /data/": " data/",
    "=/data/": "=data/",
    "their_module:TheirPointing-v0": "MolmoAgent/PointTarget-v0",
    "--nproc-per-node 8": "--nproc-per-node 2",
}
ACTS = ["--model", "centre", "--confirm", "never"]
ONE_STEP = ["steps=1", "batch=1"]
ONE_CAPTION = ["mixture=[{kind: pixmo-cap, path: pixmo-cap, options: {mode: captions}}]", "groups={}", *ONE_STEP]
# What makes a command short, after the words that it begins with; the last value of an option counts.
SHORT = {
    "agent run --env desktop": ACTS,
    "agent run --virtual-display": ACTS,
    "agent run --env android": ACTS,
    "agent run --env gymnasium": ["--max-steps", "1"],
    "agent doctor --pointer": ["--yes"],
    "agent rollout": ["--episodes", "1"],
    "agent eval text_vqa": ["--split", "train"],
    "agent eval chart_qa": ["--split", "train"],
    "agent eval pixmo_points": ["--data", "data/points_eval/questions.jsonl"],
    "agent eval nano-suite": ["--episodes", "0"],
    "agent eval injection": ["--families", "phone-popup", "--quick", "--model", "oracle", "--confirm", "never"],
    "agent eval android-control": ["--limit", "2"],
    "agent eval mind2web": ["--split", "test_task"],
    "agent eval gui-odyssey": ["--split", "random"],
    "agent data fetch": ["--local"],
    "agent train nano": [
        *(f"stages.{n}.{change}" for n in range(3) for change in ("steps=1", "batch=2")),
        *(f"stages.{n}.{change}" for n in range(3) for change in ("sizes={200x150: 1}", "styles={panel: 1}")),
        *("stages.0.crops=8", "stages.1.max_questions=2", "stages.2.max_questions=2"),
    ],
    "agent train pointing": ONE_STEP,
    "agent train conversations": [*ONE_STEP, "validate.generate=1"],
    "agent ask": ["--max-tokens", "4"],
    "agent caption": ["--max-tokens", "4"],
    "agent train my-screens": ONE_STEP,
    "agent train android_control": [*ONE_STEP, "precision=fp32", "--workers", "1"],
    "agent train pixmo_cap": ONE_STEP,
    "agent pixmo docs": ["--count", "4"],
    "agent pixmo clocks": ["--count", "4"],
    "agent train sft": ONE_CAPTION,
    "agent train high_res": ONE_CAPTION,
}
# What takes longer than 3 s on two cores that do nothing else.
SLOW = (
    "agent doctor --pointer --env android",
    *("agent run --seed", "agent run --env android", "agent run --env gymnasium", "agent rollout"),
    *(
        "agent train nano",
        "agent train my",
        "agent eval nano-suite",
        "agent eval injection",
        "agent eval real",
        "timeout",
    ),
)


def commands(page: Path) -> list[str]:
    """Return the commands in a page's code blocks, without what is said behind them."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.partition("   #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("agent ", "python ", "torchrun ", "timeout "))]


def words_of(command: str) -> list[str]:
    """Return the words to run in place of a command: short, and with what is in the readers' folder."""
    for part, ours in REPLACED.items():
        command = command.replace(part, ours)
    # What is short need not be stopped.
    words = shlex.split(re.sub(r"^timeout (-s \w+ )?\d+ ", "", command))
    return words + [word for start, more in SHORT.items() if start in command for word in more]


def meaning(command: str) -> tuple[tuple[str, str], ...]:
    """Return what two commands share that run the same: of each option and each change, the last value counts."""
    found, option = {}, ""
    for word in words_of(command):
        is_option = word.startswith("-")
        found[word if is_option else option or word.partition("=")[0]] = word
        option = word if is_option else ""
    return tuple(sorted(found.items()))


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
# Of commands that run the same, one runs.
RUN = {meaning(command): command for command in reversed(COMMANDS)}.values()
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
]


# Runs whose exported model a command uses: each command runs without the ones before it.
RUNS = ("pointing", "my-screens", "conversations", "pixmo_cap", "sft", "android_control")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages' readers have."""
    folder = tmp_path_factory.mktemp("docs")
    write_points(folder)
    (folder / "0.png").rename(folder / "inbox.png")
    points = folder / "points.jsonl"
    points.write_text(points.read_text().replace("0.png", "inbox.png"))
    for name in ("screenshot.png", "photo.png", *(f"own-{n}.png" for n in range(10))):
        shutil.copy(folder / "inbox.png", folder / name)
    lines = [{"image": f"own-{n}.png", "question": "What?", "answer": f"Part {n}."} for n in range(10)]
    (folder / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "own").mkdir()
    (folder / "my.yaml").write_text(to_yaml(small_run(folder / "own", steps=1)))
    tiny = write_model(folder / "allenai" / "Molmo-7B-D-0924")
    for name in ("models/start", *(f"runs/{run}/export" for run in RUNS)):
        shutil.copytree(tiny, folder / name)
    list(rollout(PointingPolicy(CentrePointer()), ToyEnv(), seed=0, recorder=Recorder(folder / "trajectories" / "toy")))
    data = folder / "data"
    shutil.copytree(GOLDEN, data / "android_control")
    for part in ("molmo", "points_eval", "text_vqa", "pixmo-points/data"):
        (data / part).mkdir(parents=True)
    cap(data / "molmo" / "pixmo-cap")
    chart_qa(data / "molmo" / "chart-qa")
    text_vqa(data / "text_vqa")
    doc_qa(data / "eleven" / "doc_qa")
    write_pointing(data / "points_eval")
    (data / "android_control" / "ac_idx.txt").write_text("episode_3005_screenshot_0\n")
    for name in ("aitw", "aitz", "gui_odyssey", "mind2web"):
        getattr(steps_data, name)(data / name)
    write_real_screen(data / "real")
    (block,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "evaluate.md").read_text(), re.MULTILINE | re.DOTALL)
    (folder / "mine.jsonl").write_text(block)
    for name in re.findall(r'"image": "(.+?)"', block):
        Image.fromarray(np.full((60, 80, 3), 99, np.uint8)).save(folder / name)
    with serving() as host:
        parquet(data / "pixmo-points" / "data" / "0.parquet", [{"image_url": host.url(f"/good/{n}")} for n in (1, 2)])
        yield folder


def write_real_screen(folder: Path) -> None:
    """Write a screen of a program with one question, as `agent eval real-screens` reads it."""
    folder.mkdir()
    Image.fromarray(np.full((200, 320, 3), 230, np.uint8)).save(folder / "screen.png")
    row = {"id": "a#0", "image": "screen.png", "question": "Save", "style": "pointing", "points": [[0.5, 0.5]]}
    extra = {"group": "text", "size": [320, 200], "screen": "a"}
    (folder / "targets.jsonl").write_text(json.dumps({**row, "boxes": [[0.4, 0.4, 0.6, 0.6]], "extra": extra}) + "\n")


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[AdbDevice]:
    pytest.importorskip("adbutils", reason="needs the extra 'android'")
    with adb_server() as client:
        device = AdbDevice(make_phone(1, 270, 480))
        client.connect(device.serial)
        yield device
        client.disconnect(device.serial)
        device.close()
        assert not device.failures


@pytest.fixture
def display() -> Iterator[None]:
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb")
    with VirtualDisplay(640, 480):
        yield


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a server that answers with a point."""
    server = Server()
    yield server.url.removesuffix("/v1")
    server.http.shutdown()
    server.http.server_close()


def run(words: list[str]) -> int:
    """Run a command in this process and return its exit status."""
    if words[0] == "agent":
        return CliRunner().invoke(app, words[1:], catch_exceptions=False).exit_code
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words[1:])
        try:
            runpy.run_path(words[1], run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def understand(words: list[str]) -> None:
    """Read the words of a command as the program does, without running it."""
    command, name = get_command(app), words[0]
    while hasattr(command, "resolve_command"):
        group = command.make_context(name, [], resilient_parsing=True)
        name, command, words = command.resolve_command(group, words[1:])
        words = [name, *words]
    command.make_context(name, words[1:])


def reason_not_to_run(command: str) -> str | None:
    """Return why a command does not run here; None if it does."""
    return next((why for part, why in CANNOT.items() if part in command), None)


def uses_ray(command: str) -> bool:
    """Tell whether a command starts Ray."""
    return "--ray" in command or bool(re.match("agent rollout .*--workers", command))


def parameters(*, ray: bool) -> list[Any]:
    """Return the commands with or without Ray; those that take longer than 3 s are marked as slow."""
    return [
        pytest.param(command, marks=[pytest.mark.slow] * command.startswith(SLOW), id=command)
        for command in RUN
        if uses_ray(command) == ray and not reason_not_to_run(command)
    ]


def prepare(text: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start what a command or a block talks to; return it with the addresses of what was started."""
    monkeypatch.chdir(request.getfixturevalue("place"))
    if "env desktop" in text or text == "agent doctor --pointer":
        request.getfixturevalue("display")
    if "android" in text and "env" in text:
        text = text.replace("emulator-5554", request.getfixturevalue("phone").serial)
    if "http://host:8000" in text:
        text = text.replace("http://host:8000", request.getfixturevalue("address"))
    return text


def run_command(command: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Run a command of a page and check its exit status."""
    words = words_of(prepare(command, request, monkeypatch))
    words = [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word])]
    if words[0] == "agent" and {"train", "injection"} & {*words}:
        words += ["--out", str(folder / "run")]
    try:
        status = run(words)
    except EnvError as error:
        if re.search("Chromium|MuJoCo cannot draw", str(error)):
            pytest.skip(str(error).splitlines()[-1])
        raise
    # 1: it ran, but nothing was found, the task was not achieved, an answer was cut off, or a goal was missed.
    assert status in ((0, 1) if words[1] in ("run", "point", "ask", "caption") or "--check" in words else (0,)), words


@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", parameters(ray=False))
def test_every_command_of_a_page_runs(
    command: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = ScreenSet(name="desktop small", section="desktop small", screens=1, width=240, height=180, questions=2)
    monkeypatch.setattr(nano_suite, "suite_sets", lambda: (small,))
    monkeypatch.setattr(nano_suite, "measure", lambda model, repeats: [])
    # Nothing here answers a click on the middle of the screen, however long it is waited for.
    monkeypatch.setattr(pointing, "PATIENCE_S", 0.1)
    run_command(command, request, monkeypatch, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", parameters(ray=True))
def test_every_command_of_a_page_runs_on_ray(
    command: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    try:
        run_command(command, request, monkeypatch, tmp_path)
    finally:
        # A later test starts one with other settings.
        ray.shutdown()


@pytest.mark.parametrize("command", [command for command in COMMANDS if reason_not_to_run(command)])
def test_the_words_of_a_command_that_does_not_run_here_are_understood(command: str) -> None:
    words = words_of(command)
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        understand(words[words.index("molmo_agent") :] if "molmo_agent" in words else words)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_a_page_runs(
    block: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "block.py"
    script.write_text(prepare(block, request, monkeypatch))
    runpy.run_path(str(script))


def test_the_tables_name_only_what_the_pages_show() -> None:
    assert len(COMMANDS) > 40
    for table in (CANNOT, REPLACED, SHORT, SLOW):
        assert [part for part in table if not any(part in command for command in COMMANDS)] == []
