"""The embedded model's card: what it was trained on, and what ``agent eval nano-suite`` measured."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.nano_suite.tables import sheets_of
from molmo_agent.evaluation.reliability import PLOT_FILE, draw_calibration
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.pointers.nano import CHECKPOINT, load_nano

DATA = (
    "practice sheets, small web pages, and screens of the simulated desktop and phone, drawn by seed; no photographs, "
    "no real screens"
)
_HEAD = """# nano

A Molmo with {parameters:,} parameters, trained from scratch to point at things on screens. It comes with the package.

**Good for**: trying out everything around a pointing model without a download. **Not good for**: your work. The tables
below say how often it hits; where that is not much more than a random widget of the same kind (one that is found, but
not told from others like it), it does not know.

| | |
|---|---|
| architecture | Molmo: CLIP tower {tower}, 2x2 attention pooling, Qwen2 decoder {decoder} (layers x width) |
| crops | 200 px, patches of 10 px, 20 px shared with each neighbour, at most 12 |
| tokenizer | {tokens} ids: words of questions and pieces of answers; labels are spelled byte by byte |
| data | {data} |
| training | {training} |
| weights | float16, {size_mb:.1f} MB |
| replies | Molmo's dialect: `<point x="12.3" y="45.6" alt="save">save</point>` |
| acts on | points that it is at least {least} sure of (`--min-confidence`) |

{note}
## Scores

Fonts, words, looks and seeds named "unseen" were never drawn in training. Intervals: Wilson, 95 %. Reproduce:
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
    """Write README.md beside a checkpoint, and the plot of its confidences.

    Args:
        folder: of the checkpoint; its weights are measured.
        figures: of :func:`molmo_agent.evaluation.nano_suite.run.run_suite`.
        parameters: how many the model has.
        tokens: ids of its tokenizer.
        training: what it was, in words.
        data: what it saw in training, in words.
        note: what else a reader has to know.

    Raises:
        UsageError: the figures are of a quick run.
    """
    if figures["quick"]:
        raise UsageError("expected the figures of a whole run, got those of a quick one: agent eval nano-suite")
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
    path.write_text("".join(parts), encoding="utf-8")
    return path


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the card of a checkpoint from the figures of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="suite.json of a run of `agent eval nano-suite`")
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the embedded nano")
    parser.add_argument("--training", required=True, help="the training in words, e.g. '900 steps on two CPU cores'")
    parser.add_argument("--data", default=DATA, help=f"what it saw in training (default: {DATA})")
    parser.add_argument("--note", default="", help="what else the card should say")
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
    print(path)


if __name__ == "__main__":
    main()
