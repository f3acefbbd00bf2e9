"""How often ``--confirm risky`` asks: of steps that nobody wants to be asked about, and of those that must be asked.

    python benchmarks/confirmation.py [--check]

The steps are those of ``tests/corpora/guard_*.txt``, drawn by ``tests/guard_stage.py`` and read without mistakes; the
second half of each was written before the guard was tuned. Run with ``--check`` to exit with 1 if more than five of a
hundred harmless steps are asked about, or a dangerous one is not.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from guard_stage import read_corpus, why_asked

# The largest share of harmless steps, and of dangerous ones, that may be judged wrongly.
TARGETS = {"guard_harmless.txt": 0.05, "guard_dangerous.txt": 0.0}


def main() -> int:
    """Print the counts and every step that is judged wrongly; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    table, console, missed = Table("corpus", "half", "steps", "asked", "wrong"), Console(), False
    for corpus, target in TARGETS.items():
        for half, lines in read_corpus(corpus).items():
            asked = {str(line): why_asked(line) for line in lines}
            wrong = [line for line, why in asked.items() if bool(why) == (corpus == "guard_harmless.txt")]
            table.add_row(corpus, half, str(len(asked)), str(sum(map(bool, asked.values()))), str(len(wrong)))
            missed |= len(wrong) > target * len(asked)
            for line in wrong:
                console.print(f"{corpus}: {line!r} {asked[line]}", markup=False, highlight=False)
    console.print(table)
    return int(missed and options.check)


if __name__ == "__main__":
    raise SystemExit(main())
