"""Words that turn an order into something else, one table a kind: what they mean, and what to say instead.

In the tables a blank stands for any blanks, and the rest are regular expressions for whole words. They are searched in
masked text (see ``quoting.py``): quotes are hidden, every blank is a blank, and every apostrophe is ``'``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

GESTURE_STEMS = ("click", "tapp?", "press", "typ", "hitt?", "push", "touch", "scroll", "swip", "dragg?", "hover")
GESTURING = rf"(?:double-|right-)?(?:{'|'.join(GESTURE_STEMS)})ing"
_DOING = r"[a-z]{2,}ing"
_UNIT = r"(?:milli)?sec(?:ond)?s?|ms|min(?:ute)?s?|hours?|days?|weeks?|months?|years?|while|moment|bit"
_NUMBER = r"\d+(?:\.\d+)?|an?|one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty|half an|some|few"
# What a page or program does: "after the dialog closes".
_HAPPENS = (
    r"is|are|was|were|has|have|had|load(?:s|ed)?|opens?|close[sd]?|appear(?:s|ed)?|disappear(?:s|ed)?|finish(?:es|ed)?"
    r"|ends?|start(?:s|ed)?|begins?|shows?|pops?|comes?|chang(?:es|ed)|turns?|goes|gets?|runs?|arrive[sd]?|expire[sd]?"
    r"|complete[sd]?|stop(?:s|ped)?|respond(?:s|ed)?|rings?|says?|works?|fails?|reach(?:es|ed)?|becomes?|updates?"
)
_SUBJECT = r"I|you|he|she|it|we|they|that|this|everyone|someone|somebody|everything|all"
_AUXILIARY = "do|does|did|is|are|was|were|has|have|had|must|should|could|would|need|might|dare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of refused words.

    Args:
        name: what they express.
        advice: what to do instead.
        any_case: words that are refused in any case.
        lower: words that are refused in small letters only, because names hold them: "May", "Will Smith", "No".
        texts: whether they are refused in a text to type as well; a text may be a question or a sentence.
    """

    name: str
    advice: str
    any_case: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    texts: bool = True


_LEAVE_OUT = "leave out what is not to be done"
_ONE_BY_ONE = "conditions and repetitions are not understood: name the steps one by one"
_ONLY_ORDERS = "expected an order, such as: click Save"

KINDS = (
    Kind(
        name="condition",
        advice=_ONE_BY_ONE,
        any_case=(
            "if",
            "unless",
            "until",
            "till",
            "when",
            "whenever",
            "wherever",
            "while",
            "whilst",
            "whether",
            "depending",
            "otherwise",
            "or else",
            "else",
            "lest",
            "because",
            "although",
            "though",
            "whereas",
            "(?:so|as) (?:long|soon|often|far|much|many) as",
            "as (?:needed|required|necessary|appropriate|desired|you (?:like|wish|want|can))",
            "where (?:possible|needed|necessary|available|applicable)",
            "in case",
            "as a last resort",
            "in which case",
            "the (?:first|next|last) time",
            "contingent (?:on|upon)",
            "granted (?:it|that|the)",
            "in (?:an )?emergenc(?:y|ies)",
            "at (?:your|my|their|one's) (?:own )?(?:convenience|risk|leisure|discretion)",
            "with (?:my|your|their) (?:permission|consent)",
            "in (?:the|an?) (?:event|case)",
            "on (?:the )?condition",
            "only (?:if|when|after|once)",
            "(?:provided|providing|assuming|supposing|suppose|given) (?:that|the|it|you|there|an?)",
            "(?:provided|supposing|assuming)",
            "as (?:if|though)",
            "so that",
            "the (?:moment|minute|second|instant) (?:that )?(?:it|you|the|an?|there)",
            "by the time",
            "once(?! (?:more|again))(?= \\S)",
            f"(?:before|after|while|upon|since) (?:(?:you|we|I|it) )?{_DOING}",
            f"(?:on|in) {GESTURING}",
            f"(?:before|after|since) (?:{_SUBJECT})",
            f"(?:before|after|since|as) (?:the|an?) [^,;]{{1,60}}? (?:{_HAPPENS})",
            f"had (?:{_SUBJECT}|the)",
        ),
        lower=(
            "since",
            "upon",
            "during",
            "(?:on|upon) request",
            "permitting",
            "pending",
            "iff",
            "even (?:so|though|then)",
            "(?:subject|prior) to",
        ),
    ),
    Kind(
        name="repetition",
        advice=_ONE_BY_ONE,
        any_case=(
            "repeat(?:edly)?",
            "(?:every|each) time",
            "for (?:each|every|all)",
            "again and again",
            "over and over",
            "for ?ever",
            "at (?:most|least)",
            "(?:every )?now and (?:then|again)",
            "(?:every now|from time to time)",
            f"(?:keep|continue|start|begin|go on|carry on) (?:on )?{_DOING}",
        ),
        lower=("endlessly", "constantly", "continuously", "indefinitely", "alternately"),
    ),
    Kind(
        name="time",
        advice="an order is carried out at once; to wait before it, say for example: wait 5 seconds, then click Save",
        any_case=(
            f"(?:in|after|within|every|each) (?:about |another |the next |half )?(?:(?:{_NUMBER}) ){{0,2}}(?:{_UNIT})",
            r"(?:in|after|within|every) \d+ ?(?:ms|s|m|h)",
            r"at \d{1,2}(?:[:.]\d\d)? ?(?:am|pm|a\.m|p\.m|o'clock)",
            f"(?:(?:{_NUMBER}) )?(?:{_UNIT}) (?:from now|later|hence)",
            "in the (?:morning|afternoon|evening|night)",
            "at (?:noon|midnight|dawn|dusk|night)",
            "on (?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|weekdays|weekends)",
        ),
        lower=(
            "tomorrow",
            "tonight",
            "soon",
            "eventually",
            "sometimes?",
            # "Pay later" is a button, and so are a few others.
            r"(?<![Pp]ay )(?<![Mm]e )(?<![Aa]gain )(?<![Mm]aybe )(?<![Ff]or )(?<![Nn]ot )"
            r"(?<![Ww]atch )(?<![Rr]ead )(?<![Nn]ow )(?<![Dd]o it )later",
        ),
        texts=False,
    ),
    Kind(
        name="alternative",
        advice="choose one of the two",
        any_case=("and/or", "either", "or", "xor", "alternatively", "yes ?/ ?no", "no ?/ ?yes", "ok ?/ ?cancel"),
        lower=(
            "maybe",
            "perhaps",
            "possibly",
            "probably",
            "(?:most|least|more) likely",
            "optionally",
            "(?:which|what|who)ever",
        ),
    ),
    Kind(
        name="negation",
        advice=_LEAVE_OUT,
        any_case=(
            # "do" before it belongs to what the message names.
            rf"(?:(?:{_AUXILIARY}|can|will|shall|may|ought(?: to)?) )?not",
            rf"(?:{_AUXILIARY}|ca|wo|sha|ai)n ?(?:' ?)?t",
            r"n't",
            # The rest of it is hidden, because its apostrophe is taken for a quote.
            rf"(?:{_AUXILIARY}|ca|wo|sha|ai)n ?(?=\0)",
            "cannot",
            "dinnae",
            "never(?: ever)?",
            "nevermind",
            "neither",
            "nor",
            "without",
            f"no {_DOING}",
            "no one",
            f"(?:stop|skip|quit|cease|avoid|forbid) (?:from )?{_DOING}",
            "stop (?:before|short)",
            "under no circumstances?",
            "(?:by no means|in no case|on no account|no matter|at no time|in no way|no way)",
        ),
        lower=(
            "nobody",
            "nothing",
            "none",
            "nowhere",
            "forbidden",
            "prohibited",
            "untouched",
            "unclicked",
            "off(?:-| )limits",
        ),
    ),
    Kind(
        name="negated name",
        advice=_LEAVE_OUT,
        lower=("no(?= [a-z])",),
        texts=False,
    ),
    Kind(
        name="exclusion",
        advice=_LEAVE_OUT,
        any_case=(
            "except(?:ing)?",
            "excluding",
            "avoid",
            "refrain",
            "abstain",
            "desist",
            "(?:apart|aside) from",
            "other than",
            "rather than",
            "instead",
            "in (?:place|lieu) of",
            "but",
            "hands off",
            "(?:keep|stay) (?:away|off|clear|out)",
            r"leave [^,;]{1,60}? (?:alone|untouched|as it is)",
            r"(?<!\bread )(?<!\bread-)(?<!\bview )(?<!\bwrite )(?<!\btext )(?<!\binvite )only",
        ),
    ),
    Kind(
        name="choice",
        advice="name the one thing that is meant",
        lower=(
            "any(?= )",
            "any(?:thing|one|body|where)",
            "some(?:thing|one|body|where)",
            "one of",
            "everywhere",
            "randomly",
            "at random",
            "random [a-z]+s",
            "a random",
            "optional(?=[ ).!]*$)",
        ),
        texts=False,
    ),
    Kind(
        name="reference",
        advice="earlier tasks are not known: name what is meant",
        lower=(
            "(?<!the )last time",
            "same (?:as|again|thing|way|for|here|there)",
            "as (?:before|usual|always|earlier|previously|agreed|discussed)",
            "like (?:before|always|yesterday|earlier|I)",
            "from (?:before|earlier|last time)",
            "(?:I|you|we) (?:just |already )?(?:mentioned|showed|sent|opened|used|clicked|created|typed|made|visited"
            "|saved|downloaded|chose|picked|selected|wrote|closed|talked|spoke|copied)",
        ),
        texts=False,
    ),
    Kind(
        name="cancelling",
        advice="give an order without taking it back; to undo a change, say: press ctrl+z",
        any_case=(
            "(?:forget|scratch|cancel|ignore|disregard|undo|revoke|stop|skip) (?:it|that|this|everything|all of)",
            "(?:ignore|disregard|undo|forget|cancel) (?:what|the (?:last|previous|above))",
            "just (?:kidding|joking)",
            "on second thoughts?",
            "take (?:it|that) back",
            "changed my mind",
            "(?:no|nope),? (?:wait|stop)",
            "(?:wait|stop),? no",
        ),
    ),
    Kind(
        name="taking back",
        advice="give an order without taking it back",
        lower=(
            "^(?:stop|halt|abort)(?=[ !.]*$)",
            "actually",
            "oops",
            "kidding",
            "joking",
            "(?<=, )(?:no|nope|nah|wait|stop)(?=[ !.]*$)",
            "(?<=[.…-] )(?:no|nope|sorry|wait)(?=,)",
        ),
        texts=False,
    ),
    Kind(
        name="modal verb",
        advice=_ONLY_ORDERS,
        lower=(
            "should",
            "must",
            "shall",
            "ought",
            "would",
            "could",
            "might",
            "may",
            r"(?<!\bthat )(?<!\bwhich )(?<!\bfree )will",
            r"(?<!\bthe )(?<!\ba )(?<!\btrash )(?<!\bgarbage )(?<!\btin )(?<!\bspray )(?<!\bwatering )(?<!\bthat )"
            r"can(?= [a-z])(?! (?:of|on|in|at|next|left|right|above|below|beside|with|icon|button|under|near|from))",
            "(?:have|has|had|need|needs|needed|am|is|are|was|were|supposed|allowed|going|required|remember|forget"
            "|permitted|meant|time|free|try|tries|attempt|start|begin) to",
            "(?:gonna|gotta|wanna)",
            "make sure",
            "(?:ensure|verify|confirm|check|see|note|remember|say|assume|pretend|imagine) that",
        ),
        texts=False,
    ),
    Kind(
        name="report",
        advice=_ONLY_ORDERS,
        lower=(
            "said",
            "told",
            "asked",
            r"(?<!\bthat )(?<!\bwhich )says",
            r"(?<!\bthat )(?<!\bwhich )states",
            "(?:wants|wanted|thinks|thought|believes|hopes|wishes|claims|claimed|suggests|suggested|recommends"
            "|recommended|advises|advised|warns|warned|tells|asks)",
            "according to",
            r"for (?:example|instance)",
            r"[ei]\.g\.?",
            "just an example",
            "(?:supposedly|allegedly|apparently|presumably|hopefully)",
            r"(?<!\bthat )(?<!\bwhich )(?:seems|sounds|feels)",
            "pretend(?:ing)?",
            "imagine",
            "hypothetically",
            "let's",
            "let (?:us|me)",
            "(?:what|how) (?:if|about)",
            "you (?:choose|decide|pick|like)",
            "(?:I|you|he|she|we|they) (?:guess|think|say|mean|suppose|hope|know|believe|wish|want|need|hear|heard|saw"
            "|am|are|was|were|have|had|did|do)",
        ),
        texts=False,
    ),
)
# At the beginning of a step or of what is pointed at, they mean more than one thing.
SEVERAL = re.compile(
    r"(?:(?:two|three|four|five|\d+) of|each|every(?:thing|one)?|both(?! \0)|several|many|most|(?:a )?few|some"
    r"|all(?= (?:text(?![\w-])|of|the|my|your|its|these|those|other|[a-z]+s(?![\w-]))))(?![\w-])"
)


def _joined(words: tuple[str, ...]) -> str:
    """Return one pattern for all words; a blank stands for any blanks, but a look-behind has a fixed width."""
    pieces = re.split(r"(\(\?<[!=].*?\))", "|".join(words) or "(?!)")
    return "".join(piece if piece.startswith("(?<") else re.sub(" (?![?+*])", r"\\s+", piece) for piece in pieces)


_PATTERNS = tuple(
    (
        kind,
        # A sign around a word, such as the "d" of "order" or the hyphen of "if-clause", makes another word of it.
        re.compile(rf"(?<![\w-])(?:(?i:{_joined(kind.any_case)})|{_joined(kind.lower)})(?![\w-])"),
    )
    for kind in KINDS
)


def begins_refused(mask: str, position: int) -> bool:
    """Return whether words that are refused everywhere begin at a position of a masked text."""
    return any(kind.texts and pattern.match(mask, position) for kind, pattern in _PATTERNS)


def refused_words(text: str, *, is_typed: bool) -> Iterator[tuple[Kind, re.Match[str]]]:
    """Yield the words of a masked text that are refused, by kind.

    Args:
        text: with every blank a blank and every apostrophe ``'``.
        is_typed: whether it holds a text to type, where fewer words are refused.
    """
    for kind, pattern in _PATTERNS:
        if kind.texts or not is_typed:
            for match in pattern.finditer(text):
                yield kind, match
