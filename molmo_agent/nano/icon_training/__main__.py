"""``python -m molmo_agent.nano.icon_training``: rasterise icon sets, train, write the weights."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from molmo_agent.console import make_console
from molmo_agent.nano.icon_training.rasterise import IconRasters, rasterise
from molmo_agent.nano.icon_training.recorded import Adaptation, adapt, read_recorded
from molmo_agent.nano.icon_training.train import IconTraining, accuracy, train
from molmo_agent.pointers.icons.classifier import WEIGHTS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m molmo_agent.nano.icon_training", description=__doc__)
    parser.add_argument("--icons", type=Path, help="folder with an icon set in each folder; rendered once")
    parser.add_argument("--out", type=Path, default=Path("runs/icons"), help="the run's folder; resumes what is there")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="file to write the weights to")
    parser.add_argument("--steps", type=int, default=IconTraining().steps, help="training steps of 512 crops")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; one is fastest on a busy machine")
    parser.add_argument("--workers", type=int, default=1, help="processes that train together")
    parser.add_argument("--recorded", type=Path, help="folder of agent data record-screens: adapt to real screens")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    cache = options.out / "rasters.npz"
    if cache.is_file():
        rasters = IconRasters.load(cache)
    elif options.icons is not None:
        rasters = rasterise(options.icons, seed=options.seed)
        options.out.mkdir(parents=True, exist_ok=True)
        rasters.save(cache)
    else:
        parser.error(f"expected --icons, because {cache} does not exist")
    training = IconTraining(steps=options.steps, seed=options.seed)
    model = train(rasters, training, options.out, options.workers)
    if options.recorded is not None:
        crops = read_recorded(options.recorded, model.classes, options.seed)
        model = adapt(model, rasters, crops, Adaptation(seed=options.seed), training.held_out)
    model.save(options.weights)
    console = make_console()
    console.print(f"{len(rasters.labels)} icons of {len(rasters.set_names)} sets, {len(model.classes)} classes")
    if training.held_out:
        share = accuracy(model, rasters, training.held_out)
        console.print(f"held-out sets {', '.join(training.held_out)}: {share:.1%} of icons get the right meaning")


if __name__ == "__main__":
    main()
