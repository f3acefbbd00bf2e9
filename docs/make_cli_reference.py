"""Write docs/cli.md: what `agent --help` and the help of every command print, as plain text of a fixed width.

python docs/make_cli_reference.py [--out docs/cli.md]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from molmo_agent.cli.app import app

WIDTH = 100
HEAD = """\
# The command line

This page is generated from the program by `python docs/make_cli_reference.py`; change the help texts in
`molmo_agent/cli/`, not here. `agent COMMAND --help` prints the same.

Exit codes, where a command does not state its own: 0 success, 1 not achieved, 2 usage, 3 environment or model failure,
130 stopped by the user.
"""


def commands_of(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield a command and everything below it, each with its full name."""
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands_of(inner, f"{name} {word}")


def help_of(name: str, command: Any) -> str:
    """Return a command's help as plain text, whatever the terminal is."""
    command.rich_markup_mode = None  # plain text
    context = command.context_class(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, color=False)
    lines = command.get_help(context).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def reference() -> str:
    """Return the whole page."""
    sections = [
        f"## {name}\n\n```text\n{help_of(name, command)}\n```\n"
        for name, command in commands_of(typer.main.get_command(app), "agent")
    ]
    return "\n".join([HEAD, *sections])


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("cli.md"))
    arguments = parser.parse_args()
    arguments.out.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
