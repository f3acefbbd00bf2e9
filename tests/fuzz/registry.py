"""The fuzz targets by name: for each, a function of bytes that raises only if a reader broke a promise.

A reader may refuse an input with the error that it documents. Everything else is a fault: another exception, a value
of another shape, a point outside of the image, a control character in text that is shown.

To add a target, write a function with ``@target("name", b"a good input", ...)`` in one of the modules here; ``run.py
--seed`` writes its corpus. Files of a corpus are replayed by tests/test_fuzz_corpus.py.
"""

from collections.abc import Callable

TARGETS: dict[str, Callable[[bytes], None]] = {}
SEEDS: dict[str, tuple[bytes, ...]] = {}

Target = Callable[[str], None]


def target(name: str, *seeds: bytes) -> Callable[[Target], Target]:
    """Register a function of text as a target, with inputs to begin with."""

    def register(function: Target) -> Target:
        TARGETS[name] = lambda data: function(data.decode("utf-8", "surrogateescape"))
        SEEDS[name] = seeds
        return function

    return register


def target_of_bytes(name: str, *seeds: bytes) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Register a function of bytes, such as the reader of a file format."""

    def register(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[name], SEEDS[name] = function, seeds
        return function

    return register
