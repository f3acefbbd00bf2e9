"""The items of every page of every app, from top to bottom.

An item's ``press`` and ``hold`` are commands for :func:`molmo_agent.envs.sim_phone.commands.perform`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from molmo_agent.envs.drawing.canvas import Color
from molmo_agent.envs.sim_phone.state import Phone, Product, Screenful

Command = tuple[str, ...]
HOURS = tuple(f"{hour:02d}" for hour in range(24))
MINUTES = tuple(f"{minute:02d}" for minute in range(0, 60, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing on a page. Which fields mean something depends on ``kind``."""

    # One of the keys of ``draw_items.DRAW``.
    kind: str
    label: str = ""
    detail: str = ""
    # At the right end of a row.
    note: str = ""
    icon: str = ""
    color: Color | None = None
    # Switches and chips.
    checked: bool = False
    # Sliders: 0 to 1.
    level: float = 0.0
    # Message bubbles: written by the owner.
    own: bool = False
    # Fields: lines of text that they are high.
    lines: int = 1
    # Chips of one block.
    parts: tuple["Item", ...] = ()
    press: Command = ()
    hold: Command = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of an app."""

    title: str
    items: list[Item]
    # Icons at the right end of the title bar.
    actions: list[Item] = field(default_factory=list)
    # The large button over the lower right corner.
    floating: Item | None = None
    # What stays at the bottom while the items scroll.
    footer: list[Item] = field(default_factory=list)
    # Items side by side, where they are cards.
    columns: int = 1


def page_of(phone: Phone, screenful: Screenful) -> Page:
    """Return the page that an entry of the back stack stands for."""
    build = _PAGES.get((screenful.app.label, screenful.page), _headlines)
    return build(phone, screenful)


def _switch(phone: Phone, label: str, icon: str, detail: str = "") -> Item:
    on = phone.switches[label]
    detail = detail or ("On" if on else "Off")
    return Item(kind="switch", label=label, detail=detail, icon=icon, checked=on, press=("toggle", label))


def _link(label: str, detail: str, icon: str, page: str) -> Item:
    return Item(kind="row", label=label, detail=detail, icon=icon, note=">", press=("open", "Settings", page))


def _settings(phone: Phone, screenful: Screenful) -> Page:
    return Page(
        title="Settings",
        items=[
            Item(kind="heading", label="Network"),
            _switch(phone, "Wi-Fi", "wifi", "Home network" if phone.switches["Wi-Fi"] else ""),
            _switch(phone, "Bluetooth", "bluetooth"),
            _switch(phone, "Airplane mode", "plane"),
            _switch(phone, "Mobile data", "signal"),
            _switch(phone, "Hotspot", "globe"),
            Item(kind="heading", label="Device"),
            _link("Display", "Brightness, theme, rotation", "sun", "display"),
            _link("Sound", "Volume, vibration", "speaker", "sound"),
            _switch(phone, "Battery saver", "battery", f"{phone.charge}% charged"),
            _switch(phone, "Do not disturb", "moon"),
            Item(kind="heading", label="Privacy"),
            _switch(phone, "Location", "pin"),
            _switch(phone, "Nearby share", "upload"),
            _link("About phone", "Model, version", "file", "about"),
        ],
    )


def _slider(phone: Phone, label: str, icon: str) -> Item:
    return Item(kind="slider", label=label, icon=icon, level=phone.levels[label])


def _display(phone: Phone, screenful: Screenful) -> Page:
    items = [
        _slider(phone, "Brightness", "sun"),
        _switch(phone, "Dark theme", "moon"),
        _switch(phone, "Auto-rotate", "rotate"),
    ]
    return Page(title="Display", items=items)


def _sound(phone: Phone, screenful: Screenful) -> Page:
    items = [
        _slider(phone, "Media volume", "music"),
        _slider(phone, "Ring volume", "bell"),
        _switch(phone, "Vibrate on touch", "speaker"),
    ]
    return Page(title="Sound", items=items)


def _about(phone: Phone, screenful: Screenful) -> Page:
    facts = (("Model", "Simulated phone"), ("Version", "1"), ("Screen", f"{phone.width} x {phone.height}"))
    return Page(title="About phone", items=[Item(kind="row", label=name, detail=value) for name, value in facts])


def _alarms(phone: Phone, screenful: Screenful) -> Page:
    items = [
        Item(
            kind="alarm",
            label=alarm.time,
            detail=alarm.days,
            checked=alarm.on,
            press=("alarm", alarm.time),
            hold=("menu", "alarm", alarm.time),
        )
        for alarm in phone.alarms
    ]
    add = Item(kind="floating", label="Add alarm", icon="plus", press=("open", "Clock", "new"))
    return Page(title="Clock", items=items, floating=add)


def _new_alarm(phone: Phone, screenful: Screenful) -> Page:
    hour, minute = phone.alarm_time

    def chips(values: tuple[str, ...], selected: str, which: str) -> tuple[Item, ...]:
        return tuple(
            Item(kind="chip", label=value, checked=value == selected, press=("choose", which, value))
            for value in values
        )

    items = [
        Item(kind="hero", label=f"{hour}:{minute}"),
        Item(kind="heading", label="Hour"),
        Item(kind="chips", parts=chips(HOURS, hour, "0")),
        Item(kind="heading", label="Minute"),
        # Names of their own: "05" is an hour as well.
        Item(kind="chips", parts=chips(tuple(f":{value}" for value in MINUTES), f":{minute}", "1")),
    ]
    return Page(title="New alarm", items=items, actions=[_save("save alarm")])


def _save(command: str) -> Item:
    return Item(kind="action", label="Save", press=(command,))


def _contacts(phone: Phone, screenful: Screenful) -> Page:
    query = phone.fields.get("Search contacts", "").casefold()
    items = [Item(kind="field", label="Search contacts", icon="search")]
    letter = ""
    for contact in phone.contacts:
        if query not in contact.name.casefold():
            continue
        if contact.name[0] != letter:
            letter = contact.name[0]
            items.append(Item(kind="heading", label=letter))
        press = ("open", "Contacts", "contact", contact.name)
        items.append(Item(kind="person", label=contact.name, press=press, hold=("menu", "contact", contact.name)))
    return Page(title="Contacts", items=items)


def _contact(phone: Phone, screenful: Screenful) -> Page:
    contact = next(contact for contact in phone.contacts if contact.name == screenful.about)
    actions = (("Call", "handset"), ("Message", "bubble"), ("Video", "camera"))
    return Page(
        title="",
        items=[
            Item(kind="face", label=contact.name),
            Item(kind="trio", parts=tuple(Item(kind="round", label=label, icon=icon) for label, icon in actions)),
            Item(kind="row", label=contact.number, detail="Mobile", icon="handset"),
            Item(kind="row", label=contact.email, detail="Home", icon="mail"),
        ],
        actions=[Item(kind="action", label="Favourite", icon="star"), Item(kind="action", label="Edit", icon="edit")],
    )


def _notes(phone: Phone, screenful: Screenful) -> Page:
    notes = sorted(phone.notes, key=lambda note: not note.pinned)
    items = [
        Item(
            kind="card",
            label=note.title,
            detail=note.body,
            icon="star" if note.pinned else "",
            press=("open", "Notes", "note", note.title),
            hold=("menu", "note", note.title),
        )
        for note in notes
    ]
    add = Item(kind="floating", label="New note", icon="plus", press=("new note",))
    return Page(title="Notes", items=items, floating=add, columns=2)


def _note(phone: Phone, screenful: Screenful) -> Page:
    items = [Item(kind="field", label="Title"), Item(kind="field", label="Text", lines=5)]
    return Page(title="Note", items=items, actions=[_save("save note")])


def _threads(phone: Phone, screenful: Screenful) -> Page:
    items = [
        Item(
            kind="person",
            label=thread.name,
            detail=thread.messages[-1][1],
            note=thread.when,
            press=("open", "Messages", "thread", thread.name),
        )
        for thread in phone.threads
    ]
    return Page(title="Messages", items=items, actions=[Item(kind="action", label="Search", icon="search")])


def _thread(phone: Phone, screenful: Screenful) -> Page:
    thread = next(thread for thread in phone.threads if thread.name == screenful.about)
    items = [Item(kind="bubble", label=text, own=own) for own, text in thread.messages]
    footer = [
        Item(kind="field", label="Message"),
        Item(kind="action", label="Send", icon="send", press=("send", thread.name)),
    ]
    return Page(title=thread.name, items=items, footer=footer)


def _goods(product: Product) -> Item:
    press = ("open", "Shop", "product", product.name)
    return Item(
        kind="goods", label=product.name, detail=product.price, icon=product.shape, color=product.color, press=press
    )


def _cart(phone: Phone) -> Item:
    return Item(
        kind="action", label="Cart", icon="cart", note=str(len(phone.cart) or ""), press=("open", "Shop", "cart")
    )


def _shop(phone: Phone, screenful: Screenful) -> Page:
    return Page(title="Shop", items=list(map(_goods, phone.products)), actions=[_cart(phone)], columns=2)


def _product(phone: Phone, screenful: Screenful) -> Page:
    product = next(product for product in phone.products if product.name == screenful.about)
    items = [
        Item(kind="picture", label=product.name, icon=product.shape, color=product.color),
        Item(kind="hero", label=product.price, detail=product.name),
        Item(kind="button", label="Add to cart", checked=True, press=("add", product.name)),
        Item(kind="button", label="Save for later"),
    ]
    return Page(title="Shop", items=items, actions=[_cart(phone)])


def _in_cart(phone: Phone, screenful: Screenful) -> Page:
    items = [_goods(product) for name in phone.cart for product in phone.products if product.name == name]
    empty = [Item(kind="text", label="Nothing in the cart yet")]
    return Page(title="Cart", items=items or empty, columns=2 if items else 1)


def _headlines(phone: Phone, screenful: Screenful) -> Page:
    lines = phone.headlines[screenful.app.label]
    items = [
        Item(kind="row", label=line, detail=lines[number - 1], icon=screenful.app.icon)
        for number, line in enumerate(lines)
    ]
    return Page(title=screenful.app.label, items=items, actions=[Item(kind="action", label="Search", icon="search")])


_PAGES: dict[tuple[str, str], Callable[[Phone, Screenful], Page]] = {
    ("Settings", "main"): _settings,
    ("Settings", "display"): _display,
    ("Settings", "sound"): _sound,
    ("Settings", "about"): _about,
    ("Clock", "main"): _alarms,
    ("Clock", "new"): _new_alarm,
    ("Contacts", "main"): _contacts,
    ("Contacts", "contact"): _contact,
    ("Notes", "main"): _notes,
    ("Notes", "note"): _note,
    ("Messages", "main"): _threads,
    ("Messages", "thread"): _thread,
    ("Shop", "main"): _shop,
    ("Shop", "product"): _product,
    ("Shop", "cart"): _in_cart,
}
