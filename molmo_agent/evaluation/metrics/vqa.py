"""Soft accuracy of VQA v2, with its normalization of answers."""

import re
from collections import Counter
from collections.abc import Sequence

from molmo_agent.evaluation.metrics.text import NUMBER_WORDS

_DIGITS = {"none": "0"} | {word: str(i) for i, word in enumerate(NUMBER_WORDS[:11])}
_ARTICLES = ("a", "an", "the")
_SIGNS = ';/[]"{}()=+\\_-><@`,?!'

# The forms that the official clean-up restores; each lost one of its apostrophes.
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's I'd've I'm I've isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't
not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're
there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {
    form[: match.start()] + form[match.end() :]: form
    for form in _CONTRACTED.split()
    for match in re.finditer("'", form)
}
# The official table turns this one the other way round, in both texts alike.
_CONTRACTIONS["somebody'd"] = "somebodyd"
_LOWER_CONTRACTIONS = {key.lower(): form.lower() for key, form in _CONTRACTIONS.items()}

_COMMA_BETWEEN_DIGITS = re.compile(r"\d,\d")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_FULL_STOP = re.compile(r"\.(?!\d)")
# A flag stands where the number of replacements belongs, in the official code too.
_REFERENCE_FULL_STOPS = 32


def clean_vqa(text: str, *, reference_quirks: bool = False) -> str:
    """Return an answer normalized for comparison as in VQA v2.

    Lower case; no punctuation, except full stops and colons inside numbers; number words up to ten as digits; no
    articles; apostrophes restored. A sign becomes a space, but vanishes where it touches a space anywhere in the text.
    (visualqa.org/evaluation)

    The reference lets every sign vanish once a comma stands between digits (by default only thousands separators
    vanish), keeps full stops from the 33rd on, and never restores the apostrophes of I'm, I've and I'd've.
    """
    text = text.replace("\n", " ").replace("\t", " ").lower().strip()
    if not reference_quirks:
        text = _THOUSANDS.sub("", text)
    no_space = reference_quirks and _COMMA_BETWEEN_DIGITS.search(text) is not None
    vanishing = [sign for sign in _SIGNS if no_space or f"{sign} " in text or f" {sign}" in text]
    signs = dict.fromkeys(map(ord, _SIGNS), " ") | dict.fromkeys(map(ord, vanishing), "")
    text = _FULL_STOP.sub("", text.translate(signs), count=_REFERENCE_FULL_STOPS * reference_quirks)
    contractions = _CONTRACTIONS if reference_quirks else _LOWER_CONTRACTIONS
    words = (_DIGITS.get(word, word) for word in text.split())
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)


def vqa_soft(reply: str, answers: Sequence[str] | str, *, reference_quirks: bool = False) -> float:
    """Return the soft accuracy of a reply: the share of agreeing annotators (usually of ten), where three give 1.

    The official score (visualqa.org/evaluation) is the mean of min(matches / 3, 1) over all ways to leave one
    annotator out. The reference leaves none out, which is up to 0.1 higher for ten annotators, and compares a single
    string uncleaned.

    Args:
        reply: the answer; cleaned here with :func:`clean_vqa`.
        answers: one per annotator, 0 if there are none; or a single string that must be matched.
        reference_quirks: score as the reference does.
    """
    prediction = clean_vqa(reply, reference_quirks=reference_quirks)
    if isinstance(answers, str):
        return float(prediction == (answers if reference_quirks else clean_vqa(answers)))
    matches = Counter(clean_vqa(answer, reference_quirks=reference_quirks) for answer in answers)[prediction]
    if reference_quirks or not matches:
        return min(matches / 3, 1.0)
    others = len(answers) - matches
    return (matches * min((matches - 1) / 3, 1.0) + others * min(matches / 3, 1.0)) / len(answers)
