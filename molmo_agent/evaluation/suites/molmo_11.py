"""The 11 benchmarks whose average the Molmo paper reports, in one run (arXiv 2409.17146 v2, table 1)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.benchmarks import BENCHMARKS
from molmo_agent.evaluation.published import published_scores
from molmo_agent.evaluation.run import open_model
from molmo_agent.html import render_page
from molmo_agent.pointers.wrapped import innermost

PAGE_FILE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the benchmarks."""

    # In the table of benchmarks.
    name: str
    # Names of its folder, besides its own.
    folders: tuple[str, ...]
    # The published score, ours that compares with it, and the group of questions that it covers.
    key: str
    score: str
    group: str | None = None
    # The published split, and the split here that is the same; None if its answers are unpublished.
    published_split: str
    same: str | None


MEMBERS = (
    Member(
        name="ai2d",
        folders=("AI2D",),
        key="AI2D_test",
        score="right",
        group="transparent",
        published_split="test",
        same="test",
    ),
    Member(
        name="chart_qa",
        folders=("ChartQA",),
        key="ChartQA_test",
        score="relaxed",
        published_split="test",
        same="test",
    ),
    Member(
        name="vqa2",
        folders=("VQAv2", "VQA"),
        key="VQAv2_testdev",
        score="vqa",
        published_split="test-dev",
        same=None,
    ),
    Member(name="doc_qa", folders=("DocVQA",), key="DocVQA_test", score="anls", published_split="test", same=None),
    Member(
        name="info_qa",
        folders=("InfoVQA", "InfographicVQA"),
        key="InfoQA_test",
        score="anls",
        published_split="test",
        same=None,
    ),
    Member(
        name="text_vqa",
        folders=("TextVQA",),
        key="TextVQA_val",
        score="vqa",
        published_split="validation",
        same="validation",
    ),
    Member(
        name="real_world_qa",
        folders=("RealWorldQA",),
        key="RealWorldQA",
        score="right",
        published_split="test",
        same="test",
    ),
    Member(
        name="mmmu",
        folders=("MMMU",),
        key="MMMU_val",
        score="right",
        published_split="validation",
        same="validation",
    ),
    Member(
        name="mathvista",
        folders=("MathVista",),
        key="MathVista_testmini",
        score="right",
        published_split="testmini",
        same="testmini",
    ),
    Member(
        name="countbench_qa",
        folders=("CountBenchQA", "CountBench"),
        key="CountBenchQA",
        score="right",
        published_split="test",
        same="test",
    ),
    Member(
        name="pixmo_count",
        folders=("PixMo-Count",),
        key="PixMoCount_test",
        score="right",
        published_split="test",
        same="test",
    ),
)
# Whose answers are unpublished: asked with their test split, they give a file for their server.
SECRET = frozenset(member.name for member in MEMBERS if member.same is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What came of one benchmark."""

    name: str
    # "scored", "no score" (the answers are unpublished), "missing" (no folder) or "failed" (unusable files).
    status: str
    reason: str = ""
    split: str = ""
    published_split: str = ""
    same_split: bool = False
    crops: int = 0
    questions: int = 0
    skipped: int = 0
    unparsed: int = 0
    # In percent: scored as the authors' code does, its 95 % interval, and by our metrics.
    score: float | None = None
    low: float | None = None
    high: float | None = None
    own: float | None = None
    # Model -> published score in percent.
    published: Mapping[str, float] = field(default_factory=dict)


def find_folders(home: Path) -> dict[str, Path]:
    """Return the folder of each benchmark below ``home``; capital letters, hyphens and underscores do not matter.

    Raises:
        UsageError: ``home`` is no folder, or two folders have the name of one benchmark.
    """
    if not home.is_dir():
        raise UsageError(f"expected a folder with a folder for each benchmark at {home}, found none")
    found: dict[str, list[Path]] = {}
    for path in sorted(home.iterdir()):
        if path.is_dir():
            found.setdefault(_plain(path.name), []).append(path)
    folders = {}
    for member in MEMBERS:
        names = dict.fromkeys(map(_plain, (member.name, *member.folders)))
        paths = [path for name in names for path in found.get(name, ())]
        if len(paths) > 1:
            raise UsageError(f"{paths[0]} and {paths[1]} are both {member.name}; rename or move one")
        if paths:
            folders[member.name] = paths[0]
    if not folders:
        known = ", ".join(member.name for member in MEMBERS)
        raise UsageError(f"expected a folder for each benchmark in {home} ({known}), found none of them")
    return folders


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def options_for(member: Member, split: str | None) -> dict[str, str | None]:
    """Return the options of a benchmark's reader; ``split="test"`` asks those whose answers are unpublished."""
    options = dict(BENCHMARKS[member.name].options)
    if split == "test" and member.name in SECRET:
        options["split"] = "test"
    return options


def with_crops(model: Any, crops: int) -> Any:
    """Return a model that cuts images into at most this number of crops, if it cuts any."""
    local: Any = innermost(model)
    if hasattr(local, "limit_crops"):
        local.limit_crops(crops)
    return model


def open_with_crops(name: str, crops: int) -> Any:
    """Load a model by name, see :func:`with_crops`."""
    return with_crops(open_model(name), crops)


def line_of(member: Member, summary: Mapping[str, Any], options: Mapping[str, str | None]) -> Line:
    """Return the line of a benchmark that ran.

    Args:
        member: the benchmark.
        summary: see :func:`molmo_agent.evaluation.run.summarise`.
        options: of its reader.
    """
    part = summary["groups"].get(member.group) if member.group else summary
    reference = part["reference"].get(member.score) if part else None
    own = part["scores"].get(member.score) if part else None
    split = options.get("split") or member.published_split
    scores = {
        model: float(rows[member.key]["score"]) for model, rows in published_scores().items() if member.key in rows
    }
    return Line(
        name=member.name,
        status="scored" if reference else "no score",
        reason="" if reference else f"the answers of the split {split} are unpublished",
        split=split,
        published_split=member.published_split,
        same_split=split == member.same,
        crops=BENCHMARKS[member.name].crops,
        questions=part["questions"] if part else 0,
        skipped=len(summary["skipped"]),
        unparsed=summary["unparsed"],
        score=100 * reference["mean"] if reference else None,
        low=100 * reference["low"] if reference else None,
        high=100 * reference["high"] if reference else None,
        own=100 * own["mean"] if own else None,
        published=scores,
    )


def failed_line(member: Member, status: str, reason: str) -> Line:
    """Return the line of a benchmark that did not run."""
    return Line(name=member.name, status=status, reason=reason, published_split=member.published_split)


def averages(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the averages in percent, ready for JSON.

    ``score`` averages the benchmarks with a score. ``same_split`` averages only those with the published split, and
    ``published`` is each model's average over the same benchmarks, of models that have all of them.
    """
    scored = [line for line in lines if line.score is not None]
    same = [line for line in scored if line.same_split]
    models = set.intersection(*(set(line.published) for line in same)) if same else set()
    return {
        "benchmarks": [line.name for line in scored],
        "score": _mean([line.score or 0.0 for line in scored]),
        "same_split_benchmarks": [line.name for line in same],
        "same_split": _mean([line.score or 0.0 for line in same]),
        "published": {model: _mean([line.published[model] for line in same]) for model in sorted(models)},
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def page(lines: Sequence[Line], settings: Mapping[str, Any], pages: Callable[[str], str | None]) -> str:
    """Return the summary page.

    Args:
        lines: of all benchmarks.
        settings: of the run.
        pages: returns the address of a benchmark's own page, relative to the summary; None if there is none.
    """
    return render_page(
        "evaluation/suites/molmo_11.html.jinja",
        lines=[(line, pages(line.name)) for line in lines],
        settings=settings,
        averages=averages(lines),
        models=MODELS,
        count=len(MEMBERS),
    )


MODELS = ("MolmoE-1B", "Molmo-7B-O", "Molmo-7B-D", "Molmo-72B")
"""The paper's models, in the tables."""


def as_json(lines: Sequence[Line], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result, ready for JSON."""
    return {
        "settings": dict(settings),
        "benchmarks": [asdict(line) for line in lines],
        "averages": averages(lines),
        "missing": [line.name for line in lines if line.score is None],
    }
