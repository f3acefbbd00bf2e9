"""A small model that learns to read clocks: its data, its first steps, and Muon in fine-tuning."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from molmo_agent.errors import RunStopped, UsageError
from molmo_agent.model.prompts import role_prompt
from molmo_agent.nano.clock_reader import CROP_PX, untrained
from molmo_agent.pixmo.clocks.design import BODIES, bodies_like, plain, sample_clock
from molmo_agent.pixmo.clocks.draw import draw_clock, draw_close
from molmo_agent.pixmo.clocks.make import make_clocks
from molmo_agent.pixmo.shards import make_shards, shards_of
from molmo_agent.pointers.local_chat.loading import load_pointer
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.launch import run_here
from molmo_agent.train.optim import MuonWithAdamW, parts_of
from molmo_agent.train.recipe import load
from molmo_agent.train.step import make_optimizer, schedules


def test_bodies_are_chosen_by_patterns() -> None:
    assert {body.silhouette for body in bodies_like(["tower-*"])} == {"tower"}
    assert {body.finish for body in bodies_like(["*-watch-gold"])} == {"gold"}
    assert len(bodies_like([], ["tower-*", "alarm-*"])) == len(BODIES) - 6
    assert bodies_like(["tower-*"], ["*-wood"]) == tuple(
        body for body in BODIES if body.silhouette == "tower" and body.finish != "wood"
    )
    assert bodies_like([]) == BODIES
    for patterns, without, message in (
        (["towr-*"], [], "expected a pattern that matches a body, such as 'tower-.*got 'towr-"),
        ([], ["gold"], "got 'gold'"),
        (["tower-*"], ["tower-*"], "expected at least one body, but tower-. leaves out all"),
    ):
        with pytest.raises(UsageError, match=message):
            bodies_like(patterns, without)


def test_clocks_of_chosen_bodies_have_no_others_and_all_clocks_stay_as_they_were() -> None:
    chosen = bodies_like(["alarm-*", "diver-*"])
    assert {sample_clock(seed, chosen).body for seed in range(200)} == {*chosen}
    # The faces are those of the same seeds with any body.
    assert all(sample_clock(seed, chosen).face == sample_clock(seed).face for seed in range(20))


@pytest.mark.parametrize("seed", [2, 17, 301, 4000])
def test_a_close_picture_is_of_the_clock_alone(seed: int) -> None:
    clock = sample_clock(seed)
    # A dial that is found by its colour.
    plain = replace(clock.photo, light=1.0, noise=0.0, blur=0.0, reflection=0.0)
    face = replace(clock.face, dial=(255, 0, 255), edge=(255, 0, 255))
    shares = []
    for draw in (draw_clock, draw_close):
        image = draw(replace(clock, photo=plain, face=face), 96).astype(int)
        assert image.shape == (96, 96, 3)
        shares.append((np.abs(image - (255, 0, 255)).max(axis=2) < 60).mean())
    assert shares[1] > 0.2
    assert shares[1] > 1.6 * shares[0]


def test_plain_clocks_keep_body_and_time_and_have_no_more_than_two_hands() -> None:
    for seed in range(40):
        clock = sample_clock(seed)
        easy = plain(clock)
        assert (easy.body, easy.time) == (clock.body, clock.time)
        assert (easy.face.seconds, easy.face.sub_dials, easy.photo.tilt) == ("none", (), (0.0, 0.0))
        assert sum(easy.face.dial) - sum(easy.face.hand) > 600
        assert easy.text == f"{clock.time.hour}:{clock.time.minute:02d}"


def test_images_change_what_an_untrained_reader_expects() -> None:
    model, processor = untrained(0)
    ids = torch.tensor([[processor.bos_id, *processor.image_block((0, 0), 12)]])
    logits = []
    with torch.inference_mode():
        for seed in (1, 2):
            arrays, _ = processor.image_processor.process_one(draw_close(sample_clock(seed), CROP_PX))
            index = torch.as_tensor(arrays["image_input_idx"])[None]
            inputs = {name: torch.as_tensor(arrays[name])[None] for name in ("pixel_values", "image_masks")}
            logits.append(
                model(input_ids=ids, image_input_idx=torch.where(index < 0, index, index + 1), **inputs).logits[0, -1]
            )
    # With the usual initialization they differ by 1e-6.
    assert float((logits[0] - logits[1]).abs().max()) > 0.01


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the recipe with 24 clocks and a few steps of its own."""
    folder = tmp_path_factory.mktemp("clocks")
    for split, seed, count in (("train", 0, 24), ("validation", 900, 8)):
        for shard in shards_of(folder, split, seed, count, 24):
            list(make_shards(lambda each: make_clocks(each, form="close"), [shard]))
    changes = [f"mixture.0.path={folder}", f"validate.mixture.0.path={folder}", "steps=8", "batch=4"]
    warm = [f"optimizer.{name}.warmup_steps=2" for name in ("muon", "vit", "connector", "llm")]
    config = load("clocks", [*changes, *warm, "validate.every=8", "checkpoint_every=4"])
    assert isinstance(config, TrainConfig)
    return config


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_few_steps_of_the_recipe_lower_the_loss_and_a_stopped_run_ends_the_same(
    clocks: TrainConfig, tmp_path: Path
) -> None:
    def interrupt(record: dict[str, Any]) -> None:
        if record["step"] == 5:
            os.kill(os.getpid(), signal.SIGINT)

    run_here(clocks, tmp_path / "whole")
    losses = [record["loss"] for record in metrics(tmp_path / "whole")]
    assert losses[-1] < 0.9 * losses[0]
    with pytest.raises(RunStopped, match="stopped after step 5"):
        run_here(clocks, tmp_path / "stopped", interrupt)
    run_here(clocks, tmp_path / "stopped")
    # Muon's averages are part of the checkpoint.
    assert [record["loss"] for record in metrics(tmp_path / "stopped")] == losses
    ours, theirs = (load_file(tmp_path / name / "export" / "model.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    # The model that comes out can be asked.
    pointer = load_pointer(tmp_path / "whole" / "export")
    image = draw_close(sample_clock(5), CROP_PX)
    reply = "".join(pointer.complete([image], role_prompt("What time is being shown?"), max_new_tokens=6))
    # After a few steps it says the words before the time, or nothing yet, but never a point.
    assert "<point" not in reply


def test_muon_updates_the_matrices_of_blocks_and_connector_and_adamw_the_rest() -> None:
    model, _ = untrained(0)
    config = load("clocks")
    assert isinstance(config, TrainConfig)
    settings = config.optimizer
    optimizer = make_optimizer(model, settings)
    assert isinstance(optimizer, MuonWithAdamW)
    muon, adamw = ({id(p) for group in part.param_groups for p in group["params"]} for part in parts_of(optimizer))
    named = {name: id(p) for name, p in model.named_parameters()}
    assert muon | adamw == {*named.values()}
    assert not muon & adamw
    of_muon = {name for name, number in named.items() if number in muon}
    for part in ("self_attn.q_proj.weight", "mlp.down_proj.weight", "connector.pooling.k_proj.weight"):
        assert any(name.endswith(part) for name in of_muon), part
    assert not any("embed" in name or "lm_head" in name or "norm" in name for name in of_muon)
    assert schedules(settings, 100)["muon"].peak == 0.02
    # Without a rate for it, there is AdamW alone.
    plain = make_optimizer(model, replace(settings, muon=None))
    assert isinstance(plain, torch.optim.AdamW)
    assert "muon" not in schedules(replace(settings, muon=None), 100)


def test_muon_is_refused_for_sharded_weights() -> None:
    for sharding in ("full", "hybrid"):
        with pytest.raises(UsageError, match=r"Muon needs whole matrices: set sharding=none with optimizer\.muon"):
            load("clocks", [f"sharding={sharding}"])
    assert isinstance(
        load("pointing", ["mixture.0.path=x.jsonl", "sharding=none", "optimizer.muon.peak=0.01"]), TrainConfig
    )
