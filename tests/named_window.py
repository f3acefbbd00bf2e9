"""A GTK window of icons without words, for the tests of names: `named_window.py NAME|DESCRIPTION ...`.

Run by the system's Python. Button number n is 60 x 60 units large, at (20 + 80 n, 20). A name that begins with "-" is
left out, so that the tooltip alone names the button.
"""

import sys

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import Gtk  # noqa: E402

window, fixed = Gtk.Window(title="Bench"), Gtk.Fixed()
for number, words in enumerate(sys.argv[1:]):
    name, _, description = words.partition("|")
    button = Gtk.Button.new_from_icon_name("face-smile", Gtk.IconSize.BUTTON)
    button.set_size_request(60, 60)
    if not name.startswith("-"):
        button.get_accessible().set_name(name)
    if description:
        button.set_tooltip_text(description)
    fixed.put(button, 20 + 80 * number, 20)
window.add(fixed)
window.set_default_size(80 * len(sys.argv) + 20, 100)
window.connect("destroy", Gtk.main_quit)
window.show_all()
window.present()
Gtk.main()
