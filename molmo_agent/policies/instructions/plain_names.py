"""Tell a plain name of one thing from a sentence: ``the Save button`` from ``the Save button was pressed``.

A text without a verb of the grammar is clicked only if it is such a name. There is no dictionary behind it: a name
holds no verb of the tables below and no pronoun, and an article stands at its beginning or after a preposition. So
"yeet the file" is no name, whatever it means.
"""

import itertools
import re

from molmo_agent.policies.instructions.refused_words import GESTURE_STEMS
from molmo_agent.risk.commit_words import risky_word

_LABEL_WORDS = 4
MAX_WORDS = 25
"""Longer phrases are not names of one thing."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What begins a sentence, a question or an order about something else.
_OPENERS = _words("""
    i you we he she it they that there it's that's let lets don should shall would could might must is are was were do
    does did have has had am what what's why how who who's whom which where where's when be beware refuse remember
    forget note warning quote pretend imagine suppose assume think consider guess maybe perhaps possibly somebody
    someone nobody everybody everyone anybody everything nothing nevermind thanks thank sorry actually hopefully hi
    hey hello no yes good ask tell say want need wish hope ensure verify care avoid prevent allow attempt proceed
    apparently supposedly hold
""")
# Orders that the grammar does not carry out. Alone, or with a small word, they are buttons: "Save", "Sign in".
_ORDERS = _words("""
    try start begin stop keep continue make get give help act use do go leave turn google login logon signin solve rm
    sudo mv cp ls cd git pip apt curl wget chmod chown shutdown ssh docker delete remove erase wipe save send buy pay
    submit install uninstall rename create add edit insert append upload transfer purchase accept decline reject
    approve dismiss confirm apply allow deny block unblock mute unmute follow unfollow subscribe unsubscribe join
    invite share post publish reply read watch listen play resume open eject mount clear empty reset restore refresh
    reload reboot restart quit exit cancel undo redo cut copy paste sort answer translate convert export import sync
    connect disconnect log sign register enroll book reserve schedule plan call phone dial text email mail message
    forward archive search look browse see view show hide zoom rotate crop resize print scan download change switch
    swap replace update upgrade configure adjust increase decrease raise lower rearrange organize clean tidy sweep
    move put place pull lift grab take bring fetch carry build compute calculate count compare review rate vote order
    reorder ship return donate withdraw deposit redeem claim unlock lock encrypt decrypt format partition run execute
    kill terminate shut power boot launch enter finish complete end learn explain describe summarize draw paint write
    compose draft fix repair debug test inspect examine visit navigate verify enable disable activate highlight mark
    unmark flag pin unpin star like favorite record capture sell trade bid rent hire fire fill choose find collect
    gather attach detach drop throw pinch spread fling shake stretch squeeze
    teach meet transcribe spell proofread rewrite shorten simplify google
""")
# What stands after them in the names of buttons.
_PARTICLES = _words("""
    in out up down off on as all back now again more less us later started next anyway over away here new to cart
    basket bag done
""")
# Last words of names, whatever comes before: "the delete button", "search bar".
_WIDGETS = _words("""
    button buttons icon link field box bar menu tab checkbox toggle switch slider dropdown drop-down list key sign
    symbol logo arrow handle knob tile card panel pane section header heading label option entry dialog popup banner
    badge chip row column cell item tool toolbar sidebar area region thumbnail image picture
""")
_PURE_WIDGETS = _words("button buttons icon link checkbox toggle switch option")
_BEFORE_RECEIVER = _words("from with into onto to in as by")
# Last words of names whose first word is a noun as well: "Order history".
_THINGS = _words("""
    history results result preview list store settings options status details date time number name type mode view
    size page pages center centre log queue again as address body
""")
_NOUNS_TOO = _words("""
    search order print share call phone mail email text message book record play view format sort rate return update
    download upload post vote test plan report draft contact log run star mark filter import export power end start
    help use
""")
# What labels are about: "Save changes", "Create new folder", "Check for updates". Every word is in one of the tables.
_OBJECTS = _words("""
    change changes file files folder folders image images photo photos picture pictures video videos page pages link
    links window windows tab tabs list item items document documents draft drafts project projects preview profile
    settings preferences options details results history log logs view views mode theme language layout filter filters
    search selection column columns row rows table chart cell sheet code source properties shortcut shortcuts bookmark
    bookmarks template version versions update updates comment comments note notes reply event task tasks reminder alarm
    timer contact contacts playlist album song songs library calendar sidebar toolbar menu panel map directions
    location address name title size color colour font password username screen screenshot text format attachment
    attachments label labels label category tag tags section group device devices printer network connection
    notifications sound sounds report reports data answer answers question questions article articles map maps
    help tutorial tour demo example examples conversation chat channel workspace board meeting plan plans trial
""")
_BEFORE_OBJECTS = _words(
    "new all more recent hidden full free for as to in with from my your another other next previous"
)
_STATES = _words("read unread favorite favourite default pdf done complete important")
_PATH = re.compile(r"\s(?:>+|→|»|›|▸|/|\\|\|)\s")
_TOKEN = re.compile(r"\0+|[^\W_]+(?:['-][^\W_]+)*|[^\w\s]")
_DETERMINERS = _words("""
    the a an my your his its our their these those
""")
BEFORE_DETERMINER = _words("""
    of in on at to from by with for under underneath above below over beside besides behind near inside outside into
    onto between within left right next top bottom beneath and after before than like as across through along against
    around past opposite via about called named labelled labeled marked titled reading saying says showing containing
    holding wearing having pointing looking that which whose who where toward towards off up down amid among all both
    half twice is are has contains shows reads facing covering touching following preceding
""")
"""What an article may follow: words of place, and what joins two names."""

_RELATIVE = re.compile(r"(?<!\w)(?:that|which|who|whose|where)(?!\w)[^,;]*$")
_FINITE = re.compile(r"(?<![\w-])(?:is|are|was|were|has|had|does|did|been|isn't|it's|that's|there's)(?=\s+\S)(?![\w-])")
_PERSON = re.compile(
    r"(?<![\w-])(?:(?:he|she|they|we|him|them|somebody|someone|everyone)(?![\w-])|(?:I|you|we|they|he|she|it)'\w+)"
)
_IT = re.compile(r"(?<![\w-])it(?![\w-])")
# "Comment "Nice!" on the photo" is no name, a folder "Photos" is one.
_SAYING = re.compile(
    r"(comment|answer|tag|mention|caption|remark|note|log|quote|say|greet|sign|title|label|name|call|whisper|chat)\s+\0+"
    r"(?:$|\s+(?:on|to|under|below|in|for|as|about|at|with)\s)",
    re.IGNORECASE,
)
# A verb of a language that no table has: "Apriete Enter". "Remind me to call" is no label, "Remind me later" is one.
_UNKNOWN_WORD = re.compile(
    r"(?!(?:the|an?|my|numpad|keypad)\s)([^\W\d_]+)\s+"
    r"(?:(?:Enter|Esc(?:ape)?|Backspace)$|(?<=deal\s)with\s|(?-i:(?<=skip\s)|(?<=ignore\s))(?-i:[A-Z])|(?<=remind\s)(?:me|us|him|her)\s+(?:to|about|of|that)\s)",
    re.IGNORECASE,
)
_SECOND_ORDER = re.compile(
    r"(?:,|(?<!\w)and)\s+(?:also\s+)?(?P<verb>[a-z]+)\s+(?:(?P<what>the|a|an|my|your|it|them|everything|him|her|its)(?!\w)|\0"
    r"|(?:with|to|for|at|about)\s)"
)
_STEMS = "|".join(GESTURE_STEMS)
# "Delete pressed", "the Save button click it": but "the click counter" and "the pressed key" are names.
_GESTURE = re.compile(
    rf"(?<![\w-])(?:(?:double-|right-)?(?:{_STEMS}|click|tap|press)(?:ed|ing)(?=\s+\S|\s*$)"
    r"|(?:double-|right-)?(?:click|tap|press)(?:es|s)?(?=\s+(?:on|the|a|an|it|that|this|here|at|\0|[A-Z])))(?![\w-])"
)
_BEFORE_ADJECTIVE = re.compile(r"(?:^|(?<!\w)(?:the|a|an|last|first|just|recently|your|my)\s+)$")
# "Mother: click it".
_REMARK = re.compile(r":\s+(?=\S)")
# A full stop after a word of three letters or more, not after "No." or "Dr.".
_TWO_SENTENCES = re.compile(r"[^\W\d_]{3}[.!]\s+[^\W\d_]")


def why_no_target(target: str) -> str:
    """Return the words that make a sentence of what a verb is done to; an empty string if it is plain.

    Args:
        target: masked text, with every blank a blank and every apostrophe ``'``.
    """
    for match in _FINITE.finditer(target):
        if not _RELATIVE.search(target, max(0, match.start() - 60), match.start()):
            return match[0]
    for match in _SECOND_ORDER.finditer(target):
        is_order = match["verb"] in _ORDERS or (match["what"] and match["verb"] not in BEFORE_DETERMINER)
        if is_order:
            return match[0].replace("\0", "").strip(" ,")
    if sentence := _TWO_SENTENCES.search(target):
        return target[sentence.end() - 1 :].partition(" ")[0]
    person = _PERSON.search(target)
    # A label may begin with one: "I'm feeling lucky".
    return person[0] if person and (person.start() or person[0].islower()) else ""


def why_no_name(phrase: str) -> str:
    """Return the words that make a sentence of a phrase; an empty string if it plainly names one thing.

    Args:
        phrase: masked text, with every blank a blank and every apostrophe ``'``.
    """
    tokens = _TOKEN.findall(phrase)
    words = [token for token in tokens if token[0] == "\0" or token[0].isalnum()]
    if len(words) > MAX_WORDS:
        return " ".join(words[:3])
    if problem := why_no_target(phrase):
        return problem
    if match := _REMARK.search(phrase):
        return match[0].strip()
    if match := _PERSON.search(phrase) or _IT.search(phrase):
        return match[0]
    if match := _SAYING.match(phrase) or _UNKNOWN_WORD.match(phrase):
        return match[1]
    for match in _GESTURE.finditer(phrase):
        is_adjective = match[0].endswith("ed") and _BEFORE_ADJECTIVE.search(phrase, 0, match.start())
        if not is_adjective or match.start() == 0:
            return match[0]
    return _order(words, has_path=_PATH.search(phrase) is not None) or _late_determiner(tokens)


def is_aim(word: str) -> bool:
    """Return whether a word, in small letters, is an order that the grammar does not carry out."""
    return word in _ORDERS


def _order(words: list[str], *, has_path: bool) -> str:
    """Return the verb if the first word is one that has an object: ``delete file``."""
    names = [word.lower() for word in words]
    while len(names) > 1 and re.fullmatch(r"(?!family|reply|early|daily|weekly|monthly|yearly)\w{3,}ly", names[0]):
        # An adverb: "quickly delete it".
        names = names[1:]
    if not names or len(names) == 1:
        return ""
    first, last = names[0], names[-1]
    if first in _OPENERS:
        return first
    if first not in _ORDERS or has_path or _is_widget(names) or all(name in _PARTICLES for name in names[1:]):
        return ""
    is_noun = first in _NOUNS_TOO and last in _THINGS and _DETERMINERS.isdisjoint(names)
    is_name = is_noun or (words[0][0].isupper() and _is_label(names))
    return "" if is_name else first


def _is_widget(names: list[str]) -> bool:
    """Return whether a phrase names a widget: ``share icon in the bar``, but not ``put 100 in the amount box``."""
    heads = [
        number
        for number, (name, following) in enumerate(itertools.pairwise(names))
        if name in BEFORE_DETERMINER and following in _DETERMINERS
    ]
    number = heads[0] - 1 if heads else len(names) - 1
    # "Delete file from list" and "replace foo with bar in the dialog" are orders, "Add to list" and "Copy to clipboard
    # button" are labels.
    is_order = names[number] not in _PURE_WIDGETS and not _BEFORE_RECEIVER.isdisjoint(names[2:number])
    return names[number] in _WIDGETS and names[1] not in ("for", "about", "between") and not is_order


def is_label_of_gesture(phrase: str) -> bool:
    """Return whether a label begins with a verb of the grammar: ``Set alarm``, ``Check for updates``."""
    words = phrase.split()
    begins = words[:1] == ["Set"] or words[:2] == ["Check", "for"]
    return phrase in ("Select all", "Select All") or (
        begins and len(words) > 1 and _is_label([word.lower() for word in words])
    )


def _is_label(names: list[str]) -> bool:
    """Return whether a verb and what follows are words of common buttons, and what was done can be undone."""
    *middle, last = names[1:]
    return (
        len(names) <= _LABEL_WORDS
        and (last in _OBJECTS or (last in _STATES and middle[-1:] == ["as"]) or (last == "as" and bool(middle)))
        and all(name in _OBJECTS or name in _BEFORE_OBJECTS for name in middle)
        and not risky_word(" ".join(names))
    )


def _late_determiner(tokens: list[str]) -> str:
    """Return the words around an article that follows something else than a preposition: ``archive the mail``."""
    for before, token in itertools.pairwise(tokens):
        follows_name = before[0] == "\0" or before[0].isalnum()
        if token in _DETERMINERS and follows_name and before.lower() not in BEFORE_DETERMINER:
            return f"{before} {token}".replace("\0", "").strip()
    return ""
