"""What the pipelines need of a language model: text in, text out."""

from typing import Protocol

from molmo_agent.errors import ModelError


class UnusableReplyError(ModelError):
    """The model declined, or its reply was cut off: another prompt may work."""


class Writer(Protocol):
    """Writes text; any client of a language model."""

    def write(self, role: str, prompt: str) -> str:
        """Return the reply to a prompt.

        Args:
            role: coder, question-writer, merger or answerer; a client may use a model for each.
            prompt: the complete text.

        Raises:
            UnusableReplyError: the model declined, or was cut off.
            ModelError: it gave no reply.
        """
        ...
