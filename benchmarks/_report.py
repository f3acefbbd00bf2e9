"""What every benchmark does with its numbers: a table, a JSON file, and the targets that are missed, by name."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Targets = Mapping[str, tuple[str, float]]
"""Name -> (">=" or "<=", bound)."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that :func:`finish` reads."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="where to write the numbers")
    made.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    return made


def finish(
    arguments: argparse.Namespace, results: Mapping[str, float], targets: Targets, *, width: int = 66, **facts: Any
) -> int:
    """Print the numbers beside their targets, write them with some facts where asked, and return the exit code."""
    missed = []
    for name, value in results.items():
        sign, bound = targets.get(name, ("", 0.0))
        met = not sign or (value >= bound if sign == ">=" else value <= bound)
        print(f"{name:{width}s} {value:10.3f}   {f'target {sign} {bound}' if sign else ''}{'' if met else '  MISSED'}")
        if not met:
            missed.append(f"{name}: {value:.3f}, target {sign} {bound}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**facts, "results": results, "missed": missed}, indent=1) + "\n")
    if arguments.check and missed:
        print("missed: " + "; ".join(missed))
        return 1
    return 0
