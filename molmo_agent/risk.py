"""Words for actions that cannot be undone, such as "delete" and "send"."""

import re

# Whole words; "sender" and "ordering" pass.
_RISKY_WORDS = re.compile(
    r"\b(delet\w*|remov\w*|eras\w*|discard\w*|overwrit\w*|format|wipe|trash|empty|uninstall|reset|send|sends|sending|post|"
    r"publish|share|reply|forward|pay|pays|payment|buy|purchase|checkout|check out|order|donate|transfer|subscribe|"
    r"unsubscribe|sign out|log out|shut ?down|restart|reboot|sudo|rm|mkfs|shutdown|löschen|senden|kaufen|bezahlen|"
    r"supprimer|envoyer|acheter|payer|borrar|eliminar|enviar|comprar|pagar)\b",
    re.IGNORECASE,
)


def risky_word(text: str) -> str:
    """Return the first word for an action that cannot be undone, or an empty string."""
    match = _RISKY_WORDS.search(text)
    return match[0] if match else ""
