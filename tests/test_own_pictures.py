"""A person's road: own pictures with captions and questions, checked, trained on, asked about."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_training import write_model
from typer.testing import CliRunner

from molmo_agent.cli.app import app

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 40), "blue": (20, 40, 220)}


def agent(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def write_pictures(folder: Path, count: int) -> Path:
    """Write plain pictures, each with a question and a caption."""
    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        name, colour = list(COLOURS.items())[number % 3]
        pixels = np.clip(np.array(colour) + rng.integers(-15, 15, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append({"image": f"{number}.png", "question": "Which colour?", "answer": name, "caption": f"All {name}."})
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.timeout(600)
def test_sixty_pictures_are_checked_trained_on_and_asked_about(tmp_path: Path) -> None:
    path, model = write_pictures(tmp_path, 60), write_model(tmp_path / "start")
    check = agent("data", "check", path, "--model", model)
    assert check.exit_code == 0, check.output
    assert "60 of 60 rows can be used" in check.stdout
    assert "120 conversations" in check.stdout
    rates = [f"optimizer.{part}={{peak: 3e-3, warmup_steps: 5}}" for part in ("vit", "connector", "llm")]
    trained = agent(
        *("train", "conversations", "--from", model, "--out", tmp_path / "run", f"mixture.0.path={path}"),
        *("steps=100", "batch=4", "length=200", "validate={every: 50, examples: 12, generate: 2}", *rates),
    )
    assert trained.exit_code == 0, trained.output
    assert "smallest held-out loss:" in trained.output
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = [record["validation"] for record in records if "validation" in record]
    assert [one["examples"] for one in measured] == [12, 12], "six pictures of sixty, with two conversations each"
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    for name in ("curves.png", "validation.html", "best.json"):
        assert (tmp_path / "run" / name).exists(), name
    asked = agent("ask", tmp_path / "1.png", "Which colour?", "--model", tmp_path / "run" / "export", "--json")
    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.stdout)["answer"] in COLOURS
