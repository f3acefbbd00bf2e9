"""What the pipelines need of a language model: text in, text out. Its prompts are files beside this one."""

from pathlib import Path
from string import Template
from typing import Protocol

PROMPTS = Path(__file__).parent / "prompts"


class Writer(Protocol):
    """Writes text; any client of a language model."""

    def write(self, role: str, prompt: str) -> str:
        """Return the reply to a prompt.

        Args:
            role: what it is asked for: merger, question writer or answerer; a client may use a model for each.
            prompt: the complete text.

        Raises:
            ModelError: it gave no reply.
        """
        ...


def prompt(name: str, **values: str) -> str:
    """Return the prompt of this name with its ``$places`` filled in."""
    return Template((PROMPTS / f"{name}.txt").read_text(encoding="utf-8")).substitute(values)
