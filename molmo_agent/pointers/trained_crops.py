"""The number of crops per image: what is known of asking a model with another number than in its training."""

from molmo_agent.errors import UsageError
from molmo_agent.interfaces import PointingModel
from molmo_agent.pointers.wrapped import innermost


def limit_crops(model: PointingModel, count: int) -> str:
    """Set the maximum number of crops per image of a local Molmo.

    Returns:
        A remark for people if this is not the number of its training; empty otherwise.

    Raises:
        UsageError: the model cuts no crops here.
    """
    local = innermost(model)
    if not hasattr(local, "limit_crops"):
        raise UsageError(f"--max-crops is for local Molmo checkpoints; {model.name!r} cuts no crops here")
    return str(local.limit_crops(count))


def crops_remark(trained: int, count: int) -> str:
    """Return what the paper measured for another number of crops than in training; empty for the same number.

    Figures: arXiv 2409.17146 v2, tables 2, 11 and 12 (Molmo-7B-D, trained with 12 crops).
    """
    if trained == count:
        return ""
    measured = (
        "The paper's Molmo-7B-D, trained with 12 crops and asked with 36, points and counts worse: F1 of points 74.3 "
        "to 58.1, PixMo-Count 85.2 to 73.9, CountBenchQA 88.5 to 87.7; other benchmarks gain (average of 11, counting "
        "kept at 12: 74.9 to 76.9). A short training with the new number repairs it: agent train high_res"
    )
    return f"this model was trained with at most {trained} crops per image, and is asked with {count}. {measured}"
