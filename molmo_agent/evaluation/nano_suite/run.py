"""How often a pointing model hits, how sure it may be, how fast it is: one run over screens that it never saw.

Every figure of the embedded model's card is one of this run's. Knows no page and no table: it returns plain values.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from molmo_agent.episode import PointResult
from molmo_agent.errors import EnvError, MissingExtraError
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.evaluation.metrics.pointing import all_hit
from molmo_agent.evaluation.nano_suite import miniwob as suite_miniwob
from molmo_agent.evaluation.nano_suite.categories import GROUPS, group_of, in_order
from molmo_agent.evaluation.nano_suite.latency import measure
from molmo_agent.evaluation.nano_suite.sets import EVALUATION, ORDINARY, Case, ScreenSet, cases_of, suite_sets
from molmo_agent.evaluation.reliability import figures_of
from molmo_agent.geometry import Point
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.pointers.baselines import CentrePointer, RandomPointer, ScriptedPointer
from molmo_agent.pointers.zoom import ZoomPointer

# Of each list of tasks: 5 of each task that may be trained on, 12 of each other.
EPISODES, QUICK_EPISODES = 60, 6
ALL, TOGETHER = "all", "all desktops, phones and pages"
BASELINES = ("random", "centre", "oracle")
_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Questions that are asked with and without looking closer.
_ZOOMED = 200

Row = dict[str, Any]
Told = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said to one question."""

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
        """As many points as things, each in another one's box; where there is none, the word that there is none."""
        boxes = self.case.boxes
        if not boxes or len(self.points) != len(boxes):
            return not boxes and self.status == "none"
        return all_hit([[box.contains(point) for box in boxes] for point in self.points])


def _answer(chosen: ScreenSet, case: Case, result: PointResult) -> Answer:
    return Answer(
        set=chosen.name,
        section=chosen.section,
        case=case,
        status=result.status,
        points=tuple(found.point for found in result.points),
        confidence=result.confidence,
        reply=result.reply,
        latency_s=result.latency_s,
    )


def ask(models: Sequence[PointingModel | None], chosen: ScreenSet, seeds: int = EVALUATION) -> list[list[Answer]]:
    """Ask several models about a set; return each one's answers.

    Args:
        models: None is the oracle.
        chosen: the set.
        seeds: where the seeds of its screens begin.
    """
    answers: list[list[Answer]] = [[] for _ in models]
    for picture, cases in cases_of(chosen, seeds):
        truth = {case.question: [box.center for box in case.boxes] for case in cases}
        for model, said in zip(models, answers, strict=True):
            asked = model or ScriptedPointer(truth)
            results = asked.point_batch([picture] * len(cases), [case.question for case in cases])
            said += [_answer(chosen, case, result) for case, result in zip(cases, results, strict=True)]
    return answers


def share(right: int, n: int) -> Row:
    """Return a share with its 95 % Wilson interval; None where nothing was tried."""
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
    """Return hits: of all that is there, of the groups, by category; those without a question are left out.

    Args:
        model: its name.
        answers: of one set, or of several.
        name: of what is shown with all of its categories, such as several sets together; None: one set.
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
    """Return precision, recall and F1 of saying that there is none; also of saying so or being less sure than asked.

    Args:
        model: its name.
        answers: of one set, at least one.
        least: what the model has to be sure of to act; None: it has no such threshold.
    """
    ways = {"said that there is none": [one.status == "none" for one in answers]}
    if least is not None:
        ways[f"that, or less sure than {least:g}"] = [
            one.status == "none" or (one.confidence is not None and one.confidence < least) for one in answers
        ]
    rows = []
    for way, refused in ways.items():
        gone = [not one.case.boxes for one in answers]
        both = sum(a and b for a, b in zip(refused, gone, strict=True))
        precision, recall = share(both, sum(refused)), share(both, sum(gone))
        f1 = 2 * both / (sum(refused) + sum(gone)) if sum(gone) else None
        row = {"set": answers[0].set, "model": model, "refusing": way, "questions": len(answers), "f1": f1}
        rows.append({**row, "precision": precision, "recall": recall})
    return rows


def confidences(answers: Iterable[Answer]) -> list[tuple[float, bool]]:
    """Return how sure a model was of a point, and whether it hit, where one thing was asked for."""
    one_thing = (one for one in answers if one.status == "ok" and len(one.case.boxes) == 1)
    return [(one.confidence, one.hit) for one in one_thing if one.confidence is not None]


def calibration_of(answers: Iterable[Answer], undo: Callable[[float], float] | None) -> Row | None:
    """Return how far confidences can be believed, as given and without calibration; None where none is given.

    Args:
        answers: those with a point to one thing count.
        undo: from the confidence that is given to the model's own; None: it is that.
    """
    sure = confidences(answers)
    if not sure:
        return None
    given, hits = [confidence for confidence, _ in sure], [hit for _, hit in sure]

    own = figures_of([undo(confidence) for confidence in given], hits) if undo else None
    coverage = []
    for least in _THRESHOLDS:
        kept = [hit for confidence, hit in sure if confidence >= least]
        coverage.append({"min_confidence": least, "answered": len(kept) / len(sure), **share(sum(kept), len(kept))})
    return {"n": len(sure), "given": figures_of(given, hits), "own": own, "coverage": coverage}


def zoom_rows(model: PointingModel, sets: Sequence[ScreenSet], answers: Sequence[Answer], least: float) -> list[Row]:
    """Return hits without and with looking closer, on the same questions; and what it costs.

    Args:
        model: asked again, through :class:`ZoomPointer`.
        sets: of the suite.
        answers: of the model to them.
        least: what it looks closer below.
    """
    rows = []
    for size in dict.fromkeys(chosen.section for chosen in sets if chosen.section.startswith("desktop")):
        few = [chosen for chosen in sets if chosen.section == size]
        # Half of the questions for each size of screen, the same number of each set.
        screens = max(1, -(-_ZOOMED // (2 * len(few) * few[0].questions)))
        few = [replace(chosen, screens=min(chosen.screens, screens)) for chosen in few]
        again = [one for chosen in few for one in ask([ZoomPointer(model, least)], chosen)[0]]
        first = {(one.set, one.case): one for one in answers}
        before = [first[one.set, one.case] for one in again]
        closer = ["looked closer" in one.reply for one in again]
        looked = sum(closer)
        paths = {"without": before, "with": again}
        figures = {name: share(sum(one.hit for one in some), len(some)) for name, some in paths.items()}
        won = sum(new.hit > old.hit for old, new in zip(before, again, strict=True))
        lost = sum(new.hit < old.hit for old, new in zip(before, again, strict=True))
        pairs = zip(closer, before, again, strict=True)
        taken = sum(max(0.0, new.latency_s - old.latency_s) for twice, old, new in pairs if twice)
        extra = taken / looked if looked else None
        rows.append({"section": size, "looked_closer": looked, "won": won, "lost": lost, "extra_s": extra} | figures)
    return rows


def miniwob_rows(model: str, played: Sequence[suite_miniwob.Played]) -> list[Row]:
    """Return successes by list, and by task."""
    rows = []
    for name in dict.fromkeys(one.list for one in played):
        mine = [one for one in played if one.list == name]
        for task in (ALL, *sorted({one.task for one in mine})):
            some = [one.success for one in mine if task in (ALL, one.task)]
            rows.append({"list": name, "task": task, "model": model, **share(sum(some), len(some))})
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What a run found: figures ready for JSON, and the answers that they were made of."""

    figures: dict[str, Any]
    answers: tuple[Answer, ...]
    sets: tuple[ScreenSet, ...]


def run_suite(
    model: PointingModel,
    *,
    episodes: int = EPISODES,
    quick: bool = False,
    sets: Sequence[ScreenSet] | None = None,
    make_env: Callable[[], Any] = suite_miniwob.as_published,
    told: Told = lambda what: None,
) -> Suite:
    """Measure a model; the same model gives the same figures, but for times.

    Args:
        model: the one that is asked; random, centre and oracle are asked beside it.
        episodes: of each list of MiniWoB++ tasks; 0 leaves them out.
        quick: a few screens of each set: shows that everything works, tells little about the model.
        sets: other ones than the suite's.
        make_env: makes the env of MiniWoB++'s tasks; another one for tests.
        told: hears what is being done.
    """
    chosen = tuple(suite_sets() if sets is None else sets)
    if quick:
        chosen = tuple(replace(one, screens=max(2, one.screens // 10)) for one in chosen)
    traits = model_traits(model)
    least = traits.min_confidence
    models = (model, RandomPointer(), CentrePointer(), None)
    names = (model.name, *BASELINES)
    hits: list[Row] = []
    refusals: list[Row] = []
    found: dict[str, list[Answer]] = {name: [] for name in names}
    skipped: dict[str, str] = {}
    for one in chosen:
        told(one.name)
        for name, answers in zip(names, ask(models, one), strict=True):
            if not answers:
                skipped[one.name] = "nothing on these screens can be asked for"
                continue
            if not one.absent:
                hits += hit_rows(name, answers)
            else:
                hits += hit_rows(name, [answer for answer in answers if not answer.case.boxes], one.name)
                refusals += refusal_rows(name, answers, least if name == model.name else None)
            found[name] += answers
    sections = {one.section: None for one in chosen if one.section.startswith(ORDINARY)}
    sums = {f"{section}, all of these": {section} for section in sections} | {TOGETHER: {*sections}}
    for title, among in sums.items():
        for name, answers in found.items():
            hits += hit_rows(name, [one for one in answers if one.section in among], title)
    mine = found[model.name]
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
        skipped["calibration, zoom"] = "the model tells no confidence"
    elif least is None:
        skipped["zoom"] = "the checkpoint's profile names no min_confidence (python -m molmo_agent.nano.calibrate)"
    else:
        told("looking closer")
        figures["zoom"] = zoom_rows(model, chosen, mine, least)
    if episodes:
        try:
            for name, player in zip(names, models, strict=True):
                told(f"MiniWoB++, {name}")
                played = suite_miniwob.play(player, episodes, make_env)
                figures["miniwob"] += miniwob_rows(name, list(played))
        except (EnvError, MissingExtraError) as error:
            # Half of the rows would look like all of them.
            figures["miniwob"] = []
            skipped["MiniWoB++"] = str(error)
    else:
        skipped["MiniWoB++"] = "no episodes were asked for"
    told("latency")
    figures["latency"] = measure(model, repeats=3 if quick else 15)
    return Suite(figures=figures, answers=tuple(mine), sets=chosen)
