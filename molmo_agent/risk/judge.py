"""Whether a person must be asked before an action, and why.

An unknown word is a question, not a pass. What only shows, moves, opens or focuses something is free: known names of
that kind, fields, check boxes, titles of menus, tabs, entries of lists and links. Buttons with any other name are asked
about, and everything whose name says that it deletes, sends, pays, grants or ends something.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from molmo_agent.actions import (
    Back,
    Click,
    Done,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
    points_of,
)
from molmo_agent.episode import Decision, Observation, ScreenElement, Step
from molmo_agent.errors import MolmoAgentError
from molmo_agent.geometry import Point
from molmo_agent.pointers.icons.vocabulary import meanings_of
from molmo_agent.risk.chords import activates, danger_of_chord
from molmo_agent.risk.commit_words import risky_word
from molmo_agent.risk.folding import fold, without_icon
from molmo_agent.risk.harmless import (
    AGREE,
    CANCEL,
    CONSENT,
    ICONS_THAT_COMMIT,
    LOOKS,
    NO,
    SAVE_OR_KEEP,
    TRASH,
    is_harmless,
    is_harmless_icon,
    is_program,
)
from molmo_agent.risk.icon_meanings import COMMIT_ICONS
from molmo_agent.risk.same_names import has_words, is_key, is_nearly
from molmo_agent.risk.target import Target
from molmo_agent.risk.typed import danger_of_text
from molmo_agent.screen_text import TextReader

_QUESTION = re.compile(r"[?？؟]")
_YES_OR_NO = re.compile(r"[\[(]\s*(?:y(?:es)?\s*/\s*no?|j/n|o/n|s/n|t/n|д/н)\s*[\])]", re.IGNORECASE)
_MONEY = re.compile(
    r"[$€£¥₽₹₩₺]\s?\d|\d\s?(?:[$€£¥₽₹₩₺]|EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|JPY|CNY|KRW|INR)\b", re.IGNORECASE
)
# How a line of a terminal begins: "$ ", "ada@host:~# ", "C:\\>", ">>> ", "mysql> ", "PS C:\\>".
_PROMPT = re.compile(
    r"^\s*(?:[\w.-]+@[\w.-]+[:\s].{0,80})?[$#❯➜](?:\s|$)"
    r"|^(?:PS )?[A-Z]:\\[^>]{0,99}>|^>>>|^\w{1,20}[>=]#?(?:\s|$)"
)
# Fields in which Enter only looks something up.
_LOOK_UP = re.compile(
    r"search|find\b|filter|address|\burl\b|go to|look ?up|zoom|page\b|line\b|such|filtern|adresse\b|recherch|buscar|"
    r"búsqueda|cerca\b|ricerca|pesquis|procurar|zoek|szukaj|поиск|найти|искать|адрес|\bara\b|sök|搜索|搜尋|查找|地址|網址|"
    r"検索|アドレス|검색|주소|بحث",
    re.IGNORECASE,
)
_SENDS = re.compile(
    r"message|chat|reply|comment|post\b|tweet|nachricht|antwort|mensaje|消息|メッセージ|e-?mail address|shipping|"
    r"billing|street|postal|delivery",
    re.IGNORECASE,
)
_SLIDES = re.compile(
    r"\b(?:slider|scroll\w*|volume|brightness|zoom|resiz\w*|pan|select|highlight|"
    r"page|map|seek|progress|title ?bar|handle|border)\b",
    re.IGNORECASE,
)
_VERBS = re.compile(
    r"^\s*(?:(?:double|right|left|middle|triple)[- ]?)?(?:click|press|tap|hit|choose|select|touch|push|open|"
    r"long[- ]press)(?:\s+(?:on|in|into|the|a|an))*\s+",
    re.IGNORECASE,
)
_THINGS = re.compile(
    r"\b(?:link|tab|menu|drop-?down|combo ?box|list ?box|field|text ?box|row|entry|result|article|photo|image|"
    r"video|thumbnail|check ?box|radio|switch|toggle|app)\b|^\s*(?:un)?(?:tick|check)\b",
    re.IGNORECASE,
)
# What shows or chooses something by its kind, if the words under the point are the ones that were asked for.
_ENTRIES = re.compile(
    r"\b(?:link|tab|menu item|menu entry|list (?:item|entry)|tree (?:item|node)|row|entry|article|check ?box|"
    r"radio button|column header|heading)\b",
    re.IGNORECASE,
)
# What opens a list where its arrow was read as well.
_LIST = re.compile(r"\b(?:drop-?down|combo ?box|list)\b", re.IGNORECASE)
_ARROWS = ("▼", "▾", "▿", "⌄", "∨")
# A swipe that scrolls moves less than this across, and more along, in fractions of the screen.
_STRAIGHT = 0.1
# Names of buttons are hardly longer.
_BUTTON_WORDS = 4
# Longer names and descriptions for screen readers are contents and explanations, which may speak of anything.
_NAME_WORDS = 8

NamesAt = Callable[[Point], Sequence[ScreenElement]]
"""Returns what programs call what lies at a point; none where they do not say."""


def why_ask(
    decision: Decision,
    instruction: str = "",
    observation: Observation | None = None,
    reader: TextReader | None = None,
    history: Sequence[Step] = (),
    names: NamesAt | None = None,
) -> str:
    """Return why a person must be asked before an action is sent, or an empty string.

    Args:
        decision: the action, the part of the instruction that it serves, and the model's answer.
        instruction: the whole instruction, for policies that do not name the current part.
        observation: the screen that the points refer to; None: only words, keys and text are judged.
        reader: reads the screen; None while there is an observation: nothing under a point is known.
        history: the steps before, which tell where text was typed.
        names: asked for what programs call what is under the points. That can add a question; it answers one only
            where a name is unknown and the program says that it is of a tab, a menu, a list, a check box or a field.
    """
    match decision.action:
        case Click() | LongPress() | Drag() as action:
            return _pointed(action, decision, decision.instruction or instruction, observation, reader, names)
        case Key(keys=keys) if activates(keys):
            return _enter(keys, observation, reader, history)
        case _:
            return known_danger(decision, instruction)


def known_danger(decision: Decision, instruction: str = "") -> str:
    """Return why an action is risky by its keys, its text and the words about its target alone, or an empty string."""
    said = decision.instruction or instruction
    match decision.action:
        case Wait() | Done() | Move() | Scroll() | Back() | Home() | PointAt(points=()):
            return ""
        case Key(keys=keys):
            return danger_of_chord(keys)
        case Type(text=text):
            return danger_of_text(text) or _verb(said)
        case OpenApp(name=name):
            return _undone(f"the app {name!r}", risky_word(name))
        case Click() | LongPress() | Drag() | PointAt():
            return _words(said, decision)


def _pointed(
    action: Click | LongPress | Drag,
    decision: Decision,
    said: str,
    observation: Observation | None,
    reader: TextReader | None,
    names: NamesAt | None,
) -> str:
    if observation is None:
        return known_danger(decision, said) or _unknown_words(said, decision)
    if reader is None:
        return "no text reader is available, so what is under the point is not known"
    from molmo_agent.risk.surroundings import read_scene, target_at  # it takes scipy, which most runs do not need

    try:
        scene = read_scene(observation.image, reader)
    except MolmoAgentError as error:
        return f"what is under the point could not be read: {error}"
    targets = [target_at(scene, point) for point in points_of(action)]
    elements = names(points_of(action)[-1]) if names is not None else ()
    if isinstance(action, Drag):
        why = _dragged(action, said, decision, targets, observation)
    else:
        why = _clicked(action, said, decision, replace(targets[0], opens=_opens(elements, said, targets[0])))
    return why or _named(action, said, decision, targets[-1], elements)


def _opens(elements: Sequence[ScreenElement], said: str, seen: Target) -> bool:
    """Return whether programs say of what is seen that a click on it opens, chooses or focuses something."""
    wanted = seen.text or said
    return bool(elements) and all(
        element.role not in ("button", "text") and (has_words(wanted, element.name) or is_nearly(wanted, element.name))
        for element in elements
    )


def _named(
    action: Click | LongPress | Drag,
    said: str,
    decision: Decision,
    seen: Target,
    elements: Sequence[ScreenElement],
) -> str:
    """Judge by the names that programs give to what is at the last point of an action."""
    for element in elements:
        by = f"the window {element.window!r}" if element.window else "its program"
        # Where there is a name, the rest only explains it.
        texts = [(element.role, element.name), ("text" if element.name else element.role, element.description)]
        for kind, text in texts:
            if kind == "field" or not 0 < len(text.split()) <= _NAME_WORDS:
                continue
            if isinstance(action, Drag):
                word = TRASH.find(text) or risky_word(text)
                why = f"the drag ends on {text!r} ({word!r})" if word else ""
            else:
                # An unknown name is one that nobody asked for.
                kind = "text" if kind == "button" and has_words(said, text) else kind
                named = Target(kind, text, dialog=seen.dialog, beside_cancel=seen.beside_cancel)
                why = _clicked(action, said, decision, named)
            if why:
                return f"{why}, as {by} names it"
    return ""


def _undone(where: str, word: str) -> str:
    return f"{where} may not be undone ({word!r})" if word else ""


def _not_undone(text: str) -> str:
    word = risky_word(text)
    return f"{word!r} may not be undone" if word else ""


def _names(said: str, decision: Decision) -> list[str]:
    """Return what the model and the instruction call the target, without verbs and quotes."""
    labels = [point.label for point in decision.result.points if point.label] if decision.result else []
    return [*labels, *([_VERBS.sub("", said).strip(" \"'“”.")] if said.strip() else [])]


def _words(said: str, decision: Decision, under: str = "") -> str:
    """Return the danger in what the model and the instruction say; not of the words under the point, judged before."""
    for name in _names(said, decision):
        if fold(name) != fold(under) and (danger := _not_undone(name)):
            return danger
    return "" if under else _not_undone(said)


def _verb(said: str) -> str:
    """Return the danger in the first word of an instruction: what it says to do with a typed text."""
    return _not_undone(said.split()[0]) if said.split() else ""


def _unknown_words(said: str, decision: Decision) -> str:
    """Return that a target is unknown by the words about it, or an empty string for a harmless one."""
    names = _names(said, decision)
    for name in names:
        if word := TRASH.find(name) or ICONS_THAT_COMMIT.find(name):
            return f"{word!r} under the point may delete, send or end something"
    if any(map(is_harmless, names)) or _THINGS.search(said):
        return ""
    return f"what {names[0]!r} does is not known" if names else "what is under the point is not known"


def _clicked(action: Click | LongPress, said: str, decision: Decision, target: Target) -> str:
    if not target.text:
        return _clicked_icon(said, decision, target)
    where = f"the {target.kind} {target.text!r} under the point"
    text = without_icon(target.text)
    if target.kind != "menu" and (danger := _undone(where, risky_word(target.text) or risky_word(text))):
        return danger
    if danger := _words(said, decision, under=text):
        return danger
    if isinstance(action, Click) and action.count > 1 and is_program(text):
        return f"{where} is a program, which a double click runs"
    if isinstance(action, LongPress) or action.button == "right" or target.kind in ("menu", "tab", "field"):
        return ""
    if target.kind == "check box":
        return f"{where} gives consent" if CONSENT.find(text) else ""
    has_arrow = target.opens_list or (text != target.text and target.text.rstrip().endswith(_ARROWS))
    if _LIST.search(said) and has_arrow and not target.beside_cancel:
        return ""
    why = _pressed(text, where, target)
    is_entry = _ENTRIES.search(said) and has_words(said, text) and not target.beside_cancel
    return "" if is_entry and why == _unknown(where) else why


def _unknown(where: str) -> str:
    return f"what {where} does is not known"


def _pressed(text: str, where: str, target: Target) -> str:
    """Judge a button, link or entry by its name and by the dialog around it."""
    if LOOKS.covers(text):
        return ""
    sentences = [one for one in target.dialog if not (is_harmless(one) or CANCEL.covers(one) or AGREE.covers(one))]
    said_there = " ".join(sentences)
    if NO.covers(text) and SAVE_OR_KEEP.find(said_there):
        return f"{where} may lose what {said_there!r} is about"
    if CANCEL.covers(text):
        repeats = not NO.covers(text) and f" {fold(text)} " in f" {fold(said_there)} "
        return f"{where} may be the answer to {said_there!r}" if repeats else ""
    danger = risky_word(said_there) or CONSENT.find(said_there) or (_MONEY.search(said_there) or [""])[0]
    if target.beside_cancel and danger:
        return f"{where} may agree to {said_there!r}"
    if is_harmless(text):
        return ""
    if AGREE.covers(text):
        if danger or _QUESTION.search(said_there):
            return f"{where} may agree to {said_there!r}"
        return "" if said_there else f"what {where} agrees to is not known"
    if target.beside_cancel:
        return _unknown(where)
    return _unknown(where) if target.kind == "button" and not (target.opens or is_key(text, target.dialog)) else ""


def _clicked_icon(said: str, decision: Decision, target: Target) -> str:
    near = target.caption or target.beside
    danger = _undone(f"{near!r} beside the point", risky_word(near)) or _words(said, decision)
    if danger or target.kind == "field":
        return danger
    is_named = any(has_words(name, near) for name in (said, *_names(said, decision)))
    if is_named and target.caption:
        return ""
    # It looks more like what was asked for, which is harmless.
    is_other = any(is_harmless_icon(name) and target.likeliest in meanings_of(name) for name in _names(said, decision))
    if target.icon in COMMIT_ICONS and not is_other:
        return f"the icon under the point looks like {target.icon!r}"
    is_named = is_named or any(
        has_words(name, one) or is_nearly(name, one)
        for one in target.near
        if not risky_word(one)
        for name in (said, *_names(said, decision))
    )
    # An icon that is known and does not commit is harmless.
    if target.icon or target.opens or is_named or any(map(is_harmless_icon, _names(said, decision))):
        return ""
    return _unknown_words(said, decision)


def _dragged(action: Drag, said: str, decision: Decision, targets: Sequence[Target], observation: Observation) -> str:
    start, end = targets
    for text in (end.text, end.caption, end.beside):
        if word := TRASH.find(text) or risky_word(text):
            return f"the drag ends on {text!r} ({word!r})"
    for name in _names(said, decision):
        if word := TRASH.find(name) or risky_word(name):
            return f"{word!r} may not be undone"
    width, height = observation.size
    across, down = abs(action.end.x - action.start.x), abs(action.end.y - action.start.y)
    scrolls = height > width and across < _STRAIGHT < down
    selects = start.kind == end.kind == "text" and start.text == end.text
    if scrolls or selects or _SLIDES.search(said):
        return ""
    return "a drag may move or dismiss something"


def _enter(
    keys: Sequence[str], observation: Observation | None, reader: TextReader | None, history: Sequence[Step]
) -> str:
    """Judge a key that presses what has the focus, by what was typed before it or by what the screen asks."""
    typed, field = _typed(history, reader)
    if typed and "space" in keys:
        return ""
    if typed:
        looks_up = _LOOK_UP.search(field) and not _SENDS.search(field)
        return "" if looks_up else f"{keys[0]} may send, submit or run {typed!r}"
    if observation is None or reader is None:
        return f"what {keys[0]} does is not known"
    from molmo_agent.risk.surroundings import buttons_of, read_scene

    try:
        scene = read_scene(observation.image, reader)
    except MolmoAgentError as error:
        return f"what {keys[0]} does is not known, as the screen could not be read: {error}"
    for line in (line.text for line in scene.lines):
        if _YES_OR_NO.search(line) or _PROMPT.search(line):
            return f"{keys[0]} may answer or run {line!r}"
        if (_QUESTION.search(line) or len(line.split()) <= _BUTTON_WORDS) and risky_word(line):
            return f"{keys[0]} may agree to {line!r}"
    # Which button has the focus is not seen.
    for target in buttons_of(scene):
        if _pressed(target.text, f"the button {target.text!r}", target):
            return f"{keys[0]} may press the button {target.text!r}"
    return ""


def _typed(history: Sequence[Step], reader: TextReader | None) -> tuple[str, str]:
    """Return the text that was typed since the last click or Enter, and what is known of the field that it is in."""
    texts: list[str] = []
    for step in reversed([step for step in history if step.refused is None and not step.dry_run]):
        action = step.action
        if isinstance(action, Type):
            texts.append(action.text)
        elif isinstance(action, Key) and activates(action.keys):
            break
        elif isinstance(action, Click | LongPress):
            return "".join(reversed(texts)), _field(step, texts, reader)
    return "".join(reversed(texts)), ""


def _field(step: Step, typed: Sequence[str], reader: TextReader | None) -> str:
    """Return the words that name the field of a click: of the instruction without the typed text, and on the screen."""
    said = step.decision.instruction
    for text in typed:
        said = said.replace(text, "")
    names = _names(said, step.decision)
    if reader is not None:
        from molmo_agent.risk.surroundings import read_scene, target_at

        target = target_at(read_scene(step.observation.image, reader), points_of(step.action)[0])
        names += [target.text, target.caption, target.beside]
    return " ".join(names)
