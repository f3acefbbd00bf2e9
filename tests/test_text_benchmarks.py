"""Text benchmarks: likelihoods of continuations, and the interface of lm-evaluation-harness."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.texts.lm_harness import harness_model, records_of, run_task
from molmo_agent.evaluation.texts.models import LocalText, continuations
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.pointers.nano import load_nano

TEXTS = (
    ("Point to", " the button"),
    ("a", "b"),
    ("The quick brown fox jumps over", " it"),
    ("Click", " OK, then wait"),
)


@pytest.fixture(scope="module")
def nano() -> Any:
    """Load the embedded model."""
    return load_nano()


def encoded(model: Any) -> list[tuple[list[int], list[int]]]:
    """Return the texts as token ids, each behind the first token of all texts."""
    tokenizer = model.processor.tokenizer
    return [([model.processor.bos_id, *tokenizer.encode(context)], tokenizer.encode(rest)) for context, rest in TEXTS]


def test_a_batch_has_the_likelihoods_of_its_single_texts(nano: Any) -> None:
    pairs = encoded(nano)
    together = continuations(nano.model, pairs, 512)
    for pair, (likelihood, greedy) in zip(pairs, together, strict=True):
        ((alone, alone_greedy),) = continuations(nano.model, [pair], 512)
        assert likelihood == pytest.approx(alone, abs=1e-3)
        assert greedy == alone_greedy
        ids = torch.tensor([[*pair[0], *pair[1]]])
        with torch.inference_mode():
            logs = nano.model(input_ids=ids).logits.float().log_softmax(-1)[0]
        wanted = sum(float(logs[len(pair[0]) - 1 + n, token]) for n, token in enumerate(pair[1]))
        assert likelihood == pytest.approx(wanted, abs=1e-3)


def test_the_greedy_continuation_is_recognised_and_a_long_context_is_cut(nano: Any) -> None:
    context, _ = encoded(nano)[0]
    with torch.inference_mode():
        best = int(nano.model(input_ids=torch.tensor([context])).logits[0, -1].argmax())
    assert continuations(nano.model, [(context, [best])], 512)[0][1]
    assert not continuations(nano.model, [(context, [(best + 1) % 100])], 512)[0][1]
    ((cut, greedy),) = continuations(nano.model, [([*([5] * 100), *context], [best])], len(context))
    ((whole, _),) = continuations(nano.model, [(context, [best])], len(context))
    assert cut == pytest.approx(whole, abs=1e-3)
    assert greedy
    assert continuations(nano.model, [(context, [])], 512) == [(0.0, True)]


def test_tasks_that_execute_code_are_refused(nano: Any) -> None:
    for name in ("humaneval", "HumanEval_plus", "human-eval", "mbpp"):
        with pytest.raises(UsageError, match="no sandbox; run agent eval text --tasks humaneval with --data"):
            run_task(nano, name)


def test_the_harness_needs_a_local_molmo_and_says_how_to_install_it(nano: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"local Molmo|pip install 'lm-eval"):
        harness_model(CentrePointer())
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    with pytest.raises(UsageError, match=r"without --data need lm-evaluation-harness: pip install 'lm-eval>=0.4.13'"):
        harness_model(nano)


def test_options_of_one_token_are_scored_as_others_are(nano: Any) -> None:
    model = LocalText(nano)
    context = "Which is it?\nA. red\nB. blue\nAnswer:"
    together = model.likelihoods(context, [" A", " B"])
    ids = [model.bos, *model.encode(context)]
    pairs = [(ids, model.encode(context + rest)[len(ids) - 1 :]) for rest in (" A", " B")]
    alone = [likelihood for likelihood, _ in continuations(nano.model, pairs, model.context_length)]
    assert together == pytest.approx(alone, abs=1e-3)
    long = model.likelihoods(context, [" A", " a long option"])
    assert long[0] == pytest.approx(together[0], abs=1e-3)
    assert long[1] < 0


def test_the_harness_asks_for_likelihoods_and_texts(nano: Any) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    model = harness_model(nano, batch_size=3)

    def requests(kind: Any, *arguments: Any) -> list[Any]:
        return [Instance(request_type=kind, doc={}, arguments=one, idx=n) for n, one in enumerate(arguments)]

    likelihoods = model.loglikelihood(requests("loglikelihood", *TEXTS, ("", "alone")), disable_tqdm=True)
    direct = continuations(nano.model, encoded(nano), 512)
    assert [likelihood for likelihood, _ in likelihoods[:4]] == pytest.approx([one for one, _ in direct], abs=1e-3)
    rolled = model.loglikelihood_rolling(requests("loglikelihood_rolling", ("Point to the button",)))
    assert rolled[0] < 0
    options = {"until": ["\n\n"], "max_gen_toks": 6, "do_sample": False}
    (text,) = model.generate_until(requests("generate_until", ("Point to the button.", options)))
    assert isinstance(text, str)
    if text:
        stopped = {**options, "until": text[0]}
        assert model.generate_until(requests("generate_until", ("Point to the button.", stopped))) == [""]
    sampled = {"do_sample": True, "temperature": 0.7, "until": []}
    with pytest.raises(UsageError, match="samples its answers"):
        model.generate_until(requests("generate_until", ("a", sampled)))


def test_a_task_of_the_harness_runs_from_files(nano: Any, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    pytest.importorskip("datasets")
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    rows = [{"q": f"{n} is", "a": [" a number", " a dog"], "right": 0} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "made",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{a}}",
        "doc_to_target": "{{right}}",
        "metric_list": [{"metric": "acc"}],
    }
    result = simple_evaluate(harness_model(nano), tasks=[task], task_manager=TaskManager(), bootstrap_iters=0)
    assert 0 <= result["results"]["made"]["acc,none"] <= 1
    assert result["n-samples"]["made"]["effective"] == 4


class Harness:
    """Stands for lm-evaluation-harness: returns samples in its form."""

    __version__ = "0.4.99"

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def simple_evaluate(self, **options: Any) -> dict[str, Any]:
        self.asked.append(options)
        (task,) = options["tasks"]
        if task == "gsm8k":
            rows = [
                {
                    "doc_id": number,
                    "target": "4",
                    "arguments": [("Question: 2 + 2?", {"until": ["Question:"]})],
                    "resps": [["It is 4."]],
                    "filtered_resps": [found],
                    "filter": which,
                    "metrics": ["exact_match"],
                    "exact_match": float(found == "4"),
                }
                for which, found in (("strict-match", "[invalid]"), ("flexible-extract", "4"))
                for number in range(3)
            ]
            return {"samples": {task: rows}, "versions": {task: 3}, "n-shot": {task: 5}}
        samples = {
            f"mmlu_{subject}": [
                {
                    "doc_id": 0,
                    "target": 1,
                    "arguments": [("Sums", " A"), ("Sums", " B")],
                    "resps": [[(-2.0, False)], [(-1.0, True)]],
                    "filtered_resps": [(-2.0, False), (-1.0, True)],
                    "filter": "none",
                    "metrics": ["acc"],
                    "acc": 1.0,
                }
            ]
            for subject in ("sums", "sounds")
        }
        return {"samples": samples, "versions": {"mmlu": 2, "mmlu_sums": 1}}


def test_results_of_the_harness_become_records_that_compare(
    nano: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness()
    monkeypatch.setitem(sys.modules, "lm_eval", harness)
    monkeypatch.setattr("molmo_agent.evaluation.texts.lm_harness.harness_model", lambda pointer: "model")
    monkeypatch.chdir(tmp_path)
    command = ["eval", "text", "--tasks", "gsm8k,mmlu,humaneval", "--limit", "3", "--out"]
    for out in ("before", "after"):
        done = CliRunner().invoke(app, [*command, out], env={"COLUMNS": "250", "NO_COLOR": "1"})
        assert done.exit_code == 0, done.output
    assert "no score for humaneval: humaneval needs --data" in done.output
    assert [asked["tasks"] for asked in harness.asked] == [["gsm8k"], ["mmlu"]] * 2
    assert all(asked["limit"] == 3 and asked["model"] == "model" for asked in harness.asked)
    summary = json.loads((tmp_path / "before" / "summary.json").read_text())["tasks"]
    scores = {name: row["mean"] for name, row in summary["gsm8k"]["scores"].items()}
    assert scores == {"exact_match, strict-match": 0, "exact_match, flexible-extract": 1}
    assert summary["gsm8k"]["unparsed"] == 3
    assert summary["gsm8k"]["protocol"]["shots"] == {"gsm8k": 5}
    assert set(summary["mmlu"]["groups"]) == {"mmlu_sums", "mmlu_sounds"}
    assert summary["gsm8k"]["protocol"]["hash"] != summary["mmlu"]["protocol"]["hash"]
    # A finished run is not run again.
    CliRunner().invoke(app, [*command, "before"])
    assert len(harness.asked) == 4
    done = CliRunner().invoke(app, ["eval", "compare", "before", "after"])
    assert done.exit_code == 0, done.output


def test_samples_without_a_number_are_no_records() -> None:
    row = {"doc_id": 0, "arguments": [("q", {})], "resps": [["r"]], "filtered_resps": ["r"], "metrics": ["bleu"]}
    assert records_of({"made": [row | {"bleu": ("r", "t")}]}) == []


def test_without_data_and_harness_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    error = CliRunner().invoke(app, ["eval", "text", "--tasks", "gsm8k", "--out", str(tmp_path / "out")]).exception
    assert isinstance(error, UsageError)
    assert str(error) == (
        "text benchmarks without --data need lm-evaluation-harness: pip install 'lm-eval>=0.4.13'; or give the "
        "published files with --data (docs/evaluate.md)"
    )
