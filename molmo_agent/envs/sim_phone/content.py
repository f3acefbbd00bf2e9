"""The content of a sampled phone: apps, people, notes, alarms, messages, goods. All of it is invented."""

import random

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.canvas import mix
from molmo_agent.envs.drawing.icons import COLORS
from molmo_agent.envs.drawing.words import WordSplit
from molmo_agent.envs.sim_phone.looks import sample_look
from molmo_agent.envs.sim_phone.state import Alarm, App, Contact, Note, Phone, Product, Thread

DOCK = ("Phone", "Messages", "Browser", "Camera")
# Label, package, icon, colour. The home screen shows them in a sampled order, the dock last.
APPS: tuple[App, ...] = (
    App("Settings", "com.android.settings", "gear", (92, 102, 118)),
    App("Clock", "com.android.deskclock", "clock", (58, 64, 140)),
    App("Contacts", "com.android.contacts", "user", (40, 126, 214)),
    App("Notes", "org.example.notes", "edit", (238, 170, 30)),
    App("Shop", "org.example.shop", "cart", (222, 84, 62)),
    App("Calendar", "org.example.calendar", "calendar", (52, 120, 235)),
    App("Photos", "org.example.photos", "picture", (150, 84, 200)),
    App("Music", "org.example.music", "music", (226, 62, 110)),
    App("Maps", "org.example.maps", "pin", (44, 160, 92)),
    App("Mail", "org.example.mail", "mail", (206, 60, 54)),
    App("Weather", "org.example.weather", "sun", (66, 160, 226)),
    App("Files", "org.example.files", "folder", (88, 132, 176)),
    App("Calculator", "com.android.calculator2", "keypad", (70, 78, 86)),
    App("Phone", "com.android.dialer", "handset", (38, 158, 84)),
    App("Messages", "com.android.messaging", "bubble", (48, 112, 230)),
    App("Browser", "org.example.browser", "globe", (30, 140, 160)),
    App("Camera", "com.android.camera2", "camera", (72, 76, 84)),
)

SWITCHES = (
    "Wi-Fi",
    "Bluetooth",
    "Airplane mode",
    "Mobile data",
    "Location",
    "Dark theme",
    "Do not disturb",
    "Battery saver",
    "Auto-rotate",
    "Hotspot",
    "Nearby share",
    "Vibrate on touch",
)
SLIDERS = ("Brightness", "Media volume", "Ring volume")

_THINGS = (
    "mug",
    "lamp",
    "chair",
    "backpack",
    "kettle",
    "clock",
    "pillow",
    "notebook",
    "umbrella",
    "scarf",
    "bowl",
    "vase",
)
_TITLES = ("Groceries", "Ideas", "To do", "Books", "Recipes", "Trip", "Birthday", "Workout", "Wishlist", "Meeting")
_GREETINGS = (
    "See you at eight?",
    "Thanks a lot!",
    "I am on my way",
    "Can you call me back?",
    "Happy birthday!",
    "The train is late",
    "Lunch tomorrow?",
    "Sounds good",
    "Did you get the keys?",
    "Good night",
)
_DAYS = ("Every day", "Mon - Fri", "Weekends", "Mon, Wed", "Tomorrow")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "March", "April", "June", "July", "September", "October", "November")
_SHAPES = ("circle", "square", "triangle", "star", "diamond", "hexagon", "heart", "ring")


def make_phone(
    seed: int, width: int = 360, height: int = 640, *, theme: str | None = None, split: WordSplit = "all"
) -> Phone:
    """Make a phone with everything on it.

    Args:
        seed: the same seed makes the same phone.
        width: pixels, held upright.
        height: pixels, held upright.
        theme: "light" or "dark"; None: by seed.
        split: which words its texts are made of.
    """
    rng = random.Random(f"phone {seed}")
    others = [app for app in APPS if app.label not in DOCK]
    always, optional = others[:5], others[5:]
    apps = [*always, *rng.sample(optional, rng.randint(4, len(optional)))]
    rng.shuffle(apps)
    people = sorted({words.person(rng, split) for _ in range(rng.randint(24, 36))})
    dark = rng.random() < 0.35 if theme is None else theme == "dark"
    style, side = rng.getrandbits(32), min(width, height)
    light, night = (sample_look(random.Random(style), side, dark=value) for value in (False, True))
    hours = sorted(rng.sample(range(5, 23), rng.randint(2, 5)))
    return Phone(
        width=width,
        height=height,
        looks=(light, night),
        apps=[*apps, *(app for label in DOCK for app in APPS if app.label == label)],
        clock=f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}",
        date=f"{rng.choice(_WEEKDAYS)}, {rng.randint(1, 30)} {rng.choice(_MONTHS)}",
        charge=rng.randint(18, 100),
        contacts=[
            Contact(name, f"+00 {rng.randint(100, 999)} {rng.randint(1000, 9999)}", _address(name)) for name in people
        ],
        notes=[Note(title, _sentence(rng, split)) for title in rng.sample(_TITLES, rng.randint(3, 6))],
        alarms=[
            Alarm(f"{hour:02d}:{rng.choice((0, 10, 20, 40, 50)):02d}", rng.choice(_DAYS), rng.random() < 0.5)
            for hour in hours
        ],
        threads=[_thread(rng, name) for name in rng.sample(people, rng.randint(5, 8))],
        products=_products(rng),
        switches={label: rng.random() < 0.5 for label in SWITCHES} | {"Dark theme": dark, "Airplane mode": False},
        levels={label: rng.uniform(0.3, 0.7) for label in SLIDERS},
        headlines={app.label: [_sentence(rng, split) for _ in range(rng.randint(5, 9))] for app in APPS},
    )


def _address(name: str) -> str:
    return name.casefold().replace(" ", ".") + "@mail.example"


def _sentence(rng: random.Random, split: WordSplit) -> str:
    return " ".join(words.word(rng, split).casefold() for _ in range(rng.randint(2, 5))).capitalize()


def _thread(rng: random.Random, name: str) -> Thread:
    texts = rng.sample(_GREETINGS, rng.randint(2, 4))
    return Thread(name, [(rng.random() < 0.5, text) for text in texts], f"{rng.randint(8, 21)}:{rng.randint(10, 59)}")


def _products(rng: random.Random) -> list[Product]:
    pairs = [(color, thing) for color in COLORS for thing in _THINGS if color not in ("white", "black")]
    return [
        Product(
            f"{color.capitalize()} {thing}",
            f"${rng.randint(4, 90)}.{rng.choice(('00', '49', '95'))}",
            rng.choice(_SHAPES),
            mix(COLORS[color], (255, 255, 255), 0.1),
        )
        for color, thing in rng.sample(pairs, rng.randint(10, 14))
    ]
