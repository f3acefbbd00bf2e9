"""``agent eval cap-f1``: captions of a model, scored by a judge, for one or several length hints."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from molmo_agent.cli.evaluation.output import mapper_of, progress_of, results_folder
from molmo_agent.console import after_the_result, plain_text
from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole
from molmo_agent.parse import json_lines

if TYPE_CHECKING:
    from molmo_agent.cli.evaluation.request import Request

CAPTIONS = "cap-f1"
CAPTIONS_WHAT = "long captions against spoken descriptions: precision, recall and F1, by a judge"
CAPTIONS_DATA = "a .jsonl with image and transcripts, or PixMo-Cap's files"
_HINT = 65


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """The options of evaluations with a judge."""

    judge: str | None
    budget: int | None
    hints: str | None

    def given(self) -> list[str]:
        """Return the names of the options that are given."""
        options = {"--judge": self.judge, "--judge-budget": self.budget, "--hints": self.hints}
        return [name for name, value in options.items() if value is not None]


def read_hints(text: str | None) -> list[int | None]:
    """Read length hints such as "20,65,none".

    Raises:
        UsageError: one is neither a whole number above 0 nor "none".
    """
    hints: list[int | None] = []
    for word in (text or f"{_HINT}").split(","):
        word = word.strip().lower()
        if word != "none" and not (word.isascii() and word.isdecimal() and 0 < int(word) < 1000):
            raise UsageError(f"expected --hints like 20,65,none (units of 15 characters), got {word!r}")
        hints.append(None if word == "none" else int(word))
    return list(dict.fromkeys(hints))


def judges_of(options: JudgeOptions, folder: Path, what: str) -> list[Any]:
    """Open the judges, which share a budget and the cache beside the folder of the run.

    Raises:
        UsageError: there is no judge, or an address has no model.
    """
    from molmo_agent.evaluation.judged.judge import Budget, open_judge

    if not options.judge:
        raise UsageError(f"{what} needs --judge: the address and model of a judge, like https://host/v1#model")
    budget = Budget(options.budget)
    addresses = [address.strip() for address in options.judge.split(",")]
    return [open_judge(address, cache_of(folder), budget) for address in addresses]


def cache_of(folder: Path) -> Path:
    """Return the folder of the judges' replies about a run; runs beside each other share it."""
    return folder.parent / "judge-cache"


def extract_math_answers_again(console: Console, run: Path, records: list[Any], questions: list[Any]) -> list[Any]:
    """Return MathVista's records with scores of the answers that the judge of a run extracted; no judge is asked.

    Where the run had none, print how many replies need one, and keep the scores that rules give.

    Raises:
        UsageError: the file that names the judge is damaged.
    """
    from molmo_agent.evaluation.judged.math_answers import extract_answers, num_to_judge, saved_judge

    judge = saved_judge(run)
    if judge is not None:
        return extract_answers(records, questions, judge)
    if number := num_to_judge(records, questions):
        line = (
            f"no judge in {run}: rules read {number} of {len(records)} replies, which are neither an option nor a "
            "number; agent eval mathvista with --judge and the --out of the run extracts their answers as published"
        )
        console.print(plain_text(line, "yellow"), soft_wrap=True)
    return records


def extract_math_answers(records: list[Any], questions: list[Any], options: JudgeOptions, folder: Path) -> list[Any]:
    """Return MathVista's records with scores of the answers that the first judge extracts.

    Raises:
        ModelError: the judge cannot be reached, refuses, or the budget is spent; the same command continues.
    """
    from molmo_agent.evaluation.judged.math_answers import extract_answers, save_judge

    (judge, *_) = judges_of(options, folder, "mathvista")
    save_judge(folder, judge, cache_of(folder))
    with progress_of(len(records), "extracted") as progress:
        return extract_answers(records, questions, judge, progress=progress)


def run_captions(console: Console, request: "Request") -> None:
    """Caption the images for each length hint, judge the captions and print the table.

    Raises:
        UsageError: an option or the data cannot be used.
        ModelError: the model or a judge fails; the same command continues.
    """
    from molmo_agent.evaluation.judged.captions import BENCHMARK, JUDGEMENTS_FILE, described_images, judge_captions
    from molmo_agent.evaluation.judged.page import PAGE_FILE, page
    from molmo_agent.evaluation.results.folder import SUMMARY_FILE
    from molmo_agent.evaluation.run import evaluate, open_model

    if request.path is None:
        raise UsageError(f"{CAPTIONS} needs --data: {CAPTIONS_DATA}")
    if foreign := request.choices.keys() - {"images"}:
        raise UsageError(f"{CAPTIONS} does not accept --{min(foreign)}")
    mapper = mapper_of(request)
    images = request.choices.get("images")
    hints = read_hints(request.judge.hints)
    folder = results_folder(CAPTIONS, request.model, request.out)
    judges = judges_of(request.judge, folder, CAPTIONS)
    loaded: list[Any] = []

    def make() -> Any:
        if not loaded:
            loaded.append(open_model(request.model, request.max_crops))
        return loaded[0]

    figures = {}
    for hint in hints:
        questions = described_images(request.path, images, hint)
        run = folder / f"hint-{hint or 'none'}"
        settings = {
            "benchmark": CAPTIONS,
            "model": request.model,
            "data": str(request.path.resolve()),
            "images": images,
            "max_crops": request.max_crops,
            "hint": hint,
        }
        listed = questions.questions()
        total = min(len(listed), request.limit or len(listed))
        with progress_of(total, f"caption, hint {hint or 'none'}") as progress:
            records = evaluate(
                # A worker loads its own; here, the hints share one.
                partial(open_model, request.model, request.max_crops) if request.ray else make,
                BENCHMARK,
                questions,
                run,
                settings,
                limit=request.limit,
                map=mapper,
                progress=progress,
            )
        with progress_of(len(records), "judged") as progress:
            result = judge_captions(records, listed, judges, run, progress=progress)
        result["unusable"] = [str(problem) for problem in questions.problems.entries]
        figures[f"{hint or 'none'}"] = result
    _print(console, figures, BENCHMARK.caveat)
    text = json.dumps({"model": request.model, "hints": figures}, indent=1) + "\n"
    write_whole(folder / SUMMARY_FILE, text)
    console.print(plain_text(f"wrote {folder / SUMMARY_FILE}; requests to judges: {judges[0].budget.sent}"))
    with after_the_result("the page", "run the same command to write it; no question is asked again"):
        rows = {hint: [row for _, row in json_lines(folder / f"hint-{hint}" / JUDGEMENTS_FILE)] for hint in figures}
        write_whole(folder / PAGE_FILE, page(request.model, figures, rows))
        console.print(plain_text(f"page: {folder / PAGE_FILE}"))


def _print(console: Console, figures: dict[str, Any], caveat: str) -> None:
    table = Table("length hint", "cap F1", "95 % interval", "precision", "recall", "n", "characters", box=None)
    for hint, result in figures.items():
        scores = result["scores"]
        whole = scores["cap F1"]
        shares = f"{scores['precision']['mean']:.1%}", f"{scores['recall']['mean']:.1%}"
        interval = f"{whole['low']:.1%} - {whole['high']:.1%}"
        table.add_row(hint, f"{whole['mean']:.1%}", interval, *shares, f"{whole['n']}", f"{result['characters']:.0f}")
    console.print(table)
    for hint, result in figures.items():
        for name, both in result["agreement"].items():
            kappa = "undefined" if both["kappa"] is None else f"{both['kappa']:.2f}"
            line = f"hint {hint}, {name}: judges agree on {both['share']:.1%} of {both['n']}, Cohen's kappa {kappa}"
            console.print(plain_text(line))
        missing = [*result["unjudged"], *result["skipped"]]
        if missing:
            first = missing[0]
            line = f"hint {hint}: {len(missing)} images have no score, such as {first['id']}: {first['reason']}"
            console.print(plain_text(line))
        if result["unusable"]:
            line = f"hint {hint}: {len(result['unusable'])} rows are unusable, such as {result['unusable'][0]}"
            console.print(plain_text(line))
    console.print(plain_text(caveat))
