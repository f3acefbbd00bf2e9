"""``agent train``: a recipe, its plan, or a sweep of recipes."""

from pathlib import Path
from typing import Annotated

import typer

from molmo_agent.errors import UsageError


def train(
    recipe: Annotated[str, typer.Argument(help="my-screens, nano, pointing, android_control, or a YAML file.")],
    changes: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as steps=100 or mixture.0.path=x.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Model to start from; the same as model=MODEL.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/RECIPE); it resumes there.")] = None,
    workers: Annotated[
        str, typer.Option(help="Number of processes; it does not change the result. On Ray also a range: 2:8.")
    ] = "1",
    ray: Annotated[bool, typer.Option("--ray", help="Run the workers on Ray, which restarts failed ones.")] = False,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, such as ray://head:10001.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Do not train: print memory per GPU, speed and GPU hours.")
    ] = False,
    gpus: Annotated[int, typer.Option(help="Number of GPUs of the plan.")] = 8,
    gpu: Annotated[str, typer.Option(help="Kind of GPU of the plan, such as h100, h200, a100 or l40s.")] = "h100",
    mfu: Annotated[
        float | None, typer.Option(help="Useful operations of the plan as a share of the GPU's peak, such as 0.3.")
    ] = None,
    accelerator: Annotated[
        str, typer.Option(help="Of each worker: auto (a GPU if there are any), gpu, cpu; on Ray also a type: H100.")
    ] = "auto",
    sweep: Annotated[
        bool, typer.Option("--sweep", help="RECIPE is a sweep: train all its runs, and print their table.")
    ] = False,
    parallel: Annotated[int, typer.Option(help="Number of runs of a sweep at a time.")] = 1,
    only_list: Annotated[
        bool, typer.Option("--list", help="Print the runs of a sweep and what is done; train nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line instead of text for people.")
    ] = False,
) -> None:
    """Train a model with a recipe, or all runs of a sweep; the same command resumes."""
    if (only_list or parallel != 1) and (plan or not sweep):
        raise UsageError("--list and --parallel are for sweeps: add --sweep, and name a sweep in place of the recipe")
    if plan:
        from molmo_agent.cli.training.plan import plan as print_plan

        print_plan(recipe, changes or [], start, gpus=gpus, gpu=gpu, mfu=mfu, as_json=as_json)
        return
    from molmo_agent.cli.training.run import Launch, with_start_model
    from molmo_agent.cli.training.run import train as run_recipe

    launch = Launch(workers=workers, ray=ray, address=address, accelerator=accelerator)
    if sweep:
        from molmo_agent.cli.training.sweep import sweep as run_sweep

        changes = with_start_model(changes or [], start)
        done = run_sweep(recipe, changes, out, launch, parallel=parallel, only_list=only_list, as_json=as_json)
        raise typer.Exit(0 if done else 1)
    run_recipe(recipe, changes or [], start, out, launch, as_json)
