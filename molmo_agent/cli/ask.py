"""``agent ask`` and ``agent caption``: answers about images in words, shown while they come."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from molmo_agent.console import make_console, plain_text, say_json, warn
from molmo_agent.errors import UsageError
from molmo_agent.files import whole_file

if TYPE_CHECKING:
    from molmo_agent.episode import Image, LabelledPoint
    from molmo_agent.point_text.in_words import InlineAnswer

_WHAT_CAN = (
    "name one with --model: a Molmo checkpoint such as runs/mine/export, a name on the Hugging Face hub such as "
    "allenai/Molmo-7B-D-0924, or a served model such as http://localhost:8000/v1#NAME"
)
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")

Model = Annotated[
    str | None, typer.Option(help="A Molmo checkpoint folder, a hub name, or http://HOST/v1#NAME. Nano only points.")
]
Out = Annotated[Path | None, typer.Option(help="Where to write the image with the points of the answer drawn.")]
MaxTokens = Annotated[int, typer.Option(min=1, max=100_000, help="Maximum length of the answer in tokens.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of text for people.")]


def ask(
    images_and_question: Annotated[
        list[str], typer.Argument(metavar="IMAGE... QUESTION", help="Image files, and the question as one word.")
    ],
    model: Model = None,
    out: Out = None,
    max_tokens: MaxTokens = 448,
    as_json: Json = False,
) -> None:
    """Ask a question about images, and print the answer in words; points in it are shown as numbers.

    Exit codes: 0 answered, 1 the answer is empty or was cut off, 2 usage, 3 model failure, 130 stopped by you.
    """
    *images, question = images_and_question
    is_name = question.lower().endswith(_ENDINGS) and (" " not in question or Path(question).is_file())
    if not images or not question.strip() or is_name:
        raise UsageError(
            f"expected image files and then a question, such as: agent ask photo.png 'What is this?'; got "
            f"{' '.join(map(repr, images_and_question))}"
        )
    raise typer.Exit(_answer([Path(image) for image in images], question, model, out, max_tokens, as_json=as_json))


def caption(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    model: Model = None,
    out: Out = None,
    max_tokens: MaxTokens = 448,
    as_json: Json = False,
) -> None:
    """Describe an image in words.

    Exit codes: 0 described, 1 the caption is empty or was cut off, 2 usage, 3 model failure, 130 stopped by you.
    """
    from molmo_agent.model.prompts import caption_wording

    raise typer.Exit(_answer([image], caption_wording(), model, out, max_tokens, as_json=as_json))


def _answer(
    paths: Sequence[Path], question: str, model: str | None, out: Path | None, max_tokens: int, *, as_json: bool
) -> int:
    """Answer a question, print the answer while it comes, and return the exit code."""
    from molmo_agent.images import read_image
    from molmo_agent.point_text.cut_off import is_cut, why_no_answer, without_mark
    from molmo_agent.point_text.in_words import InlineAnswer

    if out is not None and any(out.resolve() == path.resolve() for path in paths):
        raise UsageError(f"--out {str(out)!r} would overwrite an input image; choose another name")
    images = [read_image(path) for path in paths]
    answerer = _load(model, quiet=as_json)
    profile = getattr(answerer, "profile", None)
    inline = InlineAnswer(getattr(profile, "dialect", "molmo"))
    console, began, reply, text = make_console(), time.perf_counter(), "", ""
    for piece in _pieces(answerer, images, question, max_tokens):
        reply += piece
        # The mark of a reply that was cut off is said apart.
        text += _show(console, inline.feed(without_mark(piece)), quiet=as_json)
    text += _show(console, inline.end(), quiet=as_json)
    cut, latency_s = is_cut(reply), time.perf_counter() - began
    if not as_json:
        console.print()
    picture = _draw(images, inline, out)
    if as_json:
        say_json(
            {
                "answer": without_mark(reply).strip(),
                "text": text.strip(),
                "points": [_as_json(one, images) for one in inline.points],
                "cut": cut,
                "model": str(getattr(answerer, "name", model)),
                "latency_s": latency_s,
                "picture": None if picture is None else str(picture),
            }
        )
    elif picture is not None:
        console.print(plain_text(f"points drawn on {picture}"))
    if cut:
        warn(f"the answer was cut off after {max_tokens} tokens; --max-tokens allows more")
    elif not text.strip():
        warn(f"the model gave no answer: {why_no_answer(reply) or 'its reply is empty'}")
    return 0 if text.strip() and not cut else 1


def _show(console: Any, text: str, *, quiet: bool) -> str:
    """Print a part of an answer without a line feed of its own, and return it."""
    if text and not quiet:
        console.print(Text(text), end="", soft_wrap=True)
    return text


def _load(model: str | None, *, quiet: bool) -> Any:
    """Return a model that answers in words.

    Raises:
        UsageError: it only points.
    """
    from molmo_agent.cli.run import loading
    from molmo_agent.registry import MODELS

    if model is None:
        raise UsageError(f"expected a model that answers in words; {_WHAT_CAN}")
    if model.partition(":")[0] in MODELS:
        raise UsageError(f"the model {model!r} only points and cannot answer in words; {_WHAT_CAN}")
    with loading(model, quiet=quiet):
        from molmo_agent.interfaces import model_traits
        from molmo_agent.registry import load_model

        answerer = model_traits(load_model(model)).answerer
    if answerer is None:
        raise UsageError(f"the model {model!r} cannot answer in words; {_WHAT_CAN}")
    return answerer


def _pieces(answerer: Any, images: "Sequence[Image]", question: str, max_tokens: int) -> Iterator[str]:
    """Yield an answer as it comes, or whole where the model gives it whole.

    Raises:
        UsageError: there are several images, and the model reads one.
    """
    if hasattr(answerer, "stream_answer"):
        if len(images) > 1:
            warn(
                "the released Molmo models were trained with one image per question: trust only one trained on several"
            )
        yield from answerer.stream_answer(images, question, max_new_tokens=max_tokens)
        return
    if len(images) > 1:
        raise UsageError(f"the model {answerer.name!r} reads one image per question here, got {len(images)}")
    (answer,) = answerer.answer_batch(list(images), [question], max_new_tokens=max_tokens)
    yield answer


def _draw(images: "Sequence[Image]", inline: "InlineAnswer", out: Path | None) -> Path | None:
    """Write the image with the points of the answer; return where, None if there is nothing to draw.

    Raises:
        UsageError: it cannot be written.
    """
    from molmo_agent.images import draw_points

    if out is None:
        return None
    if not inline.points:
        warn(f"the answer has no points, so {out} was not written")
        return None
    if len(images) > 1:
        warn(f"the answer does not say on which of {len(images)} images its points are, so {out} was not written")
        return None
    try:
        with whole_file(out) as part:
            draw_points(images[0], [one.point for one in inline.points]).save(part)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write the image {out}: {error}") from error
    return out


def _as_json(labelled: "LabelledPoint", images: "Sequence[Image]") -> dict[str, Any]:
    point = labelled.point
    place: dict[str, Any] = {"x": point.x, "y": point.y, "label": labelled.label}
    if len(images) == 1:
        height, width = images[0].shape[:2]
        place["pixel"] = point.to_pixels(width, height)
    return place
