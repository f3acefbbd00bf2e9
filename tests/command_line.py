"""The command line in the process of a test, which has imported everything; tests/test_cli.py runs it as people do."""

import contextlib
import io
import subprocess
from pathlib import Path

import pytest

from molmo_agent.cli.app import main


def agent_here(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; return its exit code and what it printed."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr("sys.argv", ["agent", *arguments])
        patch.setenv("NO_COLOR", "1")
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
