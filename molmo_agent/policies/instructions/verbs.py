"""The verbs of the grammar and what each does, and the polite words before them."""

import re

from molmo_agent.policies.instructions.keys import MODIFIERS
from molmo_agent.policies.instructions.reading import PRESS
from molmo_agent.policies.instructions.searching import ADDRESS

_HOLD = (
    r"long[- ]?press|press and hold|tap and hold|touch and hold|click and hold"
    rf"|(?<!press and )(?<!touch and )(?<!click and )(?<!tap and )hold(?: down)?(?=\s+the\s+(?!{MODIFIERS}|key))"
)
_END = r"(?=\s*(?:[.!,;\n]|$)|\s+(?:and|then)\s+(?!on(?!\w)|off(?!\w)))"
_MARK = r"(?:check\s?(?:mark)?|tick(?: mark)?|cross)"
_CLICK = (
    r"left[- ]?click|click|tap|touch|select|deselect|unselect|choose|pick|tick(?: off)?|untick"
    r"|check(?: off)?|uncheck|toggle|activate|open(?: up)?|expand"
    r"|collapse|focus|enable|disable|turn on|turn off|switch on|switch off|switch to|(?:go|navigate) to"
    r"|(?:put|place|position) (?:the )?(?:text )?(?:cursor|caret)(?=\s+(?:in|at|on)(?:to)?\s)"
    r"|pull down(?=\s[^,;]{1,40}\smenu)"
    # "Turn the radio on", but not "turn the page on the left".
    rf"|(?:turn|switch)(?=\s+(?!(?:on|off|to|between)\s)(?:(?!\s(?:on|off)(?!\w))[^,;\n.]){{1,60}}\s(?:on|off){_END})"
    r"|mark(?=\s+the\s(?:[^,;\s]+\s)?(?:check\s?)?box(?!\w|\s+as\s))"
    r"|flip(?=\s+the\s[^,;\n]{0,40}?(?:switch|toggle)(?!\w))"
    rf"|(?:put|place|add) (?:a|the) {_MARK} (?:next to|in(?:to)?|on|beside|by|at)(?=\s+\S)"
    rf"|(?:remove|clear) the {_MARK} (?:next to|in|on|beside|by|at|from)(?=\s+\S)"
)
# Words that a pointing model is asked with as they stand: "close" is part of what is looked for.
_WHOLE = (
    r"close|dismiss|minimi[sz]e|maximi[sz]e|(?:refresh|reload|pause|mute|unmute)(?=\s+the\s+\S)"
    r"|(?:play|resume)(?=\s+the\s+(?:(?:first|second|third|last|top)\s)?(?:video|movie|film|clip|song|track|music|audio|recording|animation|slideshow)(?!\w))"
)
_FIELD = r"(?:field|text\s?box|(?:search|text|input) box|(?:search|address) bar)(?!\w)"
# Only what is called a field: "clear the history" deletes something else.
_CLEAR = (
    rf"(?:clear|empty)(?=\s[^,;\n]{{1,60}}?\s{_FIELD})"
    r"|(?:delete|remove|erase|clear) (?:all )?(?:of )?(?:the )?(?:whole |entire |current |old )?"
    r"(?:text|contents?) (?:in|of|from)"
    rf"(?=\s[^,;\n]{{1,60}}?\s(?:{_FIELD}|line(?!\w)))"
)
# "Replace boat with ship" changes another thing.
_FILL = (
    r"fill in|fill out|fill"
    rf"|replace(?: the (?:text|contents?|value) (?:in|of))?(?=\s[^,;\n\0]{{1,60}}?\s{_FIELD}\s+with\s)"
)
_SET = (
    r"set|(?:change|update|modify|edit|correct)(?: the (?:text|contents?|value) (?:in|of))?"
    rf"(?=\s[^,;\n\0]{{1,60}}?\s{_FIELD}\s+to\s)"
)
# "Put the ball in the box" is a drag.
_PUT = (
    rf"put(?=\s+(?!(?:the|an?|it|this|that|these|my|your|his|her|our|their|all|every|some|me)\s|(?:text\s)?(?:cursor|caret|focus)\s)[^,;\n\0]{{1,60}}?\s(?:in|into)\s+(?:the|my)\s"
    rf"[^,;\n\0]{{0,40}}?{_FIELD})|"
    r"put(?=\s+(?:\0|(?-i:[A-Z\d])|\S*@)[^,;\n]{0,80}?\s(?:in|into|to|inside)\s+"
    r"(?:(?:the|my|this)\s|\0)[^,;\n]{0,60}?(?<!check )(?:field|box|bar|cell)(?!\w))"
)
# "Add "milk" to the list" makes a new entry.
_INSERT = (
    r"(?:insert|add)(?=\s+\0+\s(?:in|into|to)\s+(?:the|my|this)\s[^,;\n]{0,60}?(?:field|box|bar|cell|line|area)(?!\w))"
)
_APP = r"(?:start|run)(?=\s+(?:the\s+)?[^,;\n]{1,40}?\s(?:app|application|program)(?!\w))"
# "Start Firefox", but not the button "Start recording".
_START = rf"(?-i:start)(?=\s+(?-i:[A-Z])\S*(?<!ing){_END})"

# (verb, what it does); the first that fits decides.
_VERBS: tuple[tuple[str, str], ...] = (
    (r"double[- ]?(?:click|tap)", "double_click"),
    (r"triple[- ]?click", "triple_click"),
    (r"(?:right|secondary)[- ]?click", "right_click"),
    (r"middle[- ]?click", "middle_click"),
    (_HOLD, "long_press"),
    (
        r"hover(?: (?:the|your|my) (?:mouse|pointer|cursor))?|mouse over"
        r"|move (?:the |your |my )?(?:mouse|pointer|cursor)",
        "move",
    ),
    (
        r"drag and drop|(?:click|tap|touch) and drag|drag|move|(?<!and )drop(?=\s[^,;]{1,60}\s(?:on|in)to\s)"
        r"|slide(?=\s+the\s[^,;]{1,60}\sto\s)",
        "drag",
    ),
    (r"scroll|swipe|flick", "scroll"),
    (rf"(?:type|write|key) (?:in|out)|write down|type|enter|write|input|paste|{_INSERT}", "type"),
    (_FILL, "fill"),
    (_PUT, "put"),
    (r"search for|search(?=\s+\0)", "search"),
    (rf"(?:go to|navigate to|visit)(?=\s+{ADDRESS})|open(?=\s+(?:https?://|www\.))", "address"),
    (_CLEAR, "clear"),
    (_SET, "set"),
    (PRESS, "press"),
    (r"use", "use"),
    (r"wait|pause(?!\s+the\s)|sleep", "wait"),
    (rf"launch|{_APP}|{_START}", "open_app"),
    (r"go back|return(?=\s+to\s+the\s+(?:previous|last)\s)", "back"),
    (r"go home|go to the home screen", "home"),
    (r"point to|point at|point out|point|where is|where are|locate|find me|find|show me", "point"),
    (_CLICK, "click"),
    (_WHOLE, "whole"),
)
VERB = re.compile("|".join(f"(?P<{does}>(?:{verb})(?![\\w+]))" for verb, does in _VERBS), re.IGNORECASE)
"""A verb at the beginning of a step; the name of its group is what it does."""
POLITE = re.compile(
    r"(?:(?:please|kindly|now|first|firstly|second(?:ly)?|third(?:ly)?|next|finally|lastly|also|just"
    r"|simply|afterwards?|after that|and|then"
    r"|(?:can|could|would) you|go ahead(?: and)?|I (?:want|need|would like) you to|I'd like you to"
    # "Do a right click on the file".
    r"|(?:do|make|perform) a(?=\s+(?:\w+[ -])?(?:click|tap|press)\s+on\s))(?!\w)[\s,:]*){1,6}",
    re.IGNORECASE,
)
"""What stands before a verb without a meaning of its own: "please", "next", "could you"."""
