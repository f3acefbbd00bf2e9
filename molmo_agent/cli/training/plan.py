"""``agent train RECIPE --plan``: prints what a run needs, before it is started."""

import json
from typing import TYPE_CHECKING

from rich.table import Table

from molmo_agent.console import make_console, plain_text, say_json
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.train.scale.plan import Plan


def plan(
    recipe: str, changes: list[str], start: str | None, *, gpus: int, gpu: str, mfu: float | None, as_json: bool
) -> None:
    """Print parameters, memory per GPU, speed and GPU hours of a recipe; nothing is trained or downloaded.

    Args:
        recipe: name, or path of a YAML file.
        changes: ``key=value``.
        start: the model to start from, in place of the recipe's.
        gpus: number of GPUs.
        gpu: their kind.
        mfu: useful operations as a share of the peak; None for the default.
        as_json: print one JSON object.

    Raises:
        UsageError: the recipe is not valid or of another kind, or the model's sizes are unknown.
    """
    from molmo_agent.train.config import TrainConfig
    from molmo_agent.train.recipe import load
    from molmo_agent.train.scale.plan import plan_run

    config = load(recipe, [*changes, *([f"model={json.dumps(start)}"] if start else [])])
    if not isinstance(config, TrainConfig):
        raise UsageError(f"expected a recipe of fine-tuning to plan, got the curriculum {recipe!r}")
    planned = plan_run(config, gpus=gpus, gpu=gpu, mfu=mfu)
    if as_json:
        say_json(planned.to_dict())
        return
    console = make_console()
    for line in _facts(planned, config.steps):
        console.print(plain_text(line), soft_wrap=True)
    console.print(_memory_table(planned))
    if not planned.fits:
        console.print(plain_text(_advice(config.activation_checkpointing, planned)), soft_wrap=True)


def _facts(plan: "Plan", steps: int) -> list[str]:
    total, trained = sum(plan.parameters.values()), sum(plan.trained.values())
    parts = ", ".join(f"{name} {count / 1e9:.3f}" for name, count in plan.parameters.items())
    return [
        f"model: {plan.model}",
        f"parameters: {total / 1e9:.3f} billion ({parts}); trained: {trained / 1e9:.3f}",
        f"examples: {plan.contents}",
        f"largest sequence: {plan.tokens} tokens, {plan.crops} crops; sequences per GPU and step: {plan.sequences}",
        f"speed at an MFU of {plan.mfu:.0%} (assumed): {plan.seconds_per_step:.2f} s per step, "
        f"{1 / plan.seconds_per_step:.3f} steps/s",
        f"{steps:,} steps on {plan.gpus} x {plan.gpu}: {plan.seconds_per_step * steps / 3600:,.1f} h, "
        f"{plan.gpu_hours:,.0f} GPU hours",
    ]


def _memory_table(plan: "Plan") -> Table:
    table = Table("memory per GPU", "GB", box=None)
    for name, size in plan.to_dict()["memory"].items():
        table.add_row(name, f"{size / 1e9:.1f}")
    table.add_row(f"of a {plan.gpu}", f"{plan.capacity / 1e9:.0f}")
    return table


def _advice(checkpointing: bool, plan: "Plan") -> str:
    advice = ["more GPUs"] + ([] if checkpointing else ["activation_checkpointing=true"])
    advice += ["sharding=full"] if plan.shards < plan.gpus else []
    return f"does not fit; try {', '.join(advice)}, a smaller length or max_crops, or weights=bf16"
