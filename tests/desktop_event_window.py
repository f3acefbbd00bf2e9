"""A window over the whole screen that reports every event it receives, one JSON object per line.

Run with DISPLAY set; optional arguments: the window's class name, and the seed of the coloured marks to paint.
The first line on stdout is ``{"type": "ready", "marks": [[x, y, r, g, b], ...]}``, each mark a square of 5 pixels
around (x, y). A line on stdin is answered with ``{"type": "sync"}`` after every event that happened before it.
"""

import json
import random
import select
import sys

import Xlib.display
import Xlib.X
import Xlib.XK

MARK_RADIUS = 2
_KEY_NAMES = {getattr(Xlib.XK, name): name[3:] for name in dir(Xlib.XK) if name.startswith("XK_")}
_NAMES = {
    Xlib.X.ButtonPress: "press",
    Xlib.X.ButtonRelease: "release",
    Xlib.X.MotionNotify: "motion",
    Xlib.X.KeyPress: "key_press",
    Xlib.X.KeyRelease: "key_release",
}


def report(**values):
    print(json.dumps(values), flush=True)


def paint_marks(display, window, width, height, seed):
    rng, marks = random.Random(seed), []
    # A grid of cells, so that no mark covers another; every mark has a colour of its own.
    for i, (column, row) in enumerate((c, r) for c in range(4) for r in range(4)):
        x = rng.randrange(column * width // 4 + 4, (column + 1) * width // 4 - 4)
        y = rng.randrange(row * height // 4 + 4, (row + 1) * height // 4 - 4)
        red, green, blue = 255, 16 * i, 255 - 16 * i
        gc = window.create_gc(foreground=red << 16 | green << 8 | blue)
        window.fill_rectangle(gc, x - MARK_RADIUS, y - MARK_RADIUS, 2 * MARK_RADIUS + 1, 2 * MARK_RADIUS + 1)
        marks.append([x, y, red, green, blue])
    display.sync()
    return marks


def main(class_name="events", seed="0"):
    display = Xlib.display.Display()
    screen = display.screen()
    width, height = screen.width_in_pixels, screen.height_in_pixels
    mask = (
        Xlib.X.ButtonPressMask
        | Xlib.X.ButtonReleaseMask
        | Xlib.X.PointerMotionMask
        | Xlib.X.KeyPressMask
        | Xlib.X.KeyReleaseMask
        | Xlib.X.ExposureMask
    )
    window = screen.root.create_window(
        0, 0, width, height, 0, screen.root_depth, event_mask=mask, override_redirect=1, background_pixel=0x102030
    )
    window.set_wm_class(class_name, class_name)
    window.set_wm_name("Event window")
    protocols, ping = display.intern_atom("WM_PROTOCOLS"), display.intern_atom("_NET_WM_PING")
    window.set_wm_protocols([ping])
    window.map()
    while display.next_event().type != Xlib.X.Expose:
        pass
    window.set_input_focus(Xlib.X.RevertToParent, Xlib.X.CurrentTime)
    report(type="ready", marks=paint_marks(display, window, width, height, int(seed)))

    def drain():
        while display.pending_events():
            event = display.next_event()
            if event.type == Xlib.X.MappingNotify:
                display.refresh_keyboard_mapping(event)
            elif event.type in (Xlib.X.KeyPress, Xlib.X.KeyRelease):
                keysym = display.keycode_to_keysym(event.detail, 0)
                report(type=_NAMES[event.type], key=_KEY_NAMES.get(keysym, f"{keysym:#x}"), state=event.state)
            elif event.type & 0x7F == Xlib.X.ClientMessage and event.client_type == protocols:
                # "I am alive": the question goes back to the root window.
                event.window = screen.root
                screen.root.send_event(event, Xlib.X.SubstructureNotifyMask | Xlib.X.SubstructureRedirectMask)
                display.flush()
            elif event.type in _NAMES:
                report(type=_NAMES[event.type], x=event.root_x, y=event.root_y, button=event.detail)

    while True:
        drain()
        ready = select.select([display.fileno(), sys.stdin], [], [], 0.2)[0]
        if sys.stdin in ready:
            if not sys.stdin.readline():
                return
            display.sync()
            drain()
            report(type="sync")


if __name__ == "__main__":
    main(*sys.argv[1:])
