"""A portal of the tests' own on a bus of its own: it grants, declines and revokes as told, and records what it gets.

``MutterPortal`` also executes it: it passes the calls on to a real mutter.
"""

import contextlib
import os
import pathlib
import queue
import socket
import subprocess
import tempfile
import threading

from jeepney import (
    DBusAddress,
    HeaderFields,
    MatchRule,
    MessageType,
    message_bus,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney import new_method_call as new_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusErrorResponse, unwrap_msg
from wayland_session import BUS_CONFIG

PORTAL, DESKTOP = "org.freedesktop.portal", "/org/freedesktop/portal/desktop"
MUTTER = "org.gnome.Mutter"


@contextlib.contextmanager
def private_bus():
    """Run a D-Bus daemon and yield its address."""
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "bus.conf")
        config.write_text(BUS_CONFIG, encoding="utf-8")
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
            try:
                yield daemon.stdout.readline().strip()
            finally:
                daemon.kill()


class Refused(Exception):
    """A call that the service answers with an error."""


class PortalService:
    """Serves the portals in a thread until ``stop``.

    Args:
        address: the bus.
        properties: interface -> values of its properties, such as ``{"RemoteDesktop": {"version": 2}}``.
        responses: member -> the code of its response; 0, granted, for all others.
        results: what the response to Start holds.
        names: more names to own, such as mutter's.
    """

    def __init__(self, address, *, properties=None, responses=None, results=None, names=()):
        self.properties = (
            properties
            if properties is not None
            else {
                "RemoteDesktop": {"version": 2, "AvailableDeviceTypes": 7},
                "ScreenCast": {"version": 5, "AvailableCursorModes": 7},
            }
        )
        self.responses, self.results = responses or {}, results
        # (member, arguments) of every call, without the session's handle and empty options.
        self.calls = []
        self.failures = {}
        self.session = ""
        self._orders = queue.Queue()
        self._connection = open_dbus_connection(bus=address, enable_fds=True)
        # Without portals of its own it is only another program that owns these names.
        for name in (*([f"{PORTAL}.Desktop"] if self.properties else []), *names):
            self._connection.send_and_get_reply(message_bus.RequestName(name))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End the service; safe to call twice."""
        self._over.set()
        self._thread.join()
        self._connection.close()

    def disconnect(self):
        """Leave the bus without a word, as a program that crashes does."""
        self._connection.close()
        self._over.set()

    def notified(self):
        """Return the input events that came, as (what, arguments)."""
        return [(member[6:], *arguments) for member, arguments in self.calls if member.startswith("Notify")]

    def do(self, action):
        """Run a function in the service's thread and wait for it."""
        done = threading.Event()
        self._orders.put((action, done))
        assert done.wait(60)

    def revoke(self):
        """End the session as the icon in a panel does."""
        self.do(lambda: self.emit(self.session, f"{PORTAL}.Session", "Closed", "a{sv}", {}))

    def emit(self, path, interface, name, signature, *values):
        self._connection.send(new_signal(DBusAddress(path, interface=interface), name, signature, values))

    def _serve(self):
        while not self._over.is_set():
            with contextlib.suppress(queue.Empty):
                action, done = self._orders.get_nowait()
                action()
                done.set()
                if self._over.is_set():
                    break
            self.idle()
            try:
                message = self._connection.receive(timeout=0.01)
            except TimeoutError:
                continue
            if message.header.message_type is MessageType.method_call:
                self._answer(message)

    def idle(self):
        """Do what comes up between calls."""

    def _answer(self, message):
        fields = message.header.fields
        interface, member = fields[HeaderFields.interface], fields[HeaderFields.member]
        sender = fields[HeaderFields.sender].lstrip(":").replace(".", "_")
        signature = ""
        try:
            if member == "Get":
                interface, name = message.body
                signature, values = "v", (("u", self.property(interface.rpartition(".")[2], name)),)
            else:
                arguments = [value for value in message.body if value not in (self.session, {})]
                self.calls.append((member, tuple(arguments)))
                if member in self.failures:
                    raise Refused(self.failures[member])
                signature, values = self.answer(member, sender, *message.body)
        except (Refused, KeyError, DBusErrorResponse) as error:
            reply = new_error(message, "org.freedesktop.DBus.Error.Failed", "s", (str(error),))
        else:
            reply = new_method_return(message, signature, values)
        self._connection.send(reply)
        if signature == "h":
            # The receiver has one of its own. A pipe ends when all of them are closed.
            os.close(values[0])
        if member in ("CreateSession", "SelectDevices", "SelectSources", "Start"):
            self._respond(member, sender, message.body[-1])

    def property(self, interface, name):
        return self.properties[interface][name]

    def answer(self, member, sender, *values):
        """Return the signature and values of the reply to a call."""
        if member == "CreateSession":
            self.session = f"{DESKTOP}/session/{sender}/{values[0]['session_handle_token'][1]}"
        if member in ("CreateSession", "SelectDevices", "SelectSources", "Start"):
            return "o", (f"{DESKTOP}/request/{sender}/{values[-1]['handle_token'][1]}",)
        return "", ()

    def _respond(self, member, sender, options):
        code = self.responses.get(member, 0)
        if code is None:
            return
        results = {"CreateSession": {"session_handle": ("s", self.session)}, "Start": self.start_results}
        result = results.get(member, {})
        path = f"{DESKTOP}/request/{sender}/{options['handle_token'][1]}"
        self.emit(path, f"{PORTAL}.Request", "Response", "ua{sv}", code, result() if callable(result) else result)

    def start_results(self):
        return self.results or {}


class MutterPortal(PortalService):
    """A portal without dialogs that passes everything on to the mutter on the same bus."""

    def __init__(self, address, connectors, *, clipboard=False, serve=True):
        properties = {
            "RemoteDesktop": {"version": 2, "AvailableDeviceTypes": 7},
            "ScreenCast": {"version": 5, "AvailableCursorModes": 7},
        }
        if clipboard:
            properties["Clipboard"] = {"version": 1}
        super().__init__(address, properties=properties if serve else {})
        self._mutter = open_dbus_connection(bus=address, enable_fds=True)
        self._signals = queue.deque()
        self._mutter.filter(MatchRule(type="signal"), queue=self._signals).__enter__()
        for interface in ("ScreenCast.Stream", "RemoteDesktop.Session"):
            rule = MatchRule(type="signal", interface=f"{MUTTER}.{interface}")
            unwrap_msg(self._mutter.send_and_get_reply(message_bus.AddMatch(rule)))
        self._connectors, self._clipboard = connectors, clipboard
        self._streams, self._nodes = {}, {}

    def stop(self):
        super().stop()
        self._mutter.close()

    def close_mutter(self):
        """Close the connections of a portal that was never started."""
        self._connection.close()
        self._mutter.close()

    def stop_mutter(self):
        """Let the compositor end the session."""
        self._remote("Stop")

    def _call(self, service, path, member, signature="", *values):
        address = DBusAddress(path, bus_name=f"{MUTTER}.{service.partition('.')[0]}", interface=f"{MUTTER}.{service}")
        message = new_call(address, member, signature, values) if signature else new_call(address, member)
        return unwrap_msg(self._mutter.send_and_get_reply(message, timeout=60))

    def _remote(self, member, signature="", *values):
        return self._call("RemoteDesktop.Session", self._session, member, signature, *values)

    def start_results(self):
        (self._session,) = self._call("RemoteDesktop", "/org/gnome/Mutter/RemoteDesktop", "CreateSession")
        address = DBusAddress(self._session, bus_name=f"{MUTTER}.RemoteDesktop")
        get = new_call(
            address.with_interface("org.freedesktop.DBus.Properties"),
            "Get",
            "ss",
            (f"{MUTTER}.RemoteDesktop.Session", "SessionId"),
        )
        ((_, session_id),) = unwrap_msg(self._mutter.send_and_get_reply(get, timeout=60))
        options = {"remote-desktop-session-id": ("s", session_id)}
        (cast,) = self._call("ScreenCast", "/org/gnome/Mutter/ScreenCast", "CreateSession", "a{sv}", options)
        paths = [
            self._call("ScreenCast.Session", cast, "RecordMonitor", "sa{sv}", name, {"cursor-mode": ("u", 0)})[0]
            for name in self._connectors
        ]
        self._remote("Start")
        streams = []
        for path in paths:
            node = self._await_node(path)
            self._streams[node] = path
            get = new_call(
                DBusAddress(path, f"{MUTTER}.ScreenCast", "org.freedesktop.DBus.Properties"),
                "Get",
                "ss",
                (f"{MUTTER}.ScreenCast.Stream", "Parameters"),
            )
            ((_, parameters),) = unwrap_msg(self._mutter.send_and_get_reply(get, timeout=60))
            streams.append((node, {name: parameters[name] for name in ("position", "size")}))
        if self._clipboard:
            self._remote("EnableClipboard", "a{sv}", {})
        return {
            "devices": ("u", 3),
            "streams": ("a(ua{sv})", streams),
            "clipboard_enabled": ("b", self._clipboard),
        }

    def _await_node(self, path):
        # They come in any order.
        while path not in self._nodes:
            message = self._mutter.recv_until_filtered(self._signals, timeout=60)
            fields = message.header.fields
            if fields[HeaderFields.member] == "PipeWireStreamAdded":
                self._nodes[fields[HeaderFields.path]] = message.body[0]
        return self._nodes[path]

    def idle(self):
        with contextlib.suppress(TimeoutError):
            while True:
                self._mutter.recv_messages(timeout=0)
        while self._signals:
            message = self._signals.popleft()
            member = message.header.fields[HeaderFields.member]
            if member == "Closed":
                self.emit(self.session, f"{PORTAL}.Session", "Closed", "a{sv}", {})
            elif member == "SelectionTransfer":
                self.emit(DESKTOP, f"{PORTAL}.Clipboard", member, "osu", self.session, *message.body)

    def answer(self, member, sender, *values):
        if member == "NotifyPointerMotionAbsolute":
            self._remote(member, "sdd", self._streams[values[2]], *values[3:])
        elif member == "NotifyPointerMotion":
            self._remote("NotifyPointerMotionRelative", "dd", *values[2:])
        elif member in ("NotifyPointerButton", "NotifyKeyboardKeycode", "NotifyKeyboardKeysym"):
            kind = "i" if member == "NotifyPointerButton" else "u"
            self._remote(member, f"{kind}b", values[2], bool(values[3]))
        elif member == "NotifyPointerAxisDiscrete":
            self._remote(member, "ui", *values[2:])
        elif member == "OpenPipeWireRemote":
            with socket.socket(socket.AF_UNIX) as pipewire:
                pipewire.connect(os.path.join(os.environ["XDG_RUNTIME_DIR"], "pipewire-0"))
                return "h", (os.dup(pipewire.fileno()),)
        elif member == "SetSelection":
            self._remote(member, "a{sv}", {"mime-types": ("as", values[1]["mime_types"][1])})
        elif member in ("SelectionWrite", "SelectionRead"):
            (descriptor,) = self._remote(member, "u" if member == "SelectionWrite" else "s", values[1])
            return "h", (descriptor.to_raw_fd(),)
        elif member == "SelectionWriteDone":
            self._remote(member, "ub", *values[1:])
        elif member == "Close":
            self._remote("Stop")
        else:
            return super().answer(member, sender, *values)
        return "", ()
