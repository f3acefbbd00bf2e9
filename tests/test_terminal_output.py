"""Nothing from outside steers the terminal: rich and plain output, errors, logs, tracebacks and JSON show signs."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from chat_server import Raw, Server, completion
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from molmo_agent.console import SafeConsole, SafeStream, make_console, say, say_json

PACKAGE = Path(__file__).parents[1] / "molmo_agent"
# A colour, a title, a cleared screen, a hidden text; C1, DEL; directions; invisible characters; separators.
STEERING = (
    "\x1b[31mred\x1b]0;title\x07\x1b[2J\x1b[8m\x9b2J\x7f\u202eabc\u2066\u200e\u061c\u200b\ufeff\U000e0041\u2028\x85\r\b"
)
RAW = set("\x1b\x07\x9b\x7f\u202e\u2066\u200e\u061c\u200b\ufeff\U000e0041\u2028\x85\b")


def steering(text):
    """Return the characters of an output that would steer a terminal."""
    return sorted(RAW & set(text))


def console_and_text(**options):
    out = io.StringIO()
    console = make_console()
    console.file = out
    console.width = 500
    for name, value in options.items():
        setattr(console, name, value)
    return console, out


@pytest.mark.parametrize(
    "thing",
    [STEERING, Text(STEERING), Text(STEERING, "red"), Path(STEERING.replace("/", "")), [STEERING], {"a": STEERING}],
    ids=lambda thing: type(thing).__name__,
)
def test_whatever_a_console_prints_is_shown_with_signs(thing):
    console, out = console_and_text()
    console.print(thing)
    console.print(thing, soft_wrap=True, end="")
    console.log(thing)
    assert steering(out.getvalue()) == []
    assert r"\u202e" in out.getvalue()


def test_tables_titles_status_lines_and_progress_bars_show_signs():
    console, out = console_and_text(_force_terminal=False)
    table = Table(STEERING, "b", title=STEERING)
    table.add_row(STEERING, Text(STEERING))
    console.print(table)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(STEERING, total=1)
        progress.print(STEERING)
    with console.status(STEERING):
        console.print("x")
    assert steering(out.getvalue()) == []


@pytest.mark.parametrize("text", ["[bold red]x[/]", "[/nothing]", ":smile:", "[link=http://evil]x[/link]", "[red"])
def test_markup_from_outside_is_text(text):
    console, out = console_and_text()
    console.print(text)
    table = Table("a")
    table.add_row(text)
    console.print(table)
    assert out.getvalue().count(text) == 2


def test_plain_output_is_one_line_and_json_is_printable_ascii(capsys):
    say(f"a\n{STEERING}")
    say_json({"reply": STEERING, STEERING: "\ud800"})
    first, second = capsys.readouterr().out.splitlines()
    assert steering(first) == []
    assert second.isascii()
    assert second.isprintable()
    assert json.loads(second)["reply"] == STEERING


def test_text_with_shapes_of_its_own_is_printed_as_it_is():
    console, out = console_and_text()
    for text in ("👨‍👩‍👧 ❤️", "مرحبا بالعالم", "שלום", "नमस्ते", "می‌خواهم", "naïve café"):
        console.print(text)
    assert out.getvalue().splitlines() == ["👨‍👩‍👧 ❤️", "مرحبا بالعالم", "שלום", "नमस्ते", "می‌خواهم", "naïve café"]


# --- Streams ----------------------------------------------------------------------------------------------------------


def written(*texts):
    out = io.StringIO()
    SafeStream(out).writelines(texts)
    return out.getvalue()


def test_a_protected_stream_shows_signs_and_keeps_lines_tabs_and_progress_bars():
    assert steering(written(STEERING)) == []
    assert written("a\tb\r\nc\n") == "a\tb\nc\n"
    assert written("\r 50%|#####     |") == "\r 50%|#####     |"
    assert written("\n\n\x1b[A\x1b[A") == "\n\n\x1b[A\x1b[A"
    assert written("\x1b[31mred\x1b[0m") == "red"
    assert written("ok\rhidden") == r"ok\rhidden"
    assert written("\x1b[Atext") == r"\x1b[Atext"


def test_a_protected_stream_is_still_a_stream():
    out = io.StringIO()
    stream = SafeStream(out)
    assert stream.write("é\x1b") == 2
    assert not stream.isatty()
    stream.flush()
    console = SafeConsole(file=stream, force_terminal=True, color_system="standard")
    console.print(Text("x", "red"))
    assert "\x1b[31mx" in out.getvalue()


PROTECTED = """
import logging, sys, warnings
from molmo_agent.console import protect_streams
protect_streams()
protect_streams()
text = sys.argv[1]
print(text)
print(text, file=sys.stderr)
logging.warning(text)
logging.getLogger("some.library").error("%s", text)
warnings.warn(text)
sys.stdout.write(text)
raise RuntimeError(text)
"""


def test_logs_warnings_and_tracebacks_of_a_process_show_signs():
    done = subprocess.run(
        [sys.executable, "-c", PROTECTED, STEERING], capture_output=True, timeout=280, check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 1
    assert "RuntimeError: " in err
    assert err.count(r"\u202e") >= 5
    assert steering(out) == steering(err) == []


# --- Commands ---------------------------------------------------------------------------------------------------------


# Runs command lines one after another, as the program does, and ends with the exit code of each.
DRIVER = """
import json, sys, traceback
sys.argv[0] = "agent"
from molmo_agent.console import protect_streams
protect_streams()
from molmo_agent.cli import app
codes = []
for command in json.load(sys.stdin):
    sys.argv[1:] = command
    app._STATE["debug"] = False
    try:
        app.main()
    except SystemExit as end:
        codes.append(end.code)
    except Exception:
        traceback.print_exc()
        codes.append(1)
print("codes", json.dumps(codes))
"""


def agent(commands, cwd, **environment):
    """Return the exit codes of command lines, and what they print on both streams."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER], cwd=cwd, capture_output=True, timeout=280, check=True,
        input=json.dumps(commands).encode(),
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONIOENCODING": "utf-8", **environment},
    )  # fmt: skip
    out = done.stdout.decode()
    return json.loads(out.rpartition("codes ")[2]), out + done.stderr.decode()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def test_no_command_passes_on_what_steers_the_terminal(tmp_path, server):
    """Every outside text has an escape sequence: replies, errors, names of files, models and runs, tasks, data."""
    name = STEERING.replace("/", "").replace("\x00", "")
    PIL.Image.new("RGB", (80, 40)).save(tmp_path / "s.png")
    PIL.Image.new("RGB", (80, 40)).save(tmp_path / f"{name}.png")
    (tmp_path / f"{name}.yaml").write_text(f"recipe: {STEERING!r}\n{STEERING!r}: 1\n", encoding="utf-8")
    (tmp_path / "t.jsonl").write_text(json.dumps({"image": STEERING, "question": STEERING}) + "\n")
    (tmp_path / "p.json").write_text('{"x": [0.5, 0.5]}')
    checkpoint = tmp_path / "it"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"model_type": STEERING, "architectures": [STEERING]}))
    (checkpoint / "pointing_profile.json").write_text(json.dumps({"remark": STEERING, STEERING: 1}))
    model = f"{server.url}#Molmo-7B-D"
    server.models = [STEERING]
    plans = [
        completion({"content": STEERING}),
        completion({"content": None, "refusal": STEERING}),
        Raw(json.dumps({"error": {"message": STEERING}}), 400),
        Raw(STEERING, 404),
        Raw(f"<html>{STEERING}", 200, kind="text/html"),
        completion({"content": "x"}, STEERING),
    ]
    commands = [["point", "s.png", STEERING, "--model", model]] * len(plans)
    commands += [
        ["point", "s.png", "x", "--model", "./it"],
        ["point", f"{name}.png", STEERING, "--model", "centre"],
        ["run", "--env", "toy", "--model", "scripted:p.json", "--task", f'type "{STEERING}"', "--out", name],
        ["view", name],
        ["eval", "--model", STEERING],
        ["train", f"{name}.yaml"],
        ["data", "show", f"{name}.yaml"],
        ["rollout", "--env", STEERING, "--episodes", "1"],
        ["convert", name, "there"],
        [STEERING],
        ["run", f"--{STEERING}"],
        ["--debug", "point", f"{name}x.png", "x"],
        ["doctor", "--env", STEERING],
    ]
    server.plan = plans * 3
    codes, output = agent(commands, tmp_path, HTTPS_PROXY=f"http://{name}")
    lines = [line for line in output.split("\n") if steering(line)]
    assert lines == []
    assert output.count(r"\u202e") >= len(commands)
    assert codes.count(0) >= 2
    assert len(codes) == len(commands)


# --- The source -------------------------------------------------------------------------------------------------------

# Programs of their own, whose output another program of ours reads, and a maker of the package.
PRINTS = {
    "envs/drawing/font_files/make_fonts.py",
    "envs/desktop/wayland/keymap_reader.py",
    "synthetic/record_miniwob.py",
    "console.py",
}


def test_all_output_goes_through_the_console_module():
    """A print, a console or a stream of its own elsewhere would be a door without a guard."""
    doors = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name in PRINTS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            literal = all(isinstance(argument, ast.Constant) for argument in node.args)
            if called in ("print", "Console", "rich.print", "typer.echo", "typer.secho", "click.echo"):
                doors.append(f"{name}:{node.lineno}: {called}")
            if called.endswith(("stdout.write", "stderr.write", "stdout.buffer.write")) and not literal:
                doors.append(f"{name}:{node.lineno}: {called}")
    assert doors == []


def test_the_list_of_exceptions_is_not_longer_than_needed():
    assert [name for name in PRINTS if "print(" not in (PACKAGE / name).read_text(encoding="utf-8")] == []
