"""Windows with one field each, for the tests of replacing text: `replacing_windows.py TOOLKIT KIND TEXT`.

The title of the window is what the field holds, in brackets and with | for line ends; the field is in the middle of
the window. GTK and Qt are run by the system's Python, Tk by the one that runs the tests.
"""

import sys


def title(text: str) -> str:
    """Return the title for a text; titles have no line ends."""
    return "[" + text.replace("\n", "|") + "]"


def gtk(kind: str, text: str) -> None:
    import gi

    gi.require_version("Gtk", "3.0")
    from gi.repository import Gtk

    window = Gtk.Window(title="")
    if kind == "area":
        widget = Gtk.TextView()
        source = widget.get_buffer()
        source.set_text(text)

        def held() -> str:
            return source.get_text(source.get_start_iter(), source.get_end_iter(), True)

    elif kind == "combo":
        widget = Gtk.ComboBoxText.new_with_entry()
        widget.append_text("Ada Byron")
        widget.append_text("Grace")
        source = widget.get_child()
        source.set_text(text)
        held = source.get_text
    elif kind == "spin":
        widget = source = Gtk.SpinButton.new_with_range(0, 99999, 1)
        source.set_value(float(text))
        held = source.get_text
    else:
        widget = source = Gtk.Entry(text=text, visibility=kind != "password")
        held = source.get_text
        if kind == "selected":
            source.connect("map", lambda entry: entry.select_region(2, 5))
    source.connect("changed", lambda _: window.set_title(title(held())))
    window.add(widget)
    window.set_default_size(400, 120)
    window.set_position(Gtk.WindowPosition.CENTER)
    window.connect("destroy", Gtk.main_quit)
    window.show_all()
    window.set_title(title(held()))
    window.present()
    Gtk.main()


def qt(kind: str, text: str) -> None:
    from PyQt5.QtWidgets import QApplication, QComboBox, QLineEdit, QPlainTextEdit, QSpinBox

    application = QApplication([])
    if kind == "area":
        widget = QPlainTextEdit(text)
        changed, held = widget.textChanged, widget.toPlainText
    elif kind == "combo":
        widget = QComboBox(editable=True)
        widget.setCompleter(None)
        widget.addItems(["Ada Byron", "Grace"])
        widget.setEditText(text)
        changed, held = widget.editTextChanged, widget.currentText
    elif kind == "spin":
        widget = QSpinBox(maximum=99999, value=int(text))
        changed, held = widget.lineEdit().textChanged, widget.lineEdit().text
    else:
        widget = QLineEdit(text)
        widget.setEchoMode(QLineEdit.Password if kind == "password" else QLineEdit.Normal)
        changed, held = widget.textChanged, widget.text
    changed.connect(lambda *_: widget.setWindowTitle(title(held())))
    widget.setWindowTitle(title(held()))
    widget.resize(400, 60)
    screen = application.primaryScreen().geometry()
    widget.move(screen.width() // 2 - 200, screen.height() // 2 - 40)
    widget.show()
    widget.activateWindow()
    application.exec_()


def tk(kind: str, text: str) -> None:
    import tkinter

    window = tkinter.Tk(className="Anything")
    if kind == "area":
        widget = tkinter.Text(window, width=40, height=6)
        widget.insert("1.0", text)

        def held() -> str:
            return widget.get("1.0", "end-1c")

    else:
        make = {"spin": tkinter.Spinbox}.get(kind, tkinter.Entry)
        widget = make(window, show="*" if kind == "password" else "") if kind != "spin" else make(window, to=99999)
        widget.delete(0, "end")
        widget.insert(0, text)
        held = widget.get
    widget.pack(expand=True, fill="both")
    window.geometry("400x120+200+200")

    def tell() -> None:
        window.title(title(held()))
        window.after(50, tell)

    tell()
    window.mainloop()


if __name__ == "__main__":
    {"gtk": gtk, "qt": qt, "tk": tk}[sys.argv[1]](sys.argv[2], sys.argv[3])
