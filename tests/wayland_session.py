"""Headless Wayland sessions for tests: sway, and mutter with the portals of GNOME, each with folders of its own."""

import contextlib
import json
import os
import pathlib
import platform
import queue
import shutil
import subprocess
import tempfile
import threading
import time

import numpy as np
import pytest

# Services do not start by themselves, whatever is installed here: they would outlive the test.
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:dir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>"""
SYSTEM_PYTHON = "/usr/bin/python3"
# For machines that many processes share.
PATIENCE_S = 60
KDE_PORTAL = pathlib.Path(f"/usr/lib/{platform.machine()}-linux-gnu/libexec/xdg-desktop-portal-kde")
PORTALS = [pathlib.Path("/usr/libexec", name) for name in ("xdg-desktop-portal-gnome", "xdg-desktop-portal")]


def _has_gtk():
    command = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('Gtk', '3.0')"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def needs_wayland(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if not _has_gtk():
        missing.append("python3-gi with GTK 3")
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (make system)")


def eventually(condition, what):
    """Wait until a condition holds and return its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if len(value) if isinstance(value, np.ndarray) else value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


class Session:
    """Processes with an environment of their own; ``enter`` makes it that of this process too."""

    def __init__(self, **variables):
        # Short: the path of a socket may have 107 characters.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wl-"))
        self.folder.chmod(0o700)
        self.variables = {
            "XDG_RUNTIME_DIR": str(self.folder),
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_SESSION_TYPE": "wayland",
            "GSETTINGS_BACKEND": "keyfile",
            **variables,
        }
        self._processes = []

    @property
    def environment(self):
        kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_ID")}
        return {**kept, **self.variables}

    def start(self, *command, **options):
        with (self.folder / "log").open("ab") as log:
            options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, **options}
            process = subprocess.Popen(command, env=self.environment, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def await_socket(self):
        def sockets():
            return [path.name for path in self.folder.glob("wayland-*") if path.suffix != ".lock"]

        (self.variables["WAYLAND_DISPLAY"],) = self.await_part(sockets, "a Wayland socket")

    def await_part(self, condition, what):
        """Wait for a part of the session; without it, end the others and show what they wrote."""
        try:
            return eventually(condition, what)
        except AssertionError as error:
            error.add_note((self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:])
            self.close()
            raise

    def enter(self, monkeypatch):
        for name in ("DISPLAY", "XDG_SESSION_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.variables.items():
            monkeypatch.setenv(name, value)

    def close(self):
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sway(Session):
    """A headless sway with monitors of the given sizes."""

    def __init__(self, *sizes):
        super().__init__(
            WLR_BACKENDS="headless",
            WLR_LIBINPUT_NO_DEVICES="1",
            WLR_RENDERER="pixman",
            WLR_HEADLESS_OUTPUTS=str(len(sizes)),
            XDG_CURRENT_DESKTOP="sway",
        )
        left, lines = 0, ["xwayland disable", "default_border none"]
        for number, (width, height) in enumerate(sizes, start=1):
            lines.append(f"output HEADLESS-{number} resolution {width}x{height} position {left} 0")
            left += width
        config = self.folder / "sway.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = {}
        if os.geteuid() == 0:
            # It refuses to run as root.
            for path in (self.folder, config):
                os.chown(path, 65534, 65534)
            options = {"user": 65534, "group": 65534, "extra_groups": []}
        self.start("sway", "-c", str(config), **options)
        self.await_socket()

    def message(self, *words):
        (ipc,) = self.folder.glob("sway-ipc.*")
        result = subprocess.run(["swaymsg", "-s", str(ipc), *words], capture_output=True, text=True, check=True)
        return result.stdout


class DesktopSession(Session):
    """A session with a bus and PipeWire, which the portals need."""

    def start_services(self):
        config = self.folder / "bus.conf"
        config.write_text(BUS_CONFIG, encoding="utf-8")
        command = ("dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1")
        daemon = self.start(*command, stdout=subprocess.PIPE, text=True)
        self.variables["DBUS_SESSION_BUS_ADDRESS"] = daemon.stdout.readline().strip()
        daemon.stdout.close()
        self.start("pipewire")
        self.await_part((self.folder / "pipewire-0").exists, "PipeWire")
        self.start("wireplumber")

    def start_portals(self, backend, name):
        self.backend = self.start(str(backend))
        self.await_name(f"org.freedesktop.impl.portal.desktop.{name}")
        self.frontend = self.start(str(PORTALS[1]))
        self.await_name("org.freedesktop.portal.Desktop")

    def await_name(self, name):
        question = ["--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", f"string:{name}"]

        def is_there():
            command = ["dbus-send", "--session", "--print-reply", *question]
            result = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
            return "true" in result.stdout

        self.await_part(is_there, name)


class Gnome(DesktopSession):
    """A headless mutter with PipeWire and, with ``portals``, GNOME's portals.

    Args:
        sizes: the monitors.
        scaled: monitors may be scaled, by fractions too.
        portals: start the real portals; they ask in a dialog.
    """

    def __init__(self, *sizes, scaled=False, portals=False):
        super().__init__(XDG_CURRENT_DESKTOP="GNOME")
        self._keyboard = None
        if scaled:
            settings = self.folder / "config/glib-2.0/settings/keyfile"
            settings.parent.mkdir(parents=True)
            settings.write_text("[org/gnome/mutter]\nexperimental-features=['scale-monitor-framebuffer']\n")
        self.start_services()
        monitors = [word for size in sizes for word in ("--virtual-monitor", "x".join(map(str, size)))]
        self.compositor = self.start("mutter", "--headless", "--wayland", "--no-x11", *monitors)
        self.await_socket()
        # It takes its names on the bus by itself, before or after it listens.
        for name in ("DisplayConfig", "RemoteDesktop", "ScreenCast"):
            self.await_name(f"org.gnome.Mutter.{name}")
        self._keyboard = self._plug_in_keyboard()
        if portals:
            self.start_portals(PORTALS[0], "gnome")

    def _plug_in_keyboard(self):
        """Give the session a keyboard, as machines have one, until the connection is closed.

        Without one this mutter does not notice that the program with the focus ends: if the next has its address in
        memory, it is never told what the clipboard offers.
        """
        from jeepney import DBusAddress, new_method_call
        from jeepney.io.blocking import open_dbus_connection
        from jeepney.wrappers import unwrap_msg

        bus = open_dbus_connection(bus=self.variables["DBUS_SESSION_BUS_ADDRESS"])
        service, path = "org.gnome.Mutter.RemoteDesktop", "/org/gnome/Mutter/RemoteDesktop"
        create = new_method_call(DBusAddress(path, bus_name=service, interface=service), "CreateSession")
        (path,) = unwrap_msg(bus.send_and_get_reply(create, timeout=PATIENCE_S))
        session = DBusAddress(path, bus_name=service, interface=f"{service}.Session")
        shift_key = 42
        for call in (
            new_method_call(session, "Start"),
            new_method_call(session, "NotifyKeyboardKeycode", "ub", (shift_key, True)),
            new_method_call(session, "NotifyKeyboardKeycode", "ub", (shift_key, False)),
        ):
            unwrap_msg(bus.send_and_get_reply(call, timeout=PATIENCE_S))
        return bus

    def close(self):
        if self._keyboard:
            self._keyboard.close()
        super().close()


class Kde(DesktopSession):
    """A KWin without a screen, with KDE's portals."""

    def __init__(self, program):
        super().__init__(
            XDG_CURRENT_DESKTOP="KDE", KDE_FULL_SESSION="true", KDE_SESSION_VERSION="5", LIBGL_ALWAYS_SOFTWARE="1"
        )
        self.start_services()
        # A copy: the installed one asks for a capability that containers do not have.
        copy = self.folder / "kwin_wayland"
        shutil.copyfile(program, copy)
        copy.chmod(0o700)
        self.start(
            str(copy), "--virtual", "--width", "1280", "--height", "720", "--no-lockscreen", "--no-global-shortcuts"
        )
        self.await_socket()
        self.variables["QT_QPA_PLATFORM"] = "wayland"
        self.start_portals(KDE_PORTAL, "kde")


class Window:
    """The window that reports what reaches it."""

    def __init__(self, session, monitor=0, text=""):
        script = pathlib.Path(__file__).with_name("wayland_window.py")
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, "-W", "ignore", str(script), str(monitor), text],
            env={**session.environment, "GDK_BACKEND": "wayland", "NO_AT_BRIDGE": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.events = []
        self.field_height = self.await_event(lambda event: "ready" in event)["field"]

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def await_event(self, condition):
        """Return the first event from now on that fulfils a condition."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self.events.append(self._lines.get(timeout=0.1))
                if condition(self.events[-1]):
                    return self.events[-1]
        raise AssertionError(f"not within {PATIENCE_S} s; came: {self.events}")

    def text(self, expected):
        """Wait until the field holds a text."""
        return self.await_event(lambda event: event.get("text") == expected)

    def drain(self):
        """Return the events that have come until now."""
        while not self._lines.empty():
            self.events.append(self._lines.get())
        return self.events

    def close(self):
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()
