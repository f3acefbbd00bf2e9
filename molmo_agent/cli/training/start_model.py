"""``agent start``: writes a model to start training from."""

from pathlib import Path
from typing import Annotated

import typer

from molmo_agent.console import make_console, plain_text, say_json
from molmo_agent.errors import UsageError


def start(
    vision: Annotated[
        str,
        typer.Option(help="Folder or hub name of CLIP, MetaCLIP, SigLIP or DINOv2: openai/clip-vit-large-patch14-336."),
    ],
    language: Annotated[str, typer.Option(help="Folder or hub name of Qwen2, OLMo or OLMoE, such as Qwen/Qwen2-7B.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    crop_size: Annotated[
        int | None, typer.Option(min=1, help="Side of a crop in pixels. Default: the encoder's image size.")
    ] = None,
    margins: Annotated[
        str, typer.Option(help="Overlap of crops in patches: left and top, right and bottom; 0 for none.")
    ] = "4,4",
    max_crops: Annotated[int, typer.Option(min=1, help="Maximum number of crops per image.")] = 12,
    crop_mode: Annotated[str, typer.Option(help="overlap, or resize for the whole image alone.")] = "overlap",
    pooling: Annotated[
        str, typer.Option(help="Of a window's features: attention, mean, or stack (side by side).")
    ] = "attention",
    pooling_size: Annotated[int, typer.Option(min=1, help="Side of a pooling window in patches.")] = 2,
    layers: Annotated[
        str | None, typer.Option(help="The encoder's layers that are read. Default: -2,-9 for CLIP, -3,-9 for others.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the new weights.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a model to start training from: a vision encoder and a language model, joined by new weights."""
    choices = {
        "--crop-mode": (crop_mode, ("overlap", "resize")),
        "--pooling": (pooling, ("attention", "mean", "stack")),
        "--dtype": (dtype, ("float32", "bfloat16", "float16")),
    }
    for option, (value, allowed) in choices.items():
        if value not in allowed:
            raise UsageError(f"expected {option} to be {' or '.join(allowed)}, got {value!r}")
    from molmo_agent.model.start_model import Start, margins_of, read_numbers, write_start_model

    options = Start(
        crop_size=crop_size,
        margins=margins_of(read_numbers(margins, "--margins")),
        max_crops=max_crops,
        crop_mode=crop_mode,  # type: ignore[arg-type]
        pooling=pooling,  # type: ignore[arg-type]
        pooling_size=pooling_size,
        vit_layers=None if layers is None else read_numbers(layers, "--layers"),
        dtype=dtype,  # type: ignore[arg-type]
        seed=seed,
    )
    written = write_start_model(vision, language, out, options)
    if as_json:
        say_json({"folder": str(out), **{name: getattr(written, name) for name in written.__slots__}})
        return
    console = make_console()
    console.print(
        plain_text(f"wrote {out}: {written.parameters:,} parameters, crops of {written.crop_size} px"), soft_wrap=True
    )
    console.print(f"an image has up to {written.image_tokens} tokens", highlight=False)
    if written.new_tokens:
        console.print("the tokenizer got the tokens of images", highlight=False)
    console.print(plain_text(f"train it: agent train pixmo_cap --from {out} home=FOLDER"), soft_wrap=True)
