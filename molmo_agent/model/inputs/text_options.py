"""Options of a processor's call that are about text: padding, cutting, the form of the result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_NESTED = ("text_kwargs", "images_kwargs", "common_kwargs")
# True for what the processor does anyway; another value would change the layout of the released models.
_ANYTHING_GOES = ("add_special_tokens", "return_text_replacement_offsets", "verbose")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How sequences of a batch are brought to one length, and what is returned."""

    padding: Literal["longest", "max_length", "do_not_pad"] = "longest"
    padding_side: Literal["left", "right"] = "left"
    # Cut what follows the pictures, at the end, to max_length tokens.
    truncation: bool = False
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: Literal["pt", "np"] = "pt"
    return_offsets_mapping: bool = False
    max_crops: int | None = None

    @classmethod
    def read(cls, arguments: Mapping[str, Any], padding_side: str) -> "TextOptions":
        """Return the options in a call's arguments, under the names of transformers.

        Args:
            arguments: by name, also nested as ``text_kwargs``, ``images_kwargs`` and ``common_kwargs``.
            padding_side: where the tokenizer pads.

        Raises:
            ValueError: a value that cannot be honoured.
            TypeError: an option that would be ignored.
        """
        flat: dict[str, Any] = {"padding_side": padding_side}
        for name, value in arguments.items():
            flat |= dict(value or {}) if name in _NESTED else {} if value is None else {name: value}
        for name in _ANYTHING_GOES:
            flat.pop(name, None)
        padding = flat.pop("padding", True)
        flat["padding"] = {True: "longest", False: "do_not_pad"}.get(padding, padding)
        truncation = flat.pop("truncation", False)
        flat["truncation"] = {"longest_first": True, "do_not_truncate": False}.get(truncation, truncation)
        for name, (what, allowed) in _ALLOWED.items():
            if name in flat and flat[name] not in allowed:
                raise ValueError(f"expected {name} to be {what}, got {flat[name]!r}")
        for name in ("videos", "audio"):
            if flat.pop(name, None):
                raise ValueError(f"expected images and text, got {name}: Molmo would not look at it")
        if flat.pop("return_token_type_ids", False) or not flat.pop("return_attention_mask", True):
            raise ValueError("expected input_ids with attention_mask and no token_type_ids: Molmo has no others")
        unknown = sorted(set(flat) - set(cls.__slots__))
        if unknown:
            raise TypeError(
                f"MolmoProcessor has no option {', '.join(unknown)}, and would ignore it; "
                f"it has {', '.join(sorted(cls.__slots__))}"
            )
        if flat.get("max_length") is None and (flat["truncation"] or flat["padding"] == "max_length"):
            raise ValueError("expected max_length, in tokens, with truncation or padding='max_length'; got none")
        return cls(**flat)

    def cut(self, ids: list[int], pictures: int) -> list[int]:
        """Return a sequence of at most ``max_length`` tokens; its first ``pictures`` tokens must stay.

        Raises:
            ValueError: it is longer, and may not be cut or would lose a part of a picture.
        """
        if self.max_length is None or len(ids) <= self.max_length:
            return ids
        if not self.truncation:
            raise ValueError(
                f"expected at most max_length={self.max_length} tokens, got {len(ids)}: pass truncation=True to lose "
                "the end of the text, or a greater max_length"
            )
        if self.max_length < pictures:
            raise ValueError(
                f"expected max_length to leave room for the pictures, which take {pictures} tokens, got "
                f"{self.max_length}: pass a greater max_length, or a smaller max_crops"
            )
        return ids[: self.max_length]

    def length(self, lengths: list[int]) -> int:
        """Return the length that sequences of these lengths are padded to.

        Raises:
            ValueError: they differ, and padding is off.
        """
        if self.padding == "do_not_pad" and len(set(lengths)) > 1:
            raise ValueError(f"expected prompts of one length with padding=False, got {sorted(set(lengths))} tokens")
        longest = self.max_length if self.padding == "max_length" and self.max_length else max(lengths)
        if self.padding != "do_not_pad" and self.pad_to_multiple_of:
            longest += -longest % self.pad_to_multiple_of
        return longest


_ALLOWED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "padding": ("True, False, 'longest', 'max_length' or 'do_not_pad'", ("longest", "max_length", "do_not_pad")),
    "padding_side": ("'left' or 'right'", ("left", "right")),
    "truncation": ("True or False", (True, False)),
    "return_tensors": ("'pt' or 'np'", ("pt", "np")),
}
