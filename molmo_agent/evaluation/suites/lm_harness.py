"""A local Molmo as a model of lm-evaluation-harness, for benchmarks without images.

The language side before and after fine-tuning is measured with the harness's own tasks: MMLU, MMLU-Pro, GSM8K, MATH,
ARC-C. HumanEval executes the model's code, which the harness does without a sandbox, so it is not among them.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import torch

from molmo_agent.errors import UsageError
from molmo_agent.interfaces import PointingModel
from molmo_agent.point_text.cut_off import without_mark
from molmo_agent.pointers.wrapped import innermost

TASKS = {
    "mmlu": "mmlu",
    "mmlu-pro": "mmlu_pro",
    "gsm8k": "gsm8k",
    "math": "minerva_math",
    "arc-c": "arc_challenge",
}
"""Our name of a benchmark -> the harness's task."""

_MAX_NEW_TOKENS = 256
_INSTALL = "text benchmarks need lm-evaluation-harness: pip install 'lm-eval>=0.4.13'"


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
        raise UsageError(_INSTALL) from error
    local: Any = innermost(pointer)
    if not hasattr(local, "complete") or not hasattr(local, "model"):
        raise UsageError(f"text benchmarks need a local Molmo checkpoint, got {pointer.name!r}")
    model, tokenizer, bos = local.model, local.processor.tokenizer, local.processor.bos_id
    context_length = int(model.config.text_config.max_position_embeddings)

    class MolmoHarness(template):
        """The harness's interface; texts are continued as they stand, without roles, as for a base model."""

        backend = "causal"

        @property
        def eot_token_id(self) -> int:
            return int(tokenizer.eos_token_id)

        @property
        def prefix_token_id(self) -> int:
            return int(bos)

        @property
        def tokenizer_name(self) -> str:
            return str(pointer.name)

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            return list(tokenizer.encode(string, add_special_tokens=False))

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            # Every text of the training begins with this token.
            pairs = [([bos, *context] if context[:1] != [bos] else context, rest) for _, context, rest in requests]
            results: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
            # Long ones first: a batch that does not fit into memory fails at once.
            order = sorted(range(len(pairs)), key=lambda index: -sum(map(len, pairs[index])))
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                scores = continuations(model, [pairs[index] for index in chosen], context_length)
                for index, result in zip(chosen, scores, strict=True):
                    results[index] = result
                    self.cache_hook.add_partial("loglikelihood", requests[index][0], result)
            return results

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
            totals = []
            for request in requests:
                tokens = self.tok_encode(request.args[0])
                windows = utils.get_rolling_token_windows(tokens, self.prefix_token_id, context_length, 1)
                rows = [(("", ""), *utils.make_disjoint_window(window)) for window in windows]
                totals.append(sum(score for score, _ in self._loglikelihood_tokens(rows)))
            return totals

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            texts = []
            for request in requests:
                prompt, options = request.args
                texts.append(_generate(local, tokenizer, prompt, options, context_length))
                self.cache_hook.add_partial("generate_until", request.args, texts[-1])
            return texts

    return MolmoHarness()


@torch.inference_mode()
def continuations(
    model: Any, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], context_length: int
) -> list[tuple[float, bool]]:
    """Return for each continuation its log likelihood in nats, and whether greedy decoding produces it.

    Args:
        model: a causal model of token ids; padding stands on the right, where no earlier position attends to it.
        pairs: (context, continuation) as token ids; the context is not empty. The start of a long context is cut off.
        context_length: maximum number of tokens of a sequence.
    """
    rows = [[*context, *continuation][-context_length - 1 :] for context, continuation in pairs]
    longest = max(len(row) for row in rows) - 1
    ids = torch.zeros((len(rows), longest), dtype=torch.long, device=model.device)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row) - 1] = torch.tensor(row[:-1])
        mask[number, : len(row) - 1] = 1
    logits = model(input_ids=ids, attention_mask=mask).logits.float()
    results = []
    for number, (row, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
        count = min(len(continuation), len(row) - 1)
        if count == 0:
            results.append((0.0, True))
            continue
        own = torch.log_softmax(logits[number, len(row) - 1 - count : len(row) - 1], dim=-1)
        target = torch.tensor(row[-count:], device=own.device)
        likelihood = own.gather(1, target[:, None]).sum()
        results.append((float(likelihood), bool((own.argmax(dim=-1) == target).all())))
    return results


def _generate(local: Any, tokenizer: Any, prompt: str, options: dict[str, Any], context_length: int) -> str:
    """Return the greedy continuation of a prompt, up to the first of the texts that end it.

    Raises:
        UsageError: the task samples, which this model does not.
    """
    if options.get("do_sample") and options.get("temperature", 1.0) > 0:
        raise UsageError("the task samples its answers; only greedy decoding is supported (do_sample: false)")
    stops = options.get("until") or []
    stops = [stops] if isinstance(stops, str) else [stop for stop in stops if stop]
    room = int(options.get("max_gen_toks", _MAX_NEW_TOKENS))
    tokens = tokenizer.encode(prompt, add_special_tokens=False)
    if len(tokens) + room + 1 > context_length:
        prompt = tokenizer.decode(tokens[-max(1, context_length - room - 1) :])
    text = ""
    for piece in local.complete([], prompt, max_new_tokens=room):
        text += piece
        if any(stop in text for stop in stops):
            break
    text = without_mark(text)
    return min((text.split(stop)[0] for stop in stops), key=len, default=text)


def run_tasks(pointer: PointingModel, names: Sequence[str], *, limit: int | None = None) -> dict[str, Any]:
    """Run benchmarks of :data:`TASKS`, or other tasks of the harness, and return its results.

    The harness downloads the tasks' data sets.

    Args:
        pointer: a local Molmo.
        names: of the benchmarks.
        limit: maximum number of questions of each task.

    Raises:
        UsageError: see :func:`harness_model`; or a task executes code, which needs a sandbox.
    """
    unsafe = [name for name in names if name.lower().replace("-", "").startswith(("humaneval", "mbpp"))]
    if unsafe:
        raise UsageError(f"{unsafe[0]} executes the model's code, and the harness has no sandbox; it is not run here")
    model = harness_model(pointer)
    try:
        simple_evaluate: Any = importlib.import_module("lm_eval").simple_evaluate
    except ImportError as error:
        raise UsageError(f"{_INSTALL} ({error})") from error
    tasks = [TASKS.get(name, name) for name in names]
    result = simple_evaluate(model=model, tasks=tasks, limit=limit, bootstrap_iters=1000)
    return {"results": result["results"], "versions": result["versions"], "samples": result["n-samples"]}
