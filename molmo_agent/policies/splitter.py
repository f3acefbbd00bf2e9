"""The former place of :mod:`molmo_agent.policies.instructions.splitter`, for programs that import it from here."""

from molmo_agent.policies.instructions.splitter import split_instruction

__all__ = ["split_instruction"]
