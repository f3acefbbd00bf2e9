"""Measure a pointing model on held-out screens: hit rate, calibration, refusals and latency.

All figures of the embedded model's card come from such a run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from molmo_agent.data.hits import all_hit
from molmo_agent.episode import PointResult
from molmo_agent.errors import EnvError, MissingExtraError
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.evaluation.nano_suite import miniwob as suite_miniwob
from molmo_agent.evaluation.nano_suite.categories import GROUPS, group_of, in_order
from molmo_agent.evaluation.nano_suite.latency import measure
from molmo_agent.evaluation.nano_suite.sets import EVALUATION, ORDINARY, Case, ScreenSet, cases_of, suite_sets
from molmo_agent.evaluation.reliability import figures_of
from molmo_agent.geometry import Point
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.pointers.baselines import CentrePointer, RandomPointer, ScriptedPointer
from molmo_agent.pointers.zoom import ZoomPointer

# Per list of tasks: 5 per training task, 12 per hold-out task.
EPISODES, QUICK_EPISODES = 60, 6
ALL, TOGETHER = "all", "all desktops, phones and pages"
BASELINES = ("random", "centre", "oracle")
_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Number of questions with and without zooming in.
_NUM_ZOOM = 200

Row = dict[str, Any]
Report = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer to one question."""

    set: str
    section: str
    case: Case
    status: str
    points: tuple[Point, ...]
    confidence: float | None
    reply: str
    latency_s: float

    @property
    def hit(self) -> bool:
        """Whether there is exactly one point in each target's box; without targets, whether the status is "none"."""
        boxes = self.case.boxes
        if not boxes or len(self.points) != len(boxes):
            return not boxes and self.status == "none"
        return all_hit([[box.contains(point) for box in boxes] for point in self.points])


def _answer(screen_set: ScreenSet, case: Case, result: PointResult) -> Answer:
    return Answer(
        set=screen_set.name,
        section=screen_set.section,
        case=case,
        status=result.status,
        points=tuple(prediction.point for prediction in result.points),
        confidence=result.confidence,
        reply=result.reply,
        latency_s=result.latency_s,
    )


def ask(models: Sequence[PointingModel | None], screen_set: ScreenSet, seeds: int = EVALUATION) -> list[list[Answer]]:
    """Ask several models about a set and return the answers of each.

    Args:
        models: None is the oracle.
        screen_set: the set.
        seeds: the first seed of its screens.
    """
    answers: list[list[Answer]] = [[] for _ in models]
    for image, cases in cases_of(screen_set, seeds):
        truth = {case.question: [box.center for box in case.boxes] for case in cases}
        for model, collected in zip(models, answers, strict=True):
            pointer = model or ScriptedPointer(truth)
            results = pointer.point_batch([image] * len(cases), [case.question for case in cases])
            collected += [_answer(screen_set, case, result) for case, result in zip(cases, results, strict=True)]
    return answers


def share(right: int, n: int) -> Row:
    """Return a share with its 95 % Wilson interval; None if ``n`` is 0."""
    low, high = wilson(right, n)
    return {"n": n, "right": right, "share": right / n if n else None, "low": low, "high": high}


def _categories(answers: Sequence[Answer]) -> Iterator[tuple[str, list[Answer]]]:
    if there := [one for one in answers if one.case.boxes]:
        yield ALL, there
        for group in GROUPS:
            yield group, [one for one in there if group_of(one.case.category) == group]
    for name in in_order(one.case.category for one in answers):
        yield name, [one for one in answers if one.case.category == name]


def hit_rows(model: str, answers: Sequence[Answer], name: str | None = None) -> list[Row]:
    """Return hit rates in all, by group and by category; empty categories are skipped.

    Args:
        model: its name.
        answers: of one set, or of several.
        name: title of a sum over several sets, listed with all categories; None: one set.
    """
    rows = []
    for category, some in _categories(answers):
        if not some:
            continue
        statuses: dict[str, int] = {}
        for one in some:
            statuses[one.status] = statuses.get(one.status, 0) + 1
        chance = sum(one.case.chance for one in some) / len(some)
        row = {"set": name or some[0].set, "sum": name is not None, "category": category, "model": model}
        hits = sum(one.hit for one in some)
        rows.append({**row, **share(hits, len(some)), "random_same_kind": chance, "statuses": statuses})
    return rows


def refusal_rows(model: str, answers: Sequence[Answer], least: float | None) -> list[Row]:
    """Return precision, recall and F1 of refusals: by status "none", and by status or low confidence.

    Args:
        model: its name.
        answers: of one set, at least one.
        least: the model's confidence threshold; None if it has none.
    """
    ways = {"reported absent": [one.status == "none" for one in answers]}
    if least is not None:
        ways[f"that, or confidence below {least:g}"] = [
            one.status == "none" or (one.confidence is not None and one.confidence < least) for one in answers
        ]
    rows = []
    for way, refuses in ways.items():
        absent = [not one.case.boxes for one in answers]
        both = sum(a and b for a, b in zip(refuses, absent, strict=True))
        precision, recall = share(both, sum(refuses)), share(both, sum(absent))
        f1 = 2 * both / (sum(refuses) + sum(absent)) if sum(absent) else None
        row = {"set": answers[0].set, "model": model, "refusing": way, "questions": len(answers), "f1": f1}
        rows.append({**row, "precision": precision, "recall": recall})
    return rows


def confidences(answers: Iterable[Answer]) -> list[tuple[float, bool]]:
    """Return (confidence, hit) of the questions with a single target and an answer with a point."""
    one_thing = (one for one in answers if one.status == "ok" and len(one.case.boxes) == 1)
    return [(one.confidence, one.hit) for one in one_thing if one.confidence is not None]


def calibration_of(answers: Iterable[Answer], undo: Callable[[float], float] | None) -> Row | None:
    """Return the reliability of confidences, with and without calibration; None if there are none.

    Args:
        answers: those with one target and a point count.
        undo: maps a calibrated confidence to the uncalibrated one; None if not calibrated.
    """
    pairs = confidences(answers)
    if not pairs:
        return None
    values, hits = [confidence for confidence, _ in pairs], [hit for _, hit in pairs]

    own = figures_of([undo(confidence) for confidence in values], hits) if undo else None
    coverage = []
    for least in _THRESHOLDS:
        accepted = [hit for confidence, hit in pairs if confidence >= least]
        coverage.append(
            {"min_confidence": least, "answered": len(accepted) / len(pairs), **share(sum(accepted), len(accepted))}
        )
    return {"n": len(pairs), "given": figures_of(values, hits), "own": own, "coverage": coverage}


def zoom_rows(model: PointingModel, sets: Sequence[ScreenSet], answers: Sequence[Answer], least: float) -> list[Row]:
    """Return hit rates without and with zooming in, on the same questions, and the extra time.

    Args:
        model: runs again inside :class:`ZoomPointer`.
        sets: of the suite.
        answers: of the model to the sets.
        least: the confidence below which it zooms in.
    """
    rows = []
    for size in dict.fromkeys(screen_set.section for screen_set in sets if screen_set.section.startswith("desktop")):
        few = [screen_set for screen_set in sets if screen_set.section == size]
        # Half of the questions per screen size, in equal numbers per set.
        screens = max(1, -(-_NUM_ZOOM // (2 * len(few) * few[0].questions)))
        few = [replace(screen_set, screens=min(screen_set.screens, screens)) for screen_set in few]
        again = [one for screen_set in few for one in ask([ZoomPointer(model, least)], screen_set)[0]]
        first = {(one.set, one.case): one for one in answers}
        before = [first[one.set, one.case] for one in again]
        closer = ["looked closer" in one.reply for one in again]
        looked = sum(closer)
        paths = {"without": before, "with": again}
        figures = {name: share(sum(one.hit for one in some), len(some)) for name, some in paths.items()}
        gains = sum(new.hit > old.hit for old, new in zip(before, again, strict=True))
        losses = sum(new.hit < old.hit for old, new in zip(before, again, strict=True))
        pairs = zip(closer, before, again, strict=True)
        extra_s = sum(max(0.0, new.latency_s - old.latency_s) for twice, old, new in pairs if twice)
        extra = extra_s / looked if looked else None
        rows.append(
            {"section": size, "looked_closer": looked, "won": gains, "lost": losses, "extra_s": extra} | figures
        )
    return rows


def miniwob_rows(model: str, outcomes: Sequence[suite_miniwob.EpisodeOutcome]) -> list[Row]:
    """Return successes by list, and by task."""
    rows = []
    for name in dict.fromkeys(one.list for one in outcomes):
        mine = [one for one in outcomes if one.list == name]
        for task in (ALL, *sorted({one.task for one in mine})):
            some = [one.success for one in mine if task in (ALL, one.task)]
            rows.append({"list": name, "task": task, "model": model, **share(sum(some), len(some))})
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The results of a run: figures ready for JSON, and the answers behind them."""

    figures: dict[str, Any]
    answers: tuple[Answer, ...]
    sets: tuple[ScreenSet, ...]


def _sum_rows(answers_by_model: Mapping[str, Sequence[Answer]], sections: Iterable[str]) -> list[Row]:
    """Return the hit rates of each section, and of all sections together."""
    sums = {f"{section}, all of these": {section} for section in sections} | {TOGETHER: {*sections}}
    return [
        row
        for title, among in sums.items()
        for name, answers in answers_by_model.items()
        for row in hit_rows(name, [one for one in answers if one.section in among], title)
    ]


def run_suite(
    model: PointingModel,
    *,
    episodes: int = EPISODES,
    quick: bool = False,
    sets: Sequence[ScreenSet] | None = None,
    make_env: Callable[[], Any] = suite_miniwob.make_miniwob,
    report: Report = lambda what: None,
) -> Suite:
    """Measure a model. All figures except times are reproducible.

    Args:
        model: the model; random, centre and oracle pointers are measured for comparison.
        episodes: per list of MiniWoB++ tasks; 0 skips MiniWoB++.
        quick: a few screens per set, as a smoke test; the figures are not meaningful.
        sets: replaces the suite's sets.
        make_env: makes the env of MiniWoB++'s tasks; replaceable for tests.
        report: called with each stage's name.
    """
    screen_sets = tuple(suite_sets() if sets is None else sets)
    if quick:
        screen_sets = tuple(replace(one, screens=max(2, one.screens // 10)) for one in screen_sets)
    traits = model_traits(model)
    least = traits.min_confidence
    models = (model, RandomPointer(), CentrePointer(), None)
    names = (model.name, *BASELINES)
    hits: list[Row] = []
    refusals: list[Row] = []
    answers_by_model: dict[str, list[Answer]] = {name: [] for name in names}
    skipped: dict[str, str] = {}
    for one in screen_sets:
        report(one.name)
        for name, answers in zip(names, ask(models, one), strict=True):
            if not answers:
                skipped[one.name] = "these screens have no questions"
                continue
            if not one.absent:
                hits += hit_rows(name, answers)
            else:
                hits += hit_rows(name, [answer for answer in answers if not answer.case.boxes], one.name)
                refusals += refusal_rows(name, answers, least if name == model.name else None)
            answers_by_model[name] += answers
    sections = {one.section: None for one in screen_sets if one.section.startswith(ORDINARY)}
    hits += _sum_rows(answers_by_model, sections)
    mine = answers_by_model[model.name]
    ordinary = [one for one in mine if one.section in sections]
    figures: dict[str, Any] = {
        "model": model.name,
        "quick": quick,
        "hits": hits,
        "refusals": refusals,
        "calibration": calibration_of(ordinary, traits.raw_confidence),
        "min_confidence": least,
        "zoom": [],
        "miniwob": [],
        "latency": [],
        "skipped": skipped,
    }
    if figures["calibration"] is None:
        skipped["calibration, zoom"] = "the model reports no confidence"
    elif least is None:
        skipped["zoom"] = "the checkpoint's profile names no min_confidence (python -m molmo_agent.nano.calibrate)"
    else:
        report("zooming in")
        figures["zoom"] = zoom_rows(model, screen_sets, mine, least)
    if episodes:
        try:
            for name, player in zip(names, models, strict=True):
                report(f"MiniWoB++, {name}")
                outcomes = suite_miniwob.play(player, episodes, make_env)
                figures["miniwob"] += miniwob_rows(name, list(outcomes))
        except (EnvError, MissingExtraError) as error:
            # A partial result would look complete.
            figures["miniwob"] = []
            skipped["MiniWoB++"] = str(error)
    else:
        skipped["MiniWoB++"] = "skipped by --episodes 0"
    report("latency")
    figures["latency"] = measure(model, repeats=3 if quick else 15)
    return Suite(figures=figures, answers=tuple(mine), sets=screen_sets)
