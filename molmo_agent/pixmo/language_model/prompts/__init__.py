"""The prompts, as files: a changed wording gets a new version in its name, so that replies tell what was asked."""

from pathlib import Path
from string import Template


def prompt(name: str, **values: str) -> str:
    """Return the prompt of this name with its ``$places`` filled in."""
    return Template(Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8")).substitute(values)
