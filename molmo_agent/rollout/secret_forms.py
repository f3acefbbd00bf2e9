"""The forms in which a secret comes back in text: as it is, or as a phone, a shell, a page or a record writes it."""

import base64
import html
import json
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Mapping

# Between the letters of a text that is shown letter by letter, or wrapped at the edge of a box.
_GAPS = r"[\s,;'\"|._\-\u00b7\u2022\u200b-\u200d\u2060\ufeff\u2500-\u257f\[\]()]"
_MAX_GAP = 12
# Shorter pieces of base64 occur in other text.
_MIN_BASE64 = 6

_ENCODERS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: repr(text)[1:-1],
    lambda text: repr(text.encode("utf-8", "replace"))[2:-1],
    lambda text: text.replace("'", "\\'").replace('"', '\\"'),
    lambda text: text.encode("unicode_escape").decode("ascii"),
    lambda text: urllib.parse.quote(text, safe="", errors="replace"),
    lambda text: urllib.parse.quote(text, errors="replace"),
    lambda text: urllib.parse.quote_plus(text, errors="replace"),
    # What JavaScript's encodeURIComponent and encodeURI leave.
    lambda text: urllib.parse.quote(text, safe="!~*'()", errors="replace"),
    lambda text: urllib.parse.quote(text, safe=";,/?:@&=+$-_.!~*'()#", errors="replace"),
    lambda text: html.escape(text, quote=False),
    lambda text: html.escape(text),
    lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    lambda text: html.escape(text).replace("&#x27;", "&apos;").replace("&quot;", "&#34;"),
    lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
    # A phone's `input text`.
    lambda text: text.replace(" ", "%s"),
    # Inside of the quotes of Python's and of people's shell commands.
    lambda text: text.replace("'", "'\"'\"'"),
    lambda text: text.replace("'", "'\\''"),
    lambda text: re.sub(r"([^\w@%+=:,./-])", r"\\\1", text),
    # Of PowerShell and of SQL.
    lambda text: text.replace("'", "''"),
)


def _base64_forms(data: bytes) -> set[str]:
    """Return what base64 makes of data wherever they begin in a longer text, without the letters that depend on it."""
    forms = set()
    for num_before in range(3):
        whole = base64.b64encode(b"\0" * num_before + data).decode().rstrip("=")
        first = -(-num_before * 8 // 6)
        last = (num_before + len(data)) * 8 // 6
        core = whole[first:last]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= _MIN_BASE64}


def written_forms(value: str) -> set[str]:
    """Return the forms in which a text may be written, at least itself."""
    plain = {value, *(unicodedata.normalize(form, value) for form in ("NFC", "NFD"))}
    # Twice: a URL in JSON, a phone's text in a shell's quotes.
    forms = {second(first(text)) for text in plain for first in _ENCODERS for second in _ENCODERS}
    for text in plain:
        data = text.encode("utf-8", "replace")
        forms |= {data.hex(), data.hex(" "), data.hex(":"), *_base64_forms(data)}
        forms.add("".join(f"%{byte:02x}" for byte in data))
        forms.add("".join(f"\\x{byte:02x}" for byte in data))
        forms.add("".join(f"\\u{ord(char):04x}" for char in text))
        forms |= {"".join(f"&#{number};" for number in map(ord, text)), "".join(f"&#x{ord(char):x};" for char in text)}
    return forms


def _spread(value: str) -> str:
    """Return a pattern for a text with gaps between its letters."""
    parts = [re.escape(value[0])]
    for char in value[1:]:
        letter = re.escape(char)
        # Never over the letter that is looked for: a gap is what cannot be part of the text.
        parts.append(rf"(?:(?!{letter}){_GAPS}){{0,{_MAX_GAP}}}+{letter}")
    return "".join(parts)


class Scrubber:
    """Replaces secrets in text by their placeholders.

    Args:
        values: name -> secret, none of them empty.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._names = tuple(values)
        groups = []
        # The longest first: a secret that contains another one must not be cut in half.
        for number, name in sorted(enumerate(self._names), key=lambda item: -len(values[item[1]])):
            forms = sorted(written_forms(values[name]), key=len, reverse=True)
            groups.append(f"(?P<s{number}>{'|'.join([*map(re.escape, forms), _spread(values[name])])})")
        self._pattern = re.compile("|".join(groups), re.IGNORECASE)

    def scrub(self, text: str) -> str:
        """Return a text with placeholders in place of secrets; the same object where it holds none."""
        if not self._pattern.search(text):
            return text
        return self._pattern.sub(self._placeholder, text)

    def _placeholder(self, match: re.Match[str]) -> str:
        return "{{" + self._names[int(str(match.lastgroup)[1:])] + "}}"
