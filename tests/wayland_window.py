"""A window of GTK over a whole Wayland monitor that reports what reaches it, one JSON object per line.

Run by the system's Python, which has GTK. At the top is a text field; below it an area that reports clicks and scrolls.
Arguments: the number of the monitor, and the text that the field holds at the start.
"""

import json
import sys

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gtk  # noqa: E402


def report(**values):
    print(json.dumps(values), flush=True)


def main(monitor="0", text=""):
    window = Gtk.Window(title="Target")
    box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL)
    field = Gtk.Entry(text=text)
    field.connect("changed", lambda entry: report(text=entry.get_text()))
    field.connect("activate", lambda entry: report(entered=entry.get_text()))
    box.add(field)
    area = Gtk.EventBox()
    area.add_events(Gdk.EventMask.ALL_EVENTS_MASK)

    def click(widget, event):
        report(type=event.type.value_nick, button=event.button, x=event.x_root, y=event.y_root)

    area.connect("button-press-event", click)
    area.connect("button-release-event", click)
    area.connect("motion-notify-event", lambda widget, event: report(type="motion", x=event.x_root, y=event.y_root))
    area.connect("scroll-event", lambda widget, event: report(type="scroll", by=event.get_scroll_deltas()[1:]))
    window.connect("key-press-event", lambda widget, event: report(key=Gdk.keyval_name(event.keyval)) or False)
    window.connect("key-release-event", lambda widget, event: report(key_up=Gdk.keyval_name(event.keyval)) or False)
    box.pack_start(area, True, True, 0)
    window.add(box)
    window.fullscreen_on_monitor(Gdk.Screen.get_default(), int(monitor))
    geometry = Gdk.Display.get_default().get_monitor(int(monitor)).get_geometry()

    sizes = []

    def draw(widget, context):
        size = widget.get_size()
        if size == (geometry.width, geometry.height) and len(sizes) < 2:
            sizes.append(size)
            if len(sizes) == 1:
                # The second drawing waits until the compositor has shown the first, which can be clicked then.
                widget.queue_draw()
            else:
                report(ready=size, field=field.get_allocated_height())
        return False

    window.connect_after("draw", draw)
    # Not the field, which would show its text as selected.
    area.set_can_focus(True)
    area.grab_focus()
    window.show_all()
    Gtk.main()


main(*sys.argv[1:])
