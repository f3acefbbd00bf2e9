"""``agent pixmo collect``, ``export``, ``count`` and ``capqa``: data that people make, and what is made from it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from molmo_agent.cli.pixmo_options import Jobs, MaxTokens, Model, Ray, open_writer, spread_of
from molmo_agent.console import say, warn
from molmo_agent.errors import UsageError

app = typer.Typer()


@app.command()
def collect(
    folder: Annotated[Path, typer.Argument(help="Folder of the collection; put the images in its subfolder images.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1. 0: a free one.")] = 8765,
    speech: Annotated[
        bool, typer.Option("--speech", help="Write transcripts of English recordings with pocketsphinx.")
    ] = False,
    reader: Annotated[str, typer.Option(help="Text reader for Ask: rapidocr, tesseract, ..., or none.")] = "rapidocr",
    caption_model: Annotated[
        str | None, typer.Option(help="A model that describes images for Ask, if nobody did: a checkpoint or hub name.")
    ] = None,
    least_seconds: Annotated[float, typer.Option(min=0, help="Minimum length of a recording.")] = 60.0,
    model: Model = None,
    max_tokens: MaxTokens = 1_000_000,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Annotate images in the browser: points, counts, spoken descriptions, questions. Only this machine can reach it.

    Every answer is on disk when the page says so; the same command resumes. Ctrl-C ends it.
    """
    from molmo_agent.pixmo.cap import Pocketsphinx
    from molmo_agent.pixmo.collect.helpers import load_helpers
    from molmo_agent.pixmo.collect.server import serve

    helpers = load_helpers(Pocketsphinx() if speech else None, reader, caption_model, least_seconds)

    def ready(address: str) -> None:
        say(f"annotate at {address}")
        say("whoever has this address can annotate; Ctrl-C ends")
        if show:
            typer.launch(address)

    with open_writer(model, max_tokens, folder) as writer:
        serve(folder, port, replace(helpers, writer=writer), on_ready=ready, report=warn)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of the collection.")],
    out: Annotated[Path, typer.Argument(help="Folder of the data sets: pixmo-points, pixmo-count, pixmo-cap, ...")],
    method: Annotated[str, typer.Option(help="Collection method of the points: pointing or counting.")] = "pointing",
    annotators: Annotated[int, typer.Option(min=1, help="Number of annotators that have to agree on points.")] = 1,
    model: Model = None,
    max_tokens: MaxTokens = 1_000_000,
) -> None:
    """Write what was collected as data sets that `agent train` and `agent data` read.

    The language model, if any, merges the transcripts of an image into its caption.
    """
    from molmo_agent.pixmo.collect.export import export_project

    with open_writer(model, max_tokens, folder) as writer:
        result = export_project(folder, out, method=method, least=annotators, report=warn, writer=writer)
    for name, rows in result.rows.items():
        say(f"{rows} rows in {out / name}")
    for line in result.left_out:
        warn(line)


@app.command()
def count(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    folder: Annotated[Path, typer.Argument(help="Folder of a collection, for agent pixmo collect and export.")],
    detector: Annotated[
        str, typer.Option(help="shapes (coloured shapes on a plain ground), or a detection model of transformers.")
    ] = "shapes",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Minimum score of a detection.")] = 0.9,
    per_count: Annotated[
        int, typer.Option(min=0, help="Images of each number from 0 to 10, in validation and in test.")
    ] = 60,
    jobs: Jobs = 1,
    ray: Ray = False,
) -> None:
    """Propose counts with a detector: the most frequent class of each image. People verify validation and test."""
    from molmo_agent.pixmo.count import load_detector, propose

    spread, found_by = spread_of(jobs, ray), load_detector(detector)
    summary = propose(images, folder, found_by, threshold=threshold, per_count=per_count, spread=spread, report=warn)
    for split, numbers in summary.items():
        say(f"{split}: {sum(numbers.values())} images; " + ", ".join(f"{n}: {m}" for n, m in sorted(numbers.items())))
    if not summary:
        raise UsageError(
            f"no image in {images} has a clear number of objects; lower --threshold, or try another detector"
        )


@app.command()
def capqa(
    captions: Annotated[Path, typer.Argument(help="Folder of PixMo-Cap, or of an export of captions.")],
    out: Annotated[Path, typer.Argument(help="New folder of the data set.")],
    seed: Annotated[int, typer.Option(help="Seed of the styles and the order of the questions.")] = 0,
    jobs: Jobs = 1,
    ray: Ray = False,
    model: Model = None,
    max_tokens: MaxTokens = 1_000_000,
) -> None:
    """Write conversations from captions by rules or with a language model.

    Each answer is checked against its caption.
    """
    from molmo_agent.pixmo.capqa import make_capqa

    spread = spread_of(jobs, ray, model)
    with open_writer(model, max_tokens, out) as writer:
        rows, turns, rejected = make_capqa(captions, out, seed=seed, writer=writer, spread=spread, report=warn)
    say(f"{rows} conversations with {turns} questions in {out}; {rejected} questions rejected")
