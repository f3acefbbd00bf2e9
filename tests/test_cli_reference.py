"""docs/cli.md is what the program's own help says."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from molmo_agent.cli.app import app
from molmo_agent.dependencies import QUIET_VARIABLE

DOCS = Path(__file__).parents[1] / "docs"
REFERENCE = runpy.run_path(str(DOCS / "make_cli_reference.py"))
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
COMMANDS = dict(REFERENCE["commands_of"](typer.main.get_command(app), "agent"))
AGAIN = "write it anew: .venv/bin/python docs/make_cli_reference.py"


@pytest.mark.skipif(QUIET_VARIABLE in os.environ, reason="other versions of typer lay help out differently")
def test_the_reference_is_what_the_commands_print_as_help() -> None:
    assert REFERENCE["reference"]() == PAGE, f"docs/cli.md is stale; {AGAIN}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_reference(name: str) -> None:
    _, found, section = PAGE.partition(f"\n## {name}\n")
    assert found, f"docs/cli.md lacks {name!r}; {AGAIN}"
    section = section.partition("\n## ")[0]
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")}
    assert options <= {*re.findall(r"--[\w-]+", section)}, f"docs/cli.md is stale; {AGAIN}"


def test_the_reference_does_not_depend_on_the_terminal(tmp_path: Path) -> None:
    written = tmp_path / "cli.md"
    environment = {**os.environ, "COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    script = [sys.executable, DOCS / "make_cli_reference.py", "--out", written]
    subprocess.run(script, env=environment, check=True)
    assert written.read_text(encoding="utf-8") == REFERENCE["reference"]()


ROOT = DOCS.parent
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *DOCS.glob("*.md")]


def commands_in(text: str) -> list[list[str]]:
    """Return the words of every `agent ...` command of a page, in blocks and in lines, without remarks behind it."""
    lines = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += [
        " ".join(code.split()) for code in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    ]
    return [line.partition("  #")[0].split() for line in lines if line.startswith("agent ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    unknown = []
    for words in commands_in(page.read_text(encoding="utf-8")):
        name = " ".join(words[:3]) if " ".join(words[:3]) in COMMANDS else " ".join(words[:2])
        if name not in COMMANDS:
            name = "agent"
            if not words[1].startswith("-") and words[1] not in ("COMMAND",):
                unknown.append(" ".join(words))
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help"}
        options |= {option for parameter in COMMANDS["agent"].params for option in parameter.opts}
        unknown += [f"{name} {word}" for word in words if re.match(r"--\w", word) and word not in options]
    assert unknown == []
