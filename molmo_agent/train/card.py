"""The embedded model's card: what it was trained on, and how often it hits, in the words of its own evaluation."""

from pathlib import Path
from typing import Any

_HEAD = """# nano

A Molmo with {parameters:,} parameters, trained from scratch to point at things on screens. It comes with the package.

**Good for**: trying out everything around a pointing model without a download. **Not good for**: your work. The table
below says how often it hits; where that is not much more than a random widget of the same kind, it does not know.

| | |
|---|---|
| architecture | Molmo: CLIP tower 3 x 128, 2x2 attention pooling, Qwen2 decoder 4 x 192 |
| crops | 200 px, patches of 10 px, 20 px shared with each neighbour, at most 12 |
| tokenizer | 437 ids: words of questions and pieces of answers; labels are spelled byte by byte |
| data | practice sheets and screens of the simulated desktop, drawn by seed; no photographs, no real screens |
| training | {steps}, on two CPU cores: `agent train nano` |
| weights | float16, {size_mb:.1f} MB |
| replies | Molmo's dialect: `<point x="12.3" y="45.6" alt="save">save</point>` |

{note}
## Scores

A hit is exactly one point inside the element's box, from constrained decoding. Fonts, words and seeds named "unseen" were never
drawn in training. `random` is the chance that a random visible widget of the same kind is the right one, perfectly
localised. Intervals: Wilson, 95 %. Reproduce: `python -m molmo_agent.train.evaluate`.

| screens | category | n | hit | interval | random |
|---|---|---|---|---|---|
"""


def write_card(folder: Path, table: dict[str, Any], *, parameters: int, steps: str, note: str = "") -> Path:
    """Write README.md beside a checkpoint.

    Args:
        folder: of the checkpoint; its weights are measured.
        table: what :func:`molmo_agent.train.evaluate.run_suite` returned.
        parameters: how many the model has.
        steps: what the training was, in words.
        note: what else a reader has to know.
    """
    size = (folder / "model.safetensors").stat().st_size / 1e6
    lines = [_HEAD.format(parameters=parameters, steps=steps, size_mb=size, note=note and note + "\n")]
    for screens, rows in table.items():
        for category, row in rows.items():
            if row["n"]:
                lines.append(
                    f"| {screens} | {category} | {row['n']} | {row['hit']:.1%} | {row['low']:.1%} - {row['high']:.1%} "
                    f"| {row['random_same_kind']:.1%} |\n"
                )
    path = folder / "README.md"
    path.write_text("".join(lines))
    return path
