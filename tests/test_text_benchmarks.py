"""Text benchmarks: likelihoods of continuations, and the interface of lm-evaluation-harness."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.suites.lm_harness import TASKS, continuations, harness_model, run_tasks
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
        with pytest.raises(UsageError, match="no sandbox"):
            run_tasks(nano, ["gsm8k", name])


def test_the_harness_needs_a_local_molmo_and_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"local Molmo|pip install 'lm-eval"):
        harness_model(CentrePointer())
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.api.model", None)
    with pytest.raises(UsageError, match="pip install 'lm-eval"):
        harness_model(load_nano())


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
    assert set(TASKS) == {"mmlu", "mmlu-pro", "gsm8k", "math", "arc-c"}
