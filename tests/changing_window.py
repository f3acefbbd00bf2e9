"""A window that changes on command while a run asks or thinks: ``changing_window.py CONTROL LOG``.

Each line appended to CONTROL is carried out and then answered by "did LINE" in LOG, which also has what was clicked and
typed. Commands: ``label TEXT``, ``colour COLOUR TEXT``, ``field NAME`` (gives a field the keyboard), ``window TITLE``
(another window gets it), ``dialog`` (a window over the button), ``swap`` (the fields change places), ``steal``
(another window gets the keyboard with the next letter), ``move X Y``.
"""

import sys
import tkinter

control, log = sys.argv[1:]


def note(line: str) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def field(parent: tkinter.Misc, name: str) -> tkinter.Entry:
    entry = tkinter.Entry(parent, width=20)
    entry.bind("<Key>", lambda event: note(f"{name}: {event.keysym}"))
    return entry


def place_fields() -> None:
    for number, name in enumerate(order):
        labels[name].place(x=40, y=180 + 90 * number)
        fields[name].place(x=200, y=180 + 90 * number)


def window(title: str, place: str = "300x120+330+340") -> tkinter.Toplevel:
    top = tkinter.Toplevel(root)
    top.title(title)
    top.geometry(place)
    entry = field(top, title)
    entry.pack(padx=30, pady=40)
    top.lift()
    top.focus_force()
    entry.focus_force()
    return top


def carry_out(line: str) -> None:
    what, _, rest = line.partition(" ")
    if what == "label":
        button.config(text=rest)
    elif what == "colour":
        colour, _, text = rest.partition(" ")
        button.config(text=text, background=colour, foreground="white")
    elif what == "field":
        fields[rest].focus_force()
    elif what == "window":
        window(rest)
    elif what == "dialog":
        top = tkinter.Toplevel(root)
        top.geometry("240x100+20+20")
        tkinter.Button(top, text="Delete all", command=lambda: note("clicked Delete all")).pack(expand=1, fill="both")
        top.lift()
    elif what == "swap":
        order.reverse()
        place_fields()
    elif what == "steal":
        root.bind_all("<Key>", lambda _: (root.unbind_all("<Key>"), window("Thief")))
    elif what == "move":
        x, y = rest.split()
        root.geometry(f"+{x}+{y}")
    root.update()


def poll() -> None:
    global done
    with open(control, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for line in lines[done:]:
        carry_out(line)
        note(f"did {line}")
    done = len(lines)
    root.after(20, poll)


done = 0
root = tkinter.Tk()
root.title("Form")
root.geometry("640x420+0+0")
root.option_add("*Font", "Helvetica 20")
root.option_add("*Entry.insertOffTime", "0")
button = tkinter.Button(root, text="Keep", command=lambda: note(f"clicked {button['text']}"))
button.place(x=40, y=40, width=200, height=60)
order = ["Name", "Amount"]
labels = {name: tkinter.Label(root, text=name) for name in order}
fields = {name: field(root, name) for name in order}
place_fields()
root.update()
note("ready")
poll()
root.mainloop()
