"""Refuse what the grammar cannot follow: prohibitions, conditions, repetitions, alternatives, questions.

"click Buy if the price is below 10" must not become a click on Buy. So these words are refused wherever they stand
outside of quotes, with one exception: a label may begin with them. ``click Don't save``, ``tick Never show again`` and
``choose If needed`` name things on the screen, because nothing else follows the verb. Conditions need their capital
letter for that: "press if you can" names nothing. All other labels go in quotes.
"""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.keys import MODIFIERS
from molmo_agent.policies.instructions.quoting import Part

_AUXILIARY = "do|does|did|is|are|was|were|has|have|had|must|should|could|would|need|might"
_NT = rf"(?:{_AUXILIARY}|ca|wo|sha|ai)n\s?['’‘‛＇`´ʼ′]?t"
_NOT = (
    rf"(?:(?:{_AUXILIARY}|can|will|shall|may|ought(?:\s+to)?)\s+)?not|{_NT}|cannot|don\s?['’‘‛＇`´ʼ′]\s?t"
    r"|never|neither|nor|without"
)
_EXCLUSION = (
    r"except|excepting|excluding|avoid|refrain|(?:apart|aside)\s+from|other\s+than|rather\s+than|instead|but"
    r"|under\s+no\s+circumstances?|by\s+no\s+means|in\s+no\s+case|on\s+no\s+account|no\s+matter"
)
_ACTING = (
    r"(?:click|tapp|press|hitt|push|select|choos|pick|tick|check|open|clos|sav|send|delet|remov|buy|pay|order|submitt"
    r"|confirm|enter|typ|writ|fill|scroll|dragg|mov|hold|touch)ing"
)
_CONDITION = (
    r"if|unless|until|till|when|whenever|wherever|while|whilst|whether|depending|otherwise|or\s+else|repeat(?:edly)?"
    r"|(?:so|as)\s+(?:long|soon|often)\s+as|in\s+case|in\s+the\s+event|on\s+condition|only\s+(?:if|when)"
    r"|(?:provided|providing|assuming|supposing|suppose|given)\s+(?:that|the|it|you|there)|the\s+moment|by\s+the\s+time"
    r"|(?:every|each)\s+time|for\s+(?:each|every)|again\s+and\s+again|over\s+and\s+over|forever"
    rf"|once(?=\s+\S)|(?:before|after|while)\s+(?:you\s+)?{_ACTING}"
)
_ALTERNATIVE = r"and/or|either|or"
# A sign after them, such as the "d" of "order" or the hyphen of "if-clause", makes another word of them.
_END = r"(?![\w-])"
_WORDS = re.compile(
    rf"(?<![\w-])(?:(?P<condition>(?:{_CONDITION}){_END})|(?P<negation>(?:{_NOT}){_END})"
    rf"|(?P<exclusion>(?:{_EXCLUSION}){_END})|(?P<alternative>(?:{_ALTERNATIVE}){_END}))",
    re.IGNORECASE,
)
# At the beginning of a step, "only" excludes what is not named.
_ONLY = re.compile(r"only(?!\w)", re.IGNORECASE)
# What may stand between a verb and a label: "click on the Don't save button", "tick I don't agree".
_BEFORE_LABEL = re.compile(r"[\s,:]*(?:(?:on|at|onto|over|to|in|into|the|an?|this|that|my|I|we|you|it)\s+)*", re.I)
# The second label of a step: "drag the slider to Never".
_SECOND_LABEL = re.compile(r"(?<!\w)(?:to|into|onto|on|in|with|from|as)\s+(?:the\s+)?$", re.IGNORECASE)

# A text without a verb names one thing to click if it is a plain phrase: no question, no sentence about somebody.
_SENTENCE = re.compile(
    r"(?i:I|you|we|he|she|they|there|let|should|shall|would|could|might|must|is|are|was|were|do|does|did|have|has|had|am"
    rf"|what|why|how|who|whom|which|where|be\s+careful|beware|hold(?:ing)?\s+(?:down\s+)?(?:the\s+)?{MODIFIERS})(?!\w)"
    r"|(?:[Ii]t|may|can|will)(?!\w)"
    r"|.*(?<![\w-])(?:must|should|shall|ought|(?:click|tapp|press|touch)ing|click|tap|press|to\s+be"
    # "the item that is selected" is a thing, "Delete is off limits" is a remark.
    r"|(?<!that\s)(?<!which\s)(?<!who\s)(?:is|are|was|were))(?=\s+\S)",
    re.DOTALL,
)
# Negations and conditions of other languages: "klicke nicht auf Löschen" names nothing to click. In small letters,
# because names hold such words too: "Open Sans".
_FOREIGN = re.compile(
    r"(?<!\w)(?:nicht|niemals|keinesfalls|keine[nsmr]?|ohne|wenn|falls|sofern|außer|bevor|solange"  # German
    r"|ne\s+\w+\s+(?:pas|jamais|rien)|n['’]\w+\s+(?:pas|jamais)|jamais|sans|sauf|jusqu\w*|lorsque|quand|pas"  # French
    r"|nunca|jamás|sin|excepto|salvo|cuando|hasta|a\s+menos|mientras"  # Spanish
    r"|no\s+(?:lo\s+|se\s+)?(?:hag|hac|puls|presion|toqu|toc|cliqu|borr|elimin|seleccion|abr|cierr|escrib|deb)\w*"
    r"|não|sem|exceto|quando|enquanto|até|caso"  # Portuguese
    r"|non|mai|senza|tranne|finché"  # Italian
    r"|niet|geen|nooit|zonder|tenzij|indien|behalve"  # Dutch
    r"|inte|aldrig|utan|ikke|aldri|uden|uten|hvis|medmindre|älä|jos"  # Nordic
    r"|nie\s+\w+|nigdy|bez|jeśli|jeżeli|chyba|ne\s+\w+te|nikdy|pokud|když"  # Polish, Czech
    r"|не|никогда|нельзя|без|если|пока|кроме|якщо|ніколи"  # Russian, Ukrainian
    r"|eğer|asla|değil|لا|إذا|بدون|אל|אם|אסור|मत|नहीं|यदि|अगर)(?!\w)"
    r"|不要|不能|不可|不得|别(?=[点按选删打关碰])|请勿|勿|禁止|切勿|如果|除非|直到|的话|ないで|しない|するな|なければ|もし|지\s?마|않|만약"
)

_ADVICE = {
    "negation": "leave out what is not to be done",
    "exclusion": "leave out what is not to be done",
    "condition": "conditions and repetitions are not understood: name the steps one by one",
    "alternative": "choose one of the two",
}


def begins_here(mask: str, position: int) -> bool:
    """Return whether a prohibition or a condition begins at a position of a masked text."""
    return bool(_WORDS.match(mask, position) or _ONLY.match(mask, position))


def refuse_conditions(part: Part, verb_end: int | None) -> None:
    """Refuse a step that holds more than something to do.

    Args:
        part: the step.
        verb_end: the position after its verb; None if it has none, so that all of it names something to click.

    Raises:
        UsageError: it holds a prohibition, a condition, a repetition, an alternative or a question; the message says
            what to write instead.
    """
    mask = part.mask
    label = _BEFORE_LABEL.match(mask, verb_end) if verb_end is not None else None
    for match in _WORDS.finditer(mask):
        if not (label and _begins_a_label(match, mask, label.end())):
            raise _refusal(part, match[0], _ADVICE[match.lastgroup or "condition"])
    if only := _ONLY.match(mask):
        raise _refusal(part, only[0], _ADVICE["negation"])
    if verb_end is not None:
        return
    if foreign := _FOREIGN.search(mask[:1].lower() + mask[1:]):
        raise _refusal(part, foreign[0], "instructions are in English, and name only what is to be done")
    if mask.rstrip().endswith(("?", "？")) or _SENTENCE.match(mask):
        raise UsageError(
            f"cannot follow {part.text[:60]!r}: expected a verb and what it is done to, or the name of one thing to "
            f'click; say for example: click "{part.text[:60]}"'
        )


def _begins_a_label(match: re.Match[str], mask: str, start: int) -> bool:
    word = match[0]
    is_capital = word[0].isupper() and (len(word) == 1 or not word.isupper())
    if match.start() == start:
        return is_capital or match.lastgroup == "negation"
    return is_capital and _SECOND_LABEL.search(mask, 0, match.start()) is not None


def _refusal(part: Part, word: str, advice: str) -> UsageError:
    return UsageError(
        f"cannot follow {part.text[:60]!r}: {advice}. If {word!r} belongs to a label or a text, put that in quotes: "
        f'click "Don\'t save"'
    )
