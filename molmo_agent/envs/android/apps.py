"""Find the app of a phone by its name, start it and check that it is in front.

adb lists packages, not the labels under the icons. A label is matched with the words of package names, or looked up in
a short table of packages with other names. A name that matches no package or several is refused with a list of them.
"""

import difflib
import re
import time
from collections.abc import Callable, Mapping, Sequence

from molmo_agent.envs.android.device import Device
from molmo_agent.envs.android.screen import read_status
from molmo_agent.errors import ActionRefused

# Labels whose words are not in the name of the package.
PACKAGES_BY_LABEL: Mapping[str, tuple[str, ...]] = {
    "phone": ("com.google.android.dialer", "com.android.dialer", "com.samsung.android.dialer"),
    "clock": ("com.google.android.deskclock", "com.android.deskclock", "com.sec.android.app.clockpackage"),
    "messages": (
        "com.google.android.apps.messaging",
        "com.android.messaging",
        "com.samsung.android.messaging",
    ),
    "play store": ("com.android.vending",),
    "chrome": ("com.android.chrome",),
    "gmail": ("com.google.android.gm",),
    "google": ("com.google.android.googlequicksearchbox",),
    "files": ("com.google.android.documentsui", "com.google.android.apps.nbu.files", "com.android.documentsui"),
    "drive": ("com.google.android.apps.docs",),
    "keep notes": ("com.google.android.keep",),
    "gallery": ("com.sec.android.gallery3d", "com.android.gallery3d"),
    "my files": ("com.sec.android.app.myfiles",),
    "internet": ("com.sec.android.app.sbrowser",),
    "x": ("com.twitter.android",),
    "facebook": ("com.facebook.katana",),
    "messenger": ("com.facebook.orca",),
    "tiktok": ("com.zhiliaoapp.musically",),
    "prime video": ("com.amazon.avod.thirdpartyclient",),
}
_LAUNCHABLE = (
    *("cmd", "package", "query-activities", "--brief"),
    *("-a", "android.intent.action.MAIN", "-c", "android.intent.category.LAUNCHER"),
)
# Parts of package names that do not describe the app.
_EMPTY = frozenset({"com", "org", "net", "android", "google", "apps", "app", "mobile", "example", "samsung", "sec"})
_APPEAR_S = 5.0


def launchable(device: Device) -> dict[str, str]:
    """Return the launchable packages of the phone, each with the activity that the launcher starts."""
    packages: dict[str, str] = {}
    for package, activity in re.findall(r"^\s*([\w.]+)/([\w.$]+)\s*$", device.run(*_LAUNCHABLE).text, re.MULTILINE):
        packages.setdefault(package, activity)
    return packages


def _words(package: str) -> list[str]:
    parts = [word for part in package.split(".") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)]
    return [word.lower() for word in parts if word.lower() not in _EMPTY]


def find_app(name: str, packages: Sequence[str]) -> str:
    """Return the package that a name refers to.

    Raises:
        ActionRefused: no package or several match; the message lists them.
    """
    query = name.strip().casefold()
    if name.strip() in packages:
        return name.strip()
    if packages_here := [package for package in PACKAGES_BY_LABEL.get(query, ()) if package in packages]:
        return packages_here[0]
    compact = re.sub(r"\W", "", query)
    fitting = [
        package
        for package in packages
        if compact and (compact in _words(package) or compact == "".join(_words(package)))
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ActionRefused(f"several apps fit {name!r}: {', '.join(sorted(fitting))}; name the package")
    names = {"".join(_words(package)): package for package in packages}
    near = [names[match] for match in difflib.get_close_matches(compact, names, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ActionRefused(f"no app fits {name!r}: {hint}this phone has {', '.join(sorted(packages)) or 'none'}")


def open_app(
    device: Device, name: str, *, display: int | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Start an app or bring it forward, and wait until it is in front.

    Args:
        device: the phone.
        name: the app's label or package.
        display: the id of the display to start it on; None: the one that the user looks at.
        sleep: waits for so many seconds.

    Raises:
        ActionRefused: no such app, or the phone accepted the command and still shows the same screen as before.
        EnvError: the phone is gone.
    """
    apps = launchable(device)
    package = find_app(name, list(apps))
    before = read_status(device, display).focus
    where = ["--display", str(display)] if display else []
    answer = device.run("am", "start", "-W", *where, "-n", f"{package}/{apps[package]}", timeout_s=30.0)
    if answer.status or re.search(r"^Error|Exception", answer.all_text, re.MULTILINE):
        complaint = next((line for line in answer.all_text.splitlines() if "Error" in line or "Exception" in line), "")
        raise ActionRefused(f"the phone could not start {package}: {complaint or f'exit status {answer.status}'}")
    end = time.monotonic() + _APPEAR_S
    while True:
        status = read_status(device, display)
        # It may begin with a question from the system, which is also a change.
        if status.app == package or (status.focus and status.focus != before):
            return
        if time.monotonic() > end:
            break
        sleep(0.1)
    raise ActionRefused(
        f"the phone reported that it started {package}, but {_APPEAR_S:g} s later {before or 'no window'} is still "
        "in front"
    )
