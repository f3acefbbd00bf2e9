"""Find Chromium and its driver, and check that they run."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from molmo_agent.child_environment import child_environment
from molmo_agent.errors import EnvError

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DRIVERS = ("chromedriver", "chromium.chromedriver")
VARIABLES = ("MINIWOB_CHROME_BINARY", "MINIWOB_CHROMEDRIVER")
REMEDY = (
    "apt-get install chromium chromium-driver (Fedora: dnf install chromium chromedriver; macOS: brew install chromium)"
)


def find_browser() -> tuple[str, str]:
    """Return the paths of Chromium and of its driver.

    Raises:
        EnvError: one of them is not installed, or only one of the two variables is set.
    """
    paths = [os.environ.get(name, "") for name in VARIABLES]
    if any(paths) and not all(paths):
        missing = VARIABLES[paths.index("")]
        raise EnvError(f"expected {' and '.join(VARIABLES)} both or neither to be set; {missing} is not")
    binary, driver = paths if all(paths) else [_on_path(BINARIES), _on_path(DRIVERS)]
    if not (binary and driver):
        what = "Chromium" if not binary else "Chromium's driver (chromedriver)"
        raise EnvError(f"web pages need {what}, which is not on PATH: {REMEDY}")
    return binary, driver


def _on_path(names: Sequence[str]) -> str:
    return next((path for name in names if (path := shutil.which(name))), "")


def check_runs(binary: str, timeout_s: float) -> None:
    """Run Chromium with --version: it reports why it cannot start, whereas its driver would wait silently.

    Raises:
        EnvError: it cannot run.
    """
    try:
        result = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=child_environment(),
        )
        words = (result.stdout + result.stderr).strip()[-400:]
        complaint = "" if result.returncode == 0 else f"exit code {result.returncode}, {words!r}"
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint = str(error)
    if complaint:
        raise EnvError(f"{binary} --version does not run: {complaint}; {REMEDY}")
