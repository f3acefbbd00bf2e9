"""A local Molmo as a model of lm-evaluation-harness, which brings the tasks and downloads their data.

MMLU, MMLU-Pro, GSM8K, MATH and ARC-C are run with the harness's own tasks. HumanEval executes the model's code, which
the harness does without a sandbox, so it is not among them.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.predict import Record
from molmo_agent.evaluation.texts.models import Ask, LocalText, continuations
from molmo_agent.evaluation.texts.tasks import TASKS
from molmo_agent.interfaces import PointingModel
from molmo_agent.pointers.wrapped import innermost

INSTALL = (
    "text benchmarks without --data need lm-evaluation-harness: pip install 'lm-eval>=0.4.13'; or give the published "
    "files with --data (docs/evaluate.md)"
)

_MAX_NEW_TOKENS = 256


def harness_model(pointer: PointingModel, *, batch_size: int = 8) -> Any:
    """Return a model for ``lm_eval.simple_evaluate``.

    Args:
        pointer: a local Molmo, see :class:`molmo_agent.pointers.molmo.MolmoPointer`.
        batch_size: sequences in one pass.

    Raises:
        UsageError: lm-evaluation-harness is not installed, or the model is not a local Molmo.
    """
    try:
        template: Any = importlib.import_module("lm_eval.api.model").TemplateLM
        utils: Any = importlib.import_module("lm_eval.utils")
    except ImportError as error:
        raise UsageError(INSTALL) from error
    local = LocalText(pointer)
    model: Any = innermost(pointer).model  # type: ignore[attr-defined]

    class MolmoHarness(template):
        """The harness's interface; texts are continued as they stand, without roles, as for a base model."""

        backend = "causal"

        @property
        def eot_token_id(self) -> int:
            return int(local.tokenizer.eos_token_id)

        @property
        def prefix_token_id(self) -> int:
            return local.bos

        @property
        def tokenizer_name(self) -> str:
            return local.name

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            return local.encode(string)

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            # Every text of the training begins with this token.
            bos = local.bos
            pairs = [([bos, *context] if context[:1] != [bos] else context, rest) for _, context, rest in requests]
            results: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
            # Long ones first: a batch that does not fit into memory fails at once.
            order = sorted(range(len(pairs)), key=lambda index: -sum(map(len, pairs[index])))
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                scores = continuations(model, [pairs[index] for index in chosen], local.context_length)
                for index, result in zip(chosen, scores, strict=True):
                    results[index] = result
                    self.cache_hook.add_partial("loglikelihood", requests[index][0], result)
            return results

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            totals = []
            for request in requests:
                tokens = self.tok_encode(request.args[0])
                windows = utils.get_rolling_token_windows(tokens, local.bos, local.context_length, 1)
                rows = [(("", ""), *utils.make_disjoint_window(window)) for window in windows]
                totals.append(sum(score for score, _ in self._loglikelihood_tokens(rows)))
            return totals

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            texts = []
            for request in requests:
                prompt, options = request.args
                texts += local.write([prompt], [_ask(options)])
                self.cache_hook.add_partial("generate_until", request.args, texts[-1])
            return texts

    return MolmoHarness()


def _ask(options: Mapping[str, Any]) -> Ask:
    """Return how a task of the harness wants its texts.

    Raises:
        UsageError: it samples, which would need the harness's own seed.
    """
    if options.get("do_sample") and options.get("temperature", 1.0) > 0:
        raise UsageError("the task samples its answers; only greedy decoding is supported (do_sample: false)")
    stops = options.get("until") or []
    stops = [stops] if isinstance(stops, str) else stops
    room = int(options.get("max_gen_toks", _MAX_NEW_TOKENS))
    return Ask(max_new_tokens=room, stops=tuple(filter(None, stops)))


def run_task(pointer: PointingModel, name: str, *, limit: int | None = None) -> tuple[list[Record], dict[str, Any]]:
    """Run a benchmark with the harness's task, and return a record for each question and the protocol.

    The harness downloads the data of the task.

    Args:
        pointer: a local Molmo.
        name: one of our names, or of another task of the harness.
        limit: maximum number of questions of each task.

    Raises:
        UsageError: see :func:`harness_model`; or the task executes code, which needs a sandbox.
    """
    ours = TASKS.get(name)
    task = ours.harness if ours is not None else name
    if task is None or task.lower().replace("-", "").startswith(("humaneval", "mbpp")):
        raise UsageError(
            f"{name} executes the model's code, and the harness has no sandbox; run agent eval text --tasks humaneval "
            "with --data"
        )
    model = harness_model(pointer)
    try:
        package: Any = importlib.import_module("lm_eval")
        simple_evaluate = package.simple_evaluate
    except ImportError as error:
        raise UsageError(f"{INSTALL} ({error})") from error
    result = simple_evaluate(model=model, tasks=[task], limit=limit, bootstrap_iters=0, log_samples=True)
    parts: dict[str, Any] = {
        "benchmark": name,
        "harness": f"{getattr(package, '__version__', '')}",
        "tasks": {part: f"{version}" for part, version in sorted(result["versions"].items())},
        "shots": dict(sorted(result.get("n-shot", {}).items())),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return records_of(result["samples"]), {"name": f"lm-eval/{task}", **parts, "hash": digest[:16]}


def records_of(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Record]:
    """Return the harness's samples as our records: the same question under several filters is one record."""
    records: dict[str, Record] = {}
    for part, rows in samples.items():
        for row in rows:
            record = records.setdefault(
                f"{part}/{row['doc_id']}",
                {
                    "id": f"{part}/{row['doc_id']}",
                    "question": f"{_first(row['arguments'])}",
                    "reply": "",
                    "scores": {},
                    "reference": {},
                    "unparsed": False,
                    "groups": [part] if len(samples) > 1 else [],
                    "expected": f"{row.get('target', '')}",
                    "points": [],
                },
            )
            reply = _first(row.get("resps"))
            record["reply"] = reply if isinstance(reply, str) else record["reply"]
            which = row.get("filter", "none")
            if _first(row.get("filtered_resps")) == "[invalid]":
                record["unparsed"] = True
            for metric in row["metrics"]:
                value = row[metric]
                if isinstance(value, bool | int | float):
                    name = metric if which == "none" else f"{metric}, {which}"
                    record["scores"][name] = bool(value) if value in (0, 1) else float(value)
    return [record for record in records.values() if record["scores"]]


def _first(value: Any) -> Any:
    """Return the first of the first ... of lists; texts are no lists."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value
