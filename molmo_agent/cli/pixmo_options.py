"""Options that commands of ``agent pixmo`` share: how the work is spread, and the language model that writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_agent.console import say
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.pixmo.language_model.client import LanguageModel
    from molmo_agent.pixmo.shards import Mapper

Jobs = Annotated[int, typer.Option(help="Number of processes; the files are the same for any number.")]
Ray = Annotated[bool, typer.Option("--ray", help="Spread the work with Ray; all nodes must reach the folders.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--language-model",
        "--model",
        help="Language model that writes: http://host:8000/v1#name, or role=ADDRESS,role=ADDRESS with the roles coder, "
        "question-writer, merger and answerer. Default: rules write.",
    ),
]
MaxTokens = Annotated[
    int, typer.Option(min=1, help="Budget of the language model, in tokens; the command stops there.")
]


def spread_of(jobs: int, ray: bool, model: str | None = None) -> "Mapper":
    """Return what spreads the work.

    Raises:
        UsageError: a language model writes, whose budget one process keeps.
    """
    from molmo_agent.pixmo.shards import mapper

    if model and (jobs > 1 or ray):
        raise UsageError("expected --jobs 1 without --ray beside --language-model: one process keeps the budget")
    return mapper(jobs, ray=ray)


@contextmanager
def open_writer(address: str | None, max_tokens: int, folder: Path) -> Iterator["LanguageModel | None"]:
    """Open the language model of an address, and say in the end what it cost; None without an address.

    Args:
        address: see :meth:`LanguageModel.at`.
        max_tokens: prompts and replies together.
        folder: its subfolder ``replies`` keeps the replies, so that a prompt is paid for once.

    Raises:
        UsageError: this is no address of a model.
    """
    if address is None:
        yield None
        return
    from molmo_agent.pixmo.language_model.client import Budget, LanguageModel

    model = LanguageModel.at(address, folder / "replies", Budget(max_tokens))
    try:
        yield model
    finally:
        say(f"language model: about {model.budget.used:,} of {max_tokens:,} tokens used; replies in {folder}/replies")
