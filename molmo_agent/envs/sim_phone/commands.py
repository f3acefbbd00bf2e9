"""The effects of commands on the state of a phone."""

from molmo_agent.envs.sim_phone.pages import Command
from molmo_agent.envs.sim_phone.state import Alarm, Note, Overlay, Phone

# The menu of a long press, by the kind of thing that is pressed.
_MENUS = {
    "app": ("App info", "Remove"),
    "note": ("Pin", "Share", "Delete"),
    "contact": ("Call", "Copy number"),
    "alarm": ("Duplicate", "Delete"),
}


def perform(phone: Phone, command: Command, at: tuple[int, int] = (0, 0)) -> None:
    """Execute the command of a control.

    Args:
        phone: changed in place.
        command: from an item of a page or a choice of a menu; an empty one does nothing.
        at: where the finger was, pixels; menus open there.
    """
    match command:
        case ("back",):
            phone.back()
        case ("home",):
            phone.home()
        case ("launch", label):
            phone.launch(phone.app(label))
        case ("open", app, page):
            phone.go(app, page)
        case ("open", "Notes", "note", title):
            note = next(note for note in phone.notes if note.title == title)
            phone.go("Notes", "note", title)
            phone.fields |= {"Title": note.title, "Text": note.body}
        case ("open", app, page, about):
            phone.go(app, page, about)
        case ("toggle", label):
            phone.switches[label] = not phone.switches[label]
        case ("alarm", time):
            alarm = next(alarm for alarm in phone.alarms if alarm.time == time)
            alarm.on = not alarm.on
        case ("choose", which, value):
            phone.alarm_time[int(which)] = value.removeprefix(":")
        case ("save alarm",):
            _save_alarm(phone)
        case ("new note",):
            phone.go("Notes", "note")
            phone.fields |= {"Title": "", "Text": ""}
        case ("save note",):
            _save_note(phone)
        case ("send", name):
            _send(phone, name)
        case ("add", product):
            phone.cart.append(product)
        case ("menu", kind, about):
            choices = [(label, (label, kind, about)) for label in _MENUS[kind]]
            phone.overlay = Overlay(about, "", choices, at)
        case ("Pin", "note", title):
            phone.overlay = None
            for note in phone.notes:
                note.pinned |= note.title == title
        case ("Delete", kind, about):
            sure = [("Cancel", ("dismiss",)), ("Delete", ("delete", kind, about))]
            phone.overlay = Overlay(f"Delete {about}?", "It cannot be brought back.", sure)
        case ("delete", kind, about):
            phone.overlay = None
            phone.notes = [note for note in phone.notes if (kind, note.title) != ("note", about)]
            phone.alarms = [alarm for alarm in phone.alarms if (kind, alarm.time) != ("alarm", about)]
        case (_, *_):
            # A choice without consequences, "dismiss" among them.
            phone.overlay = None


def _save_alarm(phone: Phone) -> None:
    time = ":".join(phone.alarm_time)
    phone.alarms = [alarm for alarm in phone.alarms if alarm.time != time]
    phone.alarms.append(Alarm(time, "Tomorrow", True))
    phone.alarms.sort(key=lambda alarm: alarm.time)
    phone.back()


def _save_note(phone: Phone) -> None:
    title, text = phone.fields.get("Title", ""), phone.fields.get("Text", "")
    old = phone.top.about if phone.top else ""
    existing = next((note for note in phone.notes if note.title == old), None)
    if existing is not None:
        existing.title, existing.body = title, text
    elif title or text:
        phone.notes.insert(0, Note(title or text.split("\n")[0][:24], text))
    phone.leave_field()
    phone.back()


def _send(phone: Phone, name: str) -> None:
    text = phone.fields.get("Message", "")
    if text:
        thread = next(thread for thread in phone.threads if thread.name == name)
        thread.messages.append((True, text))
        phone.fields["Message"] = ""
