"""How fast data like PixMo are made here. One process; documents with one sandbox each.

    python benchmarks/pixmo.py [--seconds 10] [--json FILE] [--check]

Prints a table and, with --json, writes the numbers; --check exits with 1 where a target is missed.
"""

import platform
import time
from collections.abc import Callable

from _report import finish, parser

from molmo_agent.errors import UsageError
from molmo_agent.pixmo.clocks.design import sample_clock
from molmo_agent.pixmo.clocks.draw import draw_clock
from molmo_agent.pixmo.docs.document import TYPES
from molmo_agent.pixmo.docs.make import make_document

TARGETS = {"clocks, images per second of one core": (">=", 20.0)}


def rate(work: Callable[[int], object], seconds: float, clock: Callable[[], float]) -> float:
    """Return how often per second ``work`` can be called, with another seed each time."""
    work(0)
    start, count = clock(), 0
    while clock() - start < seconds:
        count += 1
        work(count)
    return count / (clock() - start)


def main() -> int:
    arguments_parser = parser(__doc__)
    arguments_parser.add_argument("--seconds", type=float, default=10.0)
    arguments = arguments_parser.parse_args()
    # A sandbox is a process of its own: documents are timed by the wall, and a busy machine makes fewer.
    results = {
        "clocks, images per second of one core": rate(
            lambda seed: draw_clock(sample_clock(seed)), arguments.seconds, time.process_time
        )
    }
    for type_ in TYPES:
        try:
            results[f"docs ({type_}), documents per second, one at a time"] = rate(
                lambda seed, type_=type_: make_document(seed, type_), arguments.seconds, time.perf_counter
            )
        except UsageError as error:
            print(f"docs ({type_}): {error}")
    return finish(arguments, results, TARGETS, machine=platform.processor(), python=platform.python_version())


if __name__ == "__main__":
    raise SystemExit(main())
