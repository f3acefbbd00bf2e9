"""``agent`` and ``python -m molmo_agent``: the front door, which Ctrl-C closes quietly even while it opens."""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave at once: while modules are loading there is nothing to release, and only a traceback to show."""
    sys.stderr.write("agent: stopped\n")
    sys.stderr.flush()
    os._exit(130)


def main() -> None:
    """Load the command line, then run it."""
    signal.signal(signal.SIGINT, _leave)
    from molmo_agent.console import protect_streams

    protect_streams()
    from molmo_agent.cli import app as cli
    from molmo_agent.cli.termination import interrupt

    # From here on there may be a display, a pressed button, an open trajectory: these need an orderly end, which a
    # terminated process deserves too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, interrupt)
    cli.main()


if __name__ == "__main__":
    main()
