"""Write the embedded model's card: its training data, and the results of ``agent eval nano-suite``."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.console import say
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.nano_suite.tables import sheets_of
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_calibration
from molmo_agent.files import write_whole
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.nano import CHECKPOINT, load_nano

DATA = (
    "practice sheets, small web pages, and screens of the simulated desktop and phone, drawn by seed; no photographs, "
    "no real screens"
)
_HEAD = """# nano

A Molmo with {parameters:,} parameters, trained from scratch to point at things on screens. It comes with the package.

**Good for**: trying out this package without a download. **Not good for**: real work. The tables below report how often
it hits. Where that is not much above "same kind" (a random widget of the same kind), the model recognizes the kind of
widget but does not distinguish the target from others like it.

| | |
|---|---|
| architecture | Molmo: CLIP tower {tower}, 2x2 attention pooling, Qwen2 decoder {decoder} (layers x width) |
| crops | 200 px, patches of 10 px, 20 px shared with each neighbour, at most 12 |
| tokenizer | {tokens} ids: words of questions and pieces of answers; labels are encoded byte by byte |
| data | {data} |
| training | {training} |
| weights | float16, {size_mb:.1f} MB |
| replies | Molmo's dialect: `<point x="12.3" y="45.6" alt="save">save</point>` |
| acts on | points with a confidence of at least {least} (`--min-confidence`) |

{note}
## Scores

Fonts, words, looks and seeds named "unseen" do not occur in training. Intervals: Wilson, 95 %. Reproduce:
`agent eval nano-suite`.
"""


def write_card(
    folder: Path,
    figures: Mapping[str, Any],
    *,
    parameters: int,
    tokens: int,
    training: str,
    data: str = DATA,
    note: str = "",
) -> Path:
    """Write README.md and the plot of the confidences to a checkpoint's folder.

    Args:
        folder: of the checkpoint, with its weights.
        figures: of :func:`molmo_agent.evaluation.nano_suite.run.run_suite`.
        parameters: the model's number of parameters.
        tokens: the tokenizer's number of ids.
        training: description of the training.
        data: description of the training data.
        note: additional text.

    Raises:
        UsageError: the figures are of a quick run.
    """
    if figures["quick"]:
        raise UsageError("expected the figures of a full run, got those of a quick one; run agent eval nano-suite")
    least = figures["min_confidence"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tower, decoder = (
        f"{config[part]['num_hidden_layers']} x {config[part]['hidden_size']}"
        for part in ("vision_config", "text_config")
    )
    head = _HEAD.format(
        parameters=parameters,
        tokens=tokens,
        tower=tower,
        decoder=decoder,
        training=training,
        data=data,
        size_mb=(folder / "model.safetensors").stat().st_size / 1e6,
        least="0 %" if least is None else f"{least:.0%}",
        note=note and note + "\n",
    )
    parts = [head]
    for sheet in sheets_of(figures):
        lines = [f"\n### {sheet.title}\n", *([sheet.note + "\n"] if sheet.note else [])]
        lines += [_line(sheet.columns), _line(["---"] * len(sheet.columns)), *map(_line, sheet.rows)]
        parts.append("\n".join(lines) + "\n")
    if draw_calibration(figures["calibration"], folder / PLOT_FILE):
        parts.append(f"\n![share of hits over the confidence]({PLOT_FILE})\n")
    path = folder / "README.md"
    write_whole(path, "".join(parts))
    return path


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the card of a checkpoint from the figures of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="suite.json written by `agent eval nano-suite`")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the embedded nano")
    parser.add_argument("--training", required=True, help="description such as '900 steps on two CPU cores'")
    parser.add_argument("--data", default=DATA, help=f"description of the training data (default: {DATA})")
    parser.add_argument("--note", default="", help="additional text for the card")
    options = parser.parse_args(arguments)
    pointer = MolmoPointer.from_pretrained(options.model) if options.model else load_nano()
    try:
        figures = json.loads(options.figures.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the figures in {options.figures}: {error}") from error
    tokenizer: Any = pointer.processor.tokenizer
    path = write_card(
        options.model or CHECKPOINT,
        figures,
        parameters=sum(parameter.numel() for parameter in pointer.model.parameters()),
        tokens=len(tokenizer),
        training=options.training,
        data=options.data,
        note=options.note,
    )
    say(path)


if __name__ == "__main__":
    main()
