"""A window that reacts late, or whose keyboard focus is taken away: ``slow_window.py CASE LOG [SECONDS]``.

Every key press that a part receives, every press of a button and every text is written to LOG as a line.

``late-window``: "Open notes" opens a window with a field after SECONDS; the button keeps the focus, with a ring.
``late-list``: "Country" opens a list of two buttons after SECONDS. ``stolen-before-text``: a dialog takes the keyboard
when the field is clicked. ``stolen-before-enter``: the same SECONDS after the first letter. ``password``, ``limit``,
``capitals``, ``read-only``, ``plain``: a field that shows bullets, keeps five letters, all in capitals, none, or all.
``loose-tick``: a check box that loses its tick after SECONDS.
"""

import sys
import tkinter

case, log = sys.argv[1:3]
wait_ms = int(1000 * float(sys.argv[3])) if len(sys.argv) > 3 else 0


def note(line: str) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def field(parent: tkinter.Misc, name: str, **options: object) -> tkinter.Entry:
    text = tkinter.StringVar()
    text.trace_add("write", lambda *_: note(f"{name}: {text.get()}"))
    entry = tkinter.Entry(parent, textvariable=text, width=24, **options)
    entry.bind("<Return>", lambda _: note(f"{name} ENTER: {text.get()}"))
    entry.text = text
    return entry


def dialog(_: object = None) -> None:
    window = tkinter.Toplevel(root)
    window.title("Warning")
    window.geometry("300x120+330+320")
    button = tkinter.Button(window, text="Delete all", command=lambda: note("DELETED"))
    button.bind("<Key>", lambda event: note(f"Warning: {event.keysym}"))
    button.bind("<Return>", lambda _: button.invoke())
    button.pack(padx=40, pady=30)
    window.focus_force()
    button.focus_force()
    note("Warning shown")


root = tkinter.Tk()
root.title("Slow")
root.geometry("640x420+0+0")
root.option_add("*Font", "Helvetica 20")

if case == "late-window":

    def notes() -> None:
        window = tkinter.Toplevel(root)
        window.title("Notes")
        window.geometry("420x160+60+220")
        entry = field(window, "Notes")
        entry.pack(padx=30, pady=50)
        window.focus_force()
        entry.focus_force()

    opener = tkinter.Button(root, text="Open notes", highlightthickness=3, highlightcolor="blue")
    opener.bind("<Button-1>", lambda _: opener.focus_set())
    opener.bind("<Key>", lambda event: note(f"Launcher: {event.keysym}"))
    opener.configure(command=lambda: root.after(wait_ms, notes))
    opener.place(x=40, y=40)
elif case == "late-list":
    popup = tkinter.Frame(root, relief="raised", borderwidth=4)

    def choose(land: str) -> None:
        note(f"chose {land}")
        popup.place_forget()

    for land in ("France", "Germany"):
        tkinter.Button(popup, text=land, command=lambda land=land: choose(land)).pack(fill="x", padx=60)

    def toggle() -> None:
        note("toggled")
        popup.place_forget() if popup.winfo_ismapped() else popup.place(x=40, y=110)

    opener = tkinter.Button(root, text="Country", relief="flat", takefocus=False)
    opener.configure(command=lambda: root.after(wait_ms, toggle))
    opener.place(x=40, y=40)
elif case == "loose-tick":
    ticked = tkinter.IntVar()
    box = tkinter.Checkbutton(root, text="Remember", variable=ticked, takefocus=False)
    box.configure(command=lambda: root.after(wait_ms, lambda: ticked.set(0)))
    box.place(x=40, y=40)
else:
    tkinter.Label(root, text="City").place(x=40, y=40)
    options = {"password": {"show": "*"}, "read-only": {"state": "readonly"}}.get(case, {})
    city = field(root, "City", **options)
    city.place(x=140, y=40)
    if case == "stolen-before-text":
        city.bind("<Button-1>", lambda _: root.after(100, dialog))
    elif case == "stolen-before-enter":
        letters = []
        city.bind("<Key>", lambda _: letters or (letters.append(1), root.after(wait_ms, dialog)))
    elif case == "limit":
        city.text.trace_add("write", lambda *_: city.text.set(city.text.get()[:5]))
    elif case == "capitals":
        city.text.trace_add("write", lambda *_: city.text.set(city.text.get().upper()))
root.mainloop()
