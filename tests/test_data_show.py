"""`agent data show`: the page says what the model is trained on, and nothing that is on it does anything."""

import base64
import html.parser
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_training import small_run, write_chat, write_model, write_points
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.row import Conversation
from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoConfig, MolmoProcessor
from molmo_agent.nano.tokenizer import build_tokenizer
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops
from molmo_agent.train.preview.example_view import answer_points, runs_of
from molmo_agent.train.preview.page import write_page
from molmo_agent.train.recipe import from_dict, load

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"


class Page(html.parser.HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        # The texts of all tokens, with their weights, by the box they stand in.
        self.boxes: dict[str, list[tuple[float, str]]] = {}
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "image", "rect", "circle"):
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag, f"{self.open[-1]} is closed by {tag}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if any(tag == "style" for tag, _ in self.open):
            return
        self.text += data
        weights = [a["data-weight"] for _, a in self.open if "data-weight" in a]
        if weights:
            box = next(str(a["id"]) for _, a in reversed(self.open) if "branch" in str(a.get("class")))
            self.boxes.setdefault(box, []).append((float(str(weights[0])), data))

    def all(self, name: str, **wanted: str) -> list[dict[str, Any]]:
        return [a for tag, a in self.tags if tag == name and all(a.get(k) == v for k, v in wanted.items())]


def picture(address: str) -> np.ndarray:
    assert address.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as opened:
        return np.asarray(opened.convert("RGB"))


def made(config: TrainConfig, folder: Path, *, rows: int = 4, step: int = 0) -> Page:
    write_page(config, "mine", folder / "page" / "show.html", rows=rows, step=step)
    return Page(folder / "page" / "show.html")


def loader_of(config: TrainConfig) -> DataLoader:
    return DataLoader(
        config, MolmoProcessor.from_pretrained(config.model), Flops(MolmoConfig.from_pretrained(config.model))
    )


def points_run(folder: Path, lines: list[dict[str, Any]] | None = None, **changes: Any) -> TrainConfig:
    """Return a run over points alone; ``lines`` instead of the usual ones."""
    path = write_points(folder)
    if lines is not None:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"model": str(write_model(folder / "model")), "mixture": [{"kind": "points", "path": str(path)}]}
    config = from_dict({"batch": 6, "length": 300, "steps": 5, **data, **changes})
    assert isinstance(config, TrainConfig)
    return config


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    line = {"image": "0.png", "label": HOSTILE, "points": [[0.5, 0.5]]}
    page = made(points_run(tmp_path, [line], length=600), tmp_path, rows=1)
    assert not page.open
    assert page.text.count("<script>alert(1)</script><img src=x onerror=alert(1)>") == 1
    assert "{{ 7 * 7 }}" in page.text
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "link", "form"} == set()
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert str(attributes.get(name, "#")).startswith(("#", "data:image/webp;base64,"))
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_hostile_text_in_reports_and_names_stays_text(tmp_path: Path) -> None:
    lines = [{"image": "0.png", "label": "x", "points": []}, {"image": "<b>&gone</b>.png", "label": "y", "points": []}]
    config = points_run(tmp_path, lines)
    write_page(config, "<i>recipe", tmp_path / "show.html", rows=1, step=0)
    page = Page(tmp_path / "show.html")
    assert "<i>recipe: what the model sees" in page.text
    assert "1 could not be used" in page.text
    assert "<b>&gone</b>.png" in page.text
    assert not page.open


def test_colours_are_the_weights_that_the_loss_takes(tmp_path: Path) -> None:
    config = small_run(tmp_path, batch=12, length=300)
    page = made(config, tmp_path, rows=12)
    examples, skipped = loader_of(config).encode_step(0)
    assert len(examples) == 12
    assert not skipped
    tokenizer = MolmoProcessor.from_pretrained(config.model).tokenizer
    for number, encoded in enumerate(examples, 1):
        example = encoded.example
        boxes = {key: parts for key, parts in page.boxes.items() if key.startswith(f"s1-{number}-")}
        found: Counter[float] = Counter()
        for parts in boxes.values():
            for weight, piece in parts:
                # A piece is one token here, or a character of several.
                found[round(weight, 4)] += len(tokenizer(piece, add_special_tokens=False)["input_ids"])
        expected = Counter(np.round(example.loss_weights, 4).astype(float)[example.loss_weights > 0].round(4).tolist())
        assert {w: n for w, n in found.items() if w > 0} == dict(expected)
        told = "".join(piece for parts in boxes.values() for weight, piece in parts if weight > 0)
        learned = example.labels[example.loss_weights > 0]
        assert told == tokenizer.decode(learned)
    weights = sorted({w for parts in page.boxes.values() for w, _ in parts}, reverse=True)
    legend = re.findall(r"weight ([\d.]+)", page.text.partition("Step 1")[0])
    assert [float(text) for text in legend] == pytest.approx([w for w in weights if w > 0], rel=1e-3)
    # The heavier, the stronger; and every colour is one that the style sheet has.
    source = (tmp_path / "page" / "show.html").read_text()
    strengths = [
        int(text) for text in re.findall(r"\.w\d+ \{ background: color-mix\(in srgb, var\(--hot\) (\d+)%", source)
    ]
    assert len(strengths) == len(legend) > 1
    assert strengths == sorted(strengths, reverse=True)


def test_points_are_drawn_on_what_they_point_at(tmp_path: Path) -> None:
    config = points_run(tmp_path)
    page = made(config, tmp_path, rows=6)
    images = [picture(str(a["href"])) for a in page.all("image")]
    middles = page.all("circle", **{"class": "middle"})
    assert len(images) == len(middles) == 6
    for image, point in zip(images, middles, strict=True):
        assert image.shape == (60, 80, 3)
        x, y = float(point["cx"]), float(point["cy"])
        assert image[int(y) - 2 : int(y) + 2, int(x) - 2 : int(x) + 2].min() > 180, "on the bright square"
        assert image[int(y), int(x) - 9 if x > 12 else int(x) + 9].max() < 90, "which it is in the middle of"


def test_crops_are_what_the_image_processor_gives(tmp_path: Path) -> None:
    config = points_run(tmp_path)
    page = made(config, tmp_path, rows=1)
    loader = loader_of(config)
    row = loader.encode_step(0)[0][0].row
    assert row.image is not None
    image = row.image()
    shown = page.all("img")
    _, grid = loader.processor.image_processor.process_one(image, config.max_crops)
    assert [a["alt"] for a in shown] == ["global crop", *(f"crop {n + 1}" for n in range(grid[0] * grid[1]))]
    whole = picture(str(shown[0]["src"])).astype(int)
    # 80 x 60 becomes 56 x 42, centred on black.
    assert whole.shape == (56, 56, 3)
    assert whole[:6].max() < 20
    assert whole[-6:].max() < 20
    expected = np.asarray(Image.fromarray(image).resize((56, 42), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(whole[7:49] - expected).mean() < 4
    kept = [a for a in page.all("div", **{"class": "kept"})]
    assert len(kept) == grid[0] * grid[1]
    # What the crops' tokens stand for covers the picture without gaps or overlaps.
    rects = page.all("rect", **{"class": "crop line"})
    covered = np.zeros(image.shape[:2], int)
    for rect in rects:
        left, top, width, height = (float(rect[name]) for name in ("x", "y", "width", "height"))
        x, y = np.arange(80) + 0.5, np.arange(60) + 0.5
        covered += np.outer((y >= top) & (y < top + height), (x >= left) & (x < left + width))
    assert set(covered.ravel()) == {1}


def test_a_grid_with_margins_still_covers_the_picture_once(tmp_path: Path) -> None:
    config = load("screens", ["batch=1"])
    assert isinstance(config, TrainConfig)
    page = made(config, tmp_path, rows=1)
    rects = page.all("rect", **{"class": "crop line"})
    assert len(rects) == 12
    covered = np.zeros((480, 640), int)
    for rect in rects:
        left, top, width, height = (float(rect[name]) for name in ("x", "y", "width", "height"))
        x, y = np.arange(640) + 0.5, np.arange(480) + 0.5
        covered += np.outer((y >= top) & (y < top + height), (x >= left) & (x < left + width))
    assert (covered == 1).mean() > 0.99, "but for rounded edges"
    assert "sim-desktop" in page.text
    assert "infinite" in page.text
    assert "sees the picture and itself" in page.text


def test_annotations_that_do_not_fit_are_named(tmp_path: Path) -> None:
    labels = [f"thing number {n}" for n in range(8)]
    lines = [{"image": "0.png", "label": label, "points": [[0.5, 0.5]]} for label in labels]
    config = points_run(tmp_path, lines, length=200, prefix="none")
    page = made(config, tmp_path, rows=1)
    cut = loader_of(config).encode_step(0)[0][0].num_truncated
    assert cut > 2
    assert f"{cut} annotations left out" in page.text
    assert "not enough room in 200 tokens (length=200)" in page.text
    assert len(page.boxes) == 8 - cut
    listed = re.findall(r"(\d+) tokens: [^<]*<point x=\"50.0\" y=\"50.0\" alt=\"(thing number \d)\"", page.text)
    kept = {label for label in labels if any(label in "".join(p for _, p in parts) for parts in page.boxes.values())}
    assert {label for _, label in listed} == set(labels) - kept
    assert all(int(count) > 30 for count, _ in listed)


def test_examples_that_cannot_be_used_have_a_place_and_a_reason(tmp_path: Path) -> None:
    config = small_run(tmp_path, batch=8, length=60)
    page = made(config, tmp_path, rows=8)
    skipped = loader_of(config).encode_step(0)[1]
    assert skipped
    for reason in skipped:
        assert f"skipped: {reason}" in page.text
    assert f"{len(skipped)} left out" in page.text


def test_a_picture_that_vanished_is_told(tmp_path: Path) -> None:
    config = points_run(tmp_path, [{"image": "0.png", "label": "x", "points": []}])
    loader = loader_of(config)
    from molmo_agent.train.preview.page import load_step

    assert not load_step(loader, 0, 1).examples[0].problem
    row = loader.sources[0].row
    (tmp_path / "page").mkdir()

    def gone(number: int, seed: int) -> Any:
        import dataclasses

        def image() -> Any:
            raise FileNotFoundError(2, "No such file", "0.png")

        return dataclasses.replace(row(number, seed), image=image)

    loader.sources[0].row = gone  # type: ignore[method-assign]
    seen = load_step(loader, 0, 1).examples[0]
    assert seen.problem == "its image cannot be drawn: [Errno 2] No such file: '0.png'"
    assert seen.annotations


def test_the_packing_is_the_one_that_is_trained_on(tmp_path: Path) -> None:
    config = small_run(tmp_path, batch=10, length=300)
    page = made(config, tmp_path, rows=3, step=1)
    loader = loader_of(config)
    examples, _ = loader.encode_step(1)
    (sequences,) = loader.deal(examples, 1)
    assert "Step 2" in page.text
    bars: list[list[tuple[int, int]]] = []
    for tag, attributes in page.tags:
        if attributes.get("class") == "bar":
            bars.append([])
        told = re.match(r"example (\d+): ([\d,]+) token", str(attributes.get("title")))
        if tag in ("a", "i") and told:
            bars[-1].append((int(told[1]), int(told[2].replace(",", ""))))
    expected = [[(n + 1, examples[n].size.tokens) for n in sequence] for sequence in sequences]
    assert bars == expected
    assert max(map(len, bars)) > 1
    assert sum(1 for tag, a in page.tags if tag == "section" and str(a.get("id")).startswith("s2-")) == 3


def test_more_rows_than_a_step_has_go_on_with_the_next(tmp_path: Path) -> None:
    config = points_run(tmp_path, batch=2)
    page = made(config, tmp_path, rows=5)
    assert [name for name in ("Step 1", "Step 2", "Step 3", "Step 4") if name in page.text] == [
        "Step 1",
        "Step 2",
        "Step 3",
    ]
    assert sum(1 for tag, a in page.tags if tag == "section" and a.get("id")) == 5


def test_a_character_of_several_tokens_is_shown_whole() -> None:
    tokenizer = build_tokenizer()
    text = " User: Zoë 漢字 “x” Assistant:"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    weights = [0.0] * 4 + [1.0] * (len(ids) - 4)
    runs = runs_of(ids, weights, tokenizer)
    assert "".join(piece for run in runs for piece in run.pieces) == text
    assert "漢" in runs[1].pieces
    assert [run.weight for run in runs] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("style", "answer", "points", "note"),
    [
        (
            "pointing",
            '<points x1="10.0" y1="20.0" x2="30.0" y2="40.0" alt="a">a</points>',
            [(0.1, 0.2), (0.3, 0.4)],
            "",
        ),
        ("pointing", "There are none.", [], ""),
        (
            "point_count",
            'Counting the <point x="50.0" y="5.0" alt="a">a</point> shows a total of 1.',
            [(0.5, 0.05)],
            "",
        ),
        ("pointing", '<point x="101.0" y="5.0" alt="a">a</point>', [], "not drawn: 101.0 is outside of 0 to 100"),
        ("android_control", " Click(25.0, 75.0)", [(0.25, 0.75)], ""),
        ("android_control", "Plan: x Action: long press(125.0, 75.0)", [], "not drawn: x must be a fraction"),
        ("android_control", " Wait", [], ""),
    ],
)
def test_answers_point_where_they_say(style: str, answer: str, points: list[tuple[float, float]], note: str) -> None:
    found, told = answer_points(Conversation(turns=("q", answer), style=style))
    assert [(round(point.x, 9), round(point.y, 9)) for point in found] == points
    assert told.startswith(note)
    assert bool(told) == bool(note)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    write_points(tmp_path)
    model = write_model(tmp_path / "model")
    out = tmp_path / "show.html"
    changes = [f"mixture.0.path={tmp_path / 'points.jsonl'}", f"model={model}", "length=300"]
    options = ["--rows", "2", "--step", "3", "--out", str(out)]
    done = CliRunner().invoke(app, ["data", "show", "pointing", *changes, *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.strip() == str(out)
    page = Page(out)
    assert "pointing: what the model sees" in page.text
    assert "Step 3" in page.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pointing"], r"the data set 'points' needs a path; set it in the recipe, or with mixture.0.path="),
        (["nano"], "the recipe 'nano' is a curriculum: its stages draw their screens during training"),
        (["screens", "model=nowhere/to/be/found"], "expected a Molmo checkpoint at 'nowhere/to/be/found' to prepare"),
        (["screens", "--rows", "0"], "expected --rows and --step of at least 1, got 0 and 1"),
        (["screens", "batch=1", "--rows", "1", "--out", "/proc/none/show.html"], "cannot write the page /proc/none"),
    ],
)
def test_what_cannot_be_shown_is_told(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, ["data", "show", *arguments], catch_exceptions=False)


def test_every_data_set_without_a_place_is_named(tmp_path: Path) -> None:
    config = from_dict(
        {
            "mixture": [
                {"kind": "points"},
                {"kind": "chat", "path": str(write_chat(tmp_path))},
                {"kind": "android-control"},
            ]
        }
    )
    with pytest.raises(UsageError, match=r"(?s)2 of 3 .*mixture.0 \(points\).*mixture.2 \(android-control\)"):
        write_page(config, "mine", tmp_path / "show.html", rows=1, step=0)
    assert not (tmp_path / "show.html").exists()
