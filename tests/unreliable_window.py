"""A window whose controls behave as badly as real ones sometimes do; run as a program with the name of the case.

``late-dialog``: a dialog opens 1.5 seconds after its button was clicked. ``dead-button``: a button lights up under the
pointer and does nothing. ``deaf-field``: a field takes the focus and no text. ``loose-tick``: a check box is ticked and
loses the tick at once. ``good-field``: a field that works. ``slow-start``: the window opens after three seconds, with
the case ``late-dialog``.
"""

import sys
import time
import tkinter


def main(case: str) -> None:
    if case == "slow-start":
        time.sleep(3)
    root = tkinter.Tk()
    root.title("Unreliable")
    root.geometry("640x420")
    root.option_add("*Font", "Helvetica 20")

    if case in ("late-dialog", "slow-start"):
        dialog = tkinter.Frame(root, relief="raised", borderwidth=4)
        tkinter.Button(dialog, text="Apply", command=dialog.place_forget).pack(padx=60, pady=40)
        show = lambda: dialog.place(x=250, y=200)  # noqa: E731
        tkinter.Button(root, text="Settings", relief="flat", command=lambda: root.after(1500, show)).place(x=40, y=40)
    elif case == "dead-button":
        tkinter.Button(root, text="Archive", activebackground="#80c0ff", takefocus=False, relief="flat").place(
            x=40, y=40
        )
    elif case in ("deaf-field", "good-field"):
        tkinter.Label(root, text="City").place(x=40, y=40)
        field = tkinter.Entry(root, width=20)
        for event in ("<Key>", "<<Paste>>") if case == "deaf-field" else ():
            field.bind(event, lambda _: "break")
        field.place(x=140, y=40)
    elif case == "loose-tick":
        ticked = tkinter.IntVar()
        box = tkinter.Checkbutton(root, text="Remember", variable=ticked, takefocus=False)
        box.configure(command=lambda: root.after(60, lambda: ticked.set(0)))
        box.place(x=40, y=40)
    root.mainloop()


if __name__ == "__main__":
    main(sys.argv[1])
