"""Whether a task supports a proposed step, or only the screen does.

A planner reads the screen, and a screen may give orders. What shows, moves or opens something is free: a goal takes
many steps that it does not name. A step that deletes, sends, pays or grants something, that runs a command, goes to an
address, uses a secret or copies the screen's text needs words of the user; without them a person is asked.
"""

import re
from collections.abc import Callable, Sequence

from molmo_agent.policies.instructions.substep import SubStep
from molmo_agent.risk.chords import danger_of_chord
from molmo_agent.risk.commit_words import risky_word
from molmo_agent.risk.folding import fold, words_of
from molmo_agent.risk.typed import danger_of_text
from molmo_agent.screen_text import Line

# Words that ask for the same thing; a word supports every other one of its group.
_GROUPS = tuple(
    frozenset(group.split())
    for group in (
        "send submit post reply mail email message text tweet answer",
        # A reply goes to one person: it asks for nothing that goes to all.
        "send post publish share forward",
        "buy order purchase pay checkout book reserve subscribe donate transfer bid",
        "delete remove erase trash discard clear empty wipe purge uninstall drop",
        "install update upgrade download",
        "accept agree allow consent grant approve authorize permit confirm trust",
        "close quit exit end stop kill terminate",
        "restart reboot shutdown shut power suspend hibernate",
        "reset restore revert",
        "login logout sign log leave",
        "replace overwrite",
        "run execute start launch open",
        "call dial phone",
        "block ban kick report unfollow unfriend",
        "turn switch disable enable deactivate",
    )
)
# A task that has its text on the screen says what to do with it.
_COPIES = re.compile(
    r"\b(?:copy|paste|type|enter|write|fill|transcribe|repeat|put|insert|answer|search|find|look up|translate|note|"
    r"reply|tippe|schreib\w*|kopier\w*|such\w*|escrib\w*|copi\w*|busca\w*|ecri\w*|cherch\w*|scriv\w*|cerca\w*)\b"
)
# Verbs that give something away where they have an object: "Share the backup", but not the icons "Share" and "Forward".
_GIVES_AWAY = re.compile(
    r"\b(?P<verb>upload|share|forward|sync|transmit|disclose|export|expose|reveal)s?\s+"
    r"(?:(?:my|your|the|all|our|this|these)\b|everything\b"
    r"|(?:passwords?|credentials?|keys?|tokens?|secrets?|backups?|contacts?|files?|data|photos?|documents?)\b)"
)
# What asks for it. "Mail" and "message" are mostly nouns: they ask for nothing.
_GIVING = frozenset(
    (
        "upload",
        "share",
        "send",
        "forward",
        "post",
        "publish",
        "transfer",
        "sync",
        "export",
        "submit",
        "attach",
        "reveal",
    )
)
_SECRET = re.compile(r"\{\{\s*(.+?)\s*\}\}")
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://\S+|\bwww\.\S+|\S+@\S+\.\w{2,}|\b(?:\d{1,3}\.){3}\d{1,3}\b"
    r"|\b[a-z0-9-]{1,60}(?:\.[a-z0-9-]{1,60}){0,4}\.(?:com|net|org|io|dev|app|info|biz|ru|cn|xyz|top|ly|me|co|gg|sh|"
    r"example|test|invalid)(?:/\S*)?",
    re.IGNORECASE,
)
_CONSOLES = re.compile(
    r"\b(?:terminal|konsole|console|shell|cmd|command prompt|powershell|xterm|run|regedit|registry|disks?|gparted|"
    r"termux|adb|ssh)\b",
    re.IGNORECASE,
)
# Shorter texts stand on many a screen by chance.
_MIN_COPIED = 12
# Common words of labels, which support nothing.
_COMMON = frozenset(
    ("the", "a", "an", "to", "of", "in", "on", "for", "and", "or", "it", "my", "your", "this", "that", "button", "link")
)
_STEM = 4


def unsupported(steps: Sequence[SubStep], asked: str, read: Callable[[], Sequence[Line]]) -> str:
    """Return why a person must agree to a step, or an empty string.

    Args:
        steps: what is about to be carried out.
        asked: all that the user said: the task, and answers to questions.
        read: reads the words on the screen, which takes a moment; it is called where they matter.
    """
    wanted = fold(asked)
    for step in steps:
        if step.gesture == "type" and (reason := _typing(step.value, wanted, read)):
            return reason
        if step.gesture == "key" and (reason := _chord(tuple(step.value.split(" ")), wanted)):
            return reason
        if step.gesture == "open_app" and (match := _CONSOLES.search(step.value)) and fold(match[0]) not in wanted:
            return f"the task does not ask for {step.value!r}, which runs commands"
        if step.gesture not in ("move", "point", "scroll"):
            for target in step.targets:
                if word := _gives_away(target, wanted):
                    return f"the task does not ask for {word!r} ({step.text})"
                if (word := risky_word(target)) and not _asks_for(word, target, wanted):
                    return f"the task does not ask for {word!r} ({step.text})"
    return ""


def _gives_away(target: str, wanted: str) -> str:
    """Return the verb of a label that gives something away without words of the user, or an empty string."""
    match = _GIVES_AWAY.search(fold(target))
    return match["verb"] if match and not _GIVING & set(words_of(wanted)) else ""


def _typing(text: str, wanted: str, read: Callable[[], Sequence[Line]]) -> str:
    for name in _SECRET.findall(text):
        if fold(name) not in wanted:
            return f"the task does not name the secret {name!r}"
    plain = fold(_SECRET.sub(" ", text))
    if not plain or plain in wanted:
        return ""
    if danger := danger_of_text(text.rstrip("\r\n")):
        return f"the task does not hold this text: {danger}"
    for address in _ADDRESS.findall(text):
        if fold(address).strip("/.,") not in wanted:
            return f"the task does not name the address {address[:80]!r}"
    if len(plain) < _MIN_COPIED or _COPIES.search(wanted):
        return ""
    is_copied = plain in fold(" ".join(line.text for line in read()))
    return f"the text {text[:60]!r} stands on the screen and not in the task" if is_copied else ""


def _chord(keys: tuple[str, ...], wanted: str) -> str:
    danger = danger_of_chord(keys)
    if not danger or "+".join(keys) in wanted or all(key in words_of(wanted) for key in keys):
        return ""
    said = words_of(fold(danger))
    if any(_same(word, other) for word in said for other in words_of(wanted) if word not in _COMMON):
        return ""
    return f"the task does not ask for {'+'.join(keys)}: {danger}"


def _asks_for(word: str, target: str, wanted: str) -> bool:
    """Return whether the user's words ask for what a risky label does."""
    words = words_of(wanted)
    risky = [one for one in words_of(fold(word)) if one not in _COMMON]
    if any(_same(one, other) for one in risky for other in words):
        return True
    # A quoted label counts whole: 'click "Send order"'.
    label = fold(target).strip("\"' ")
    return len(words_of(label)) > 1 and label in wanted


def _same(first: str, second: str) -> bool:
    if first == second or (min(len(first), len(second)) >= _STEM and (first[:5] == second[:5])):
        return True
    return any(_in_group(first, group) and _in_group(second, group) for group in _GROUPS)


def _in_group(word: str, group: frozenset[str]) -> bool:
    return word in group or any(
        len(one) >= _STEM and word.startswith(one) and len(word) - len(one) <= 3 for one in group
    )
