"""``agent point``: points at something in an image file, and draws the points."""

from pathlib import Path

from molmo_agent.cli.run import loading
from molmo_agent.console import make_console, plain_text, say_json, warn
from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import UsageError
from molmo_agent.files import whole_file
from molmo_agent.images import draw_points, read_image
from molmo_agent.pointers.trained_crops import limit_crops
from molmo_agent.registry import load_model


def point_request(
    image: Path, instruction: str, model: str, *, max_crops: int | None, out: Path | None, as_json: bool
) -> int:
    """Point at something in an image file, and write the image with the points drawn; return the exit code.

    Raises:
        UsageError: the image cannot be drawn on the file ``out``, or the model cuts no crops.
    """
    pixels = read_image(image)
    target = out or image.with_name(f"{image.stem}-points.png")
    if target.resolve() == image.resolve():
        raise UsageError(f"--out {str(target)!r} would overwrite the input image; choose another name")
    with loading(model, quiet=as_json):
        pointer = load_model(model)
    if max_crops is not None and (remark := limit_crops(pointer, max_crops)):
        warn(remark)
    result = pointer.point(pixels, instruction)
    _tell(result, pixels, target, as_json=as_json)
    if result.points:
        try:
            with whole_file(target) as part:
                draw_points(pixels, [prediction.point for prediction in result.points]).save(part)
        except (OSError, ValueError) as error:
            problem = f"cannot write the image {target}: {error}"
            if out is not None:
                raise UsageError(problem) from error
            # Without --out the image is an extra: the answer counts, and the command succeeds.
            warn(f"{problem}; choose another file with --out")
        else:
            if not as_json:
                make_console().print(plain_text(f"points drawn on {target}"))
    return 0 if result.status == "ok" else 1


def _tell(result: PointResult, pixels: Image, target: Path, *, as_json: bool) -> None:
    height, width = pixels.shape[:2]
    if as_json:
        points = [
            {"x": p.point.x, "y": p.point.y, "pixel": p.point.to_pixels(width, height), "label": p.label}
            for p in result.points
        ]
        answer = {"status": result.status, "points": points, "reply": result.reply, "latency_s": result.latency_s}
        say_json({**answer, "picture": str(target) if points else None})
        return
    console = make_console()
    for prediction in result.points:
        x_px, y_px = prediction.point.to_pixels(width, height)
        console.print(f"({prediction.point.x:.3f}, {prediction.point.y:.3f})  pixel {x_px}, {y_px}")
    if not result.points:
        console.print(plain_text(f"no point: {result.status}; the model replied {result.reply!r}"))
