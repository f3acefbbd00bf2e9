"""The embedded model's tokenizer: about 500 ids, lossless on any text.

Words of questions ("the", "button", "red") and pieces of answers (``<point x="``) are single ids. All other text,
especially labels, is encoded byte by byte, so that new words need no special treatment.
"""

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from molmo_agent.model.inputs.chat import CHAT_TEMPLATE
from molmo_agent.model.processor import IMAGE_TOKENS

END = "<|end|>"

# Pieces of answers and turn marks, matched literally at any position.
PIECES = (
    " User:",
    " Assistant:",
    ' <point x="',
    ' <points x1="',
    '<point x="',
    '<points x1="',
    '" y="',
    *(f'" x{i}="' for i in range(2, 13)),
    *(f'" y{i}="' for i in range(1, 13)),
    '" alt="',
    '">',
    "</point>",
    "</points>",
    " There are none.",
    " Counting the",
    " shows a total of",
)

# Words of questions; only the lower-case form after a space is one id, so a label "Close" is encoded byte by byte.
WORDS = [
    "a",
    "and",
    "are",
    "at",
    "below",
    "above",
    "between",
    "bottom",
    "box",
    "button",
    "big",
    "blue",
    "black",
    "bar",
    "brown",
    "check",
    "checkbox",
    "circle",
    "click",
    "close",
    "color",
    "count",
    "counting",
    "cyan",
    "desktop",
    "dialog",
    "diamond",
    "double",
    "down",
    "drag",
    "draw",
    "entry",
    "field",
    "find",
    "first",
    "file",
    "folder",
    "from",
    "gray",
    "green",
    "grey",
    "heart",
    "hexagon",
    "how",
    "icon",
    "image",
    "in",
    "input",
    "into",
    "is",
    "item",
    "it",
    "labelled",
    "labeled",
    "large",
    "last",
    "left",
    "link",
    "list",
    "locate",
    "many",
    "maximize",
    "medium",
    "menu",
    "middle",
    "minimize",
    "mouse",
    "named",
    "next",
    "none",
    "number",
    "of",
    "on",
    "one",
    "open",
    "option",
    "orange",
    "page",
    "panel",
    "pentagon",
    "pink",
    "plus",
    "point",
    "press",
    "purple",
    "radio",
    "red",
    "reads",
    "rectangle",
    "right",
    "saying",
    "says",
    "scroll",
    "search",
    "second",
    "select",
    "shape",
    "show",
    "shows",
    "slider",
    "small",
    "square",
    "star",
    "tab",
    "tap",
    "task",
    "text",
    "textbox",
    "that",
    "the",
    "there",
    "third",
    "this",
    "tick",
    "tile",
    "title",
    "to",
    "tool",
    "toggle",
    "top",
    "total",
    "triangle",
    "turquoise",
    "two",
    "three",
    "type",
    "up",
    "value",
    "violet",
    "what",
    "where",
    "which",
    "white",
    "window",
    "with",
    "word",
    "yellow",
    "you",
]


def build_tokenizer(sentences: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Build the tokenizer; deterministic.

    Args:
        sentences: texts that are one id each, for a model that always reads or writes them.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = alphabet + [f"Ġ{word}" for word in sorted(WORDS)]
    # Without merges, a pre-token is either one entry or a sequence of bytes.
    model = BPE(vocab={entry: i for i, entry in enumerate(entries)}, merges=[], ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+|."), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in (*PIECES, *sentences)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (END, *IMAGE_TOKENS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=list(IMAGE_TOKENS),
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
        chat_template=CHAT_TEMPLATE,
    )
