"""Fuzz one target: ``python tests/fuzz/run.py TARGET --minutes 5`` (``--list`` lists them, ``--seed`` writes corpora).

With atheris installed (``pip install atheris``; Linux), it guides the inputs. Without it, a loop of our own does, by
the lines of the package that an input is the first to reach: slower, but without a compiled package. An input
that breaks a promise is written to ``tests/fuzz/found/`` and printed; put it into the target's corpus once it is fixed.
"""

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
PIECES = (b'"', b"'", b"<", b">", b"[", b"{", b"(", b",", b":", b"=", b"\n", b"\\", b"0", b"9", b"-1", b"1e9", b"\x00")
PIECES += (b"\x1b", b"\xff", "\u202e".encode(), "١".encode(), b"null", b"<point ", b"</points>", b"```", b" not ")
MAX_BYTES = 4096


def corpus_of(name: str) -> list[bytes]:
    """Return the inputs of a target's corpus."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())] if (CORPUS / name).is_dir() else []


def save(folder: Path, data: bytes) -> Path:
    """Write an input under the name of its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


@contextmanager
def lines_reached(package: str) -> Iterator[set[tuple[str, int]]]:
    """Collect the lines of a package that run, as (file, line)."""
    reached: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if package not in name:
            return None
        reached.add((name, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield reached
    finally:
        sys.settrace(before)


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Return a damaged copy: pieces inserted, deleted, replaced, repeated, or taken from another input."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 4, 16)))
        cut = sorted(rng.randrange(len(other) + 1) for _ in range(2))
        new = rng.choice((rng.choice(PIECES), rng.randbytes(1), b"", other[cut[0] : cut[1]], data[start:end] * 2))
        data = data[:start] + new + data[end:]
    return data[:MAX_BYTES]


def guided_loop(
    run: Callable[[bytes], None], seeds: list[bytes], seconds: float, *, seed: int = 0, package: str = "molmo_agent"
) -> tuple[bytes, BaseException] | None:
    """Mutate inputs that reached new lines, until one breaks a promise; return it with its error, or None."""
    rng, seen, pool = random.Random(seed), set[tuple[str, int]](), list(seeds) or [b""]
    end, first = time.monotonic() + seconds, list(pool)
    while first or time.monotonic() < end:
        data = first.pop() if first else mutate(rng, rng.choice(pool), rng.choice(pool))
        with lines_reached(package) as reached:
            try:
                run(data)
            except Exception as error:
                return data, error
        if not reached <= seen:
            seen |= reached
            pool.append(data)
    return None


def main() -> None:
    """Run the command line."""
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    try:
        import atheris
    except ImportError:
        atheris = None
    with atheris.instrument_imports(include=["molmo_agent"]) if atheris else nullcontext():
        from targets import SEEDS, TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seed", action="store_true", help="write the inputs of the source into the corpora")
    options = parser.parse_args()
    if options.seed:
        for name, seeds in SEEDS.items():
            for data in seeds:
                save(CORPUS / name, data)
    if options.list or options.target is None:
        print("\n".join(TARGETS))
        return
    run, seconds = TARGETS[options.target], 60 * options.minutes
    if atheris is not None:
        (FOUND / options.target).mkdir(parents=True, exist_ok=True)
        folders = [str(FOUND / options.target), str(CORPUS / options.target)]
        arguments = [f"-max_total_time={seconds:.0f}", f"-artifact_prefix={FOUND / options.target}/", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *arguments, *folders], run)
        atheris.Fuzz()
        return
    failure = guided_loop(run, corpus_of(options.target), seconds, seed=time.time_ns())
    if failure is not None:
        data, error = failure
        path = save(FOUND / options.target, data)
        sys.exit(f"{options.target}: {type(error).__name__}: {error}\n{data!r}\nwritten to {path}")
    print(f"{options.target}: nothing found in {seconds:.0f} s")


if __name__ == "__main__":
    main()
