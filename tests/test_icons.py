"""Icons: their names, regions of screenshots, the shipped weights, and the training on a few own drawings."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from molmo_agent.envs.drawing.fonts import face
from molmo_agent.envs.drawing.icons import icon
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Box
from molmo_agent.nano.icon_training import __main__ as command
from molmo_agent.nano.icon_training.compose import NONE, IconArtist
from molmo_agent.nano.icon_training.measure import (
    IconAnswer,
    draw_screen,
    drawn_answers,
    recorded_answers,
    scores,
)
from molmo_agent.nano.icon_training.rasterise import OTHER, SIDE_PX, IconRasters, bare_name, file_names, rasterise
from molmo_agent.nano.icon_training.recorded import Adaptation, adapt, read_recorded
from molmo_agent.nano.icon_training.train import IconTraining, accuracy, learning_rate, train
from molmo_agent.pointers.icons.classifier import SIDE_PX as CROP_PX
from molmo_agent.pointers.icons.classifier import (
    WEIGHTS,
    IconClassifier,
    crops_of,
    load_classifier,
    probabilities,
)
from molmo_agent.pointers.icons.proposals import propose
from molmo_agent.pointers.icons.reader import IconReader, find_icon
from molmo_agent.pointers.icons.vocabulary import meanings_of, names_of

# Names of the drawings of envs/drawing/icons.py, and what a person calls each.
DRAWN = {
    "menu": "Main Menu",
    "search": "Find",
    "home": "Home",
    "gear": "Preferences",
    "trash": "Delete",
    "back": "Go Back",
    "mail": "Send email",
    "lock": "Lock",
    "calendar": "Pick a date",
    "plus": "Add",
}


def tool_bar(names, size=22, paper=240, ink=40, pitch=40):
    """A window of 640x300 with icons in a row, a word and a frame; and the button of each icon."""
    image = Image.new("RGB", (640, 300), (paper,) * 3)
    pen = ImageDraw.Draw(image)
    boxes = {}
    for number, name in enumerate(names):
        x, y = 20 + number * pitch, 40
        image.paste((ink,) * 3, (x, y), icon(name, size))
        boxes[name] = Box.from_pixels(x - 4, y - 4, x + size + 4, y + size + 4, 640, 300)
    pen.rectangle((10, 150, 300, 280), outline=(ink,) * 3)
    pen.text((30, 180), "Documents and settings", (ink,) * 3, face("noto_sans", 14).font)
    return np.asarray(image), boxes


# Names.


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Preferences", "gear"),
        ("Configure", "gear"),
        ("Create Folder", "folder-new"),
        ("the New Folder icon", "folder-new"),
        ("Create a new document", "file-new"),
        ("Search for Files...", "search"),
        ("Reload from disk", "revert"),
        ("MINIMISE", "minimize"),
        ("Copy to Clipboard", "copy"),
        ("Undo last change", "undo"),
        ("Colours", "palette"),
    ],
)
def test_a_usual_name_has_its_meaning(name: str, meaning: str):
    meanings = meanings_of(name)
    assert meanings[meaning] == max(meanings.values())


@pytest.mark.parametrize("name", ["Frobnicate", "Alice", "", "the", "...", "Zürich 2031"])
def test_an_unknown_name_has_no_meaning(name: str):
    assert meanings_of(name) == {}


def test_a_name_of_two_drawings_has_both():
    assert {"minus", "trash"} <= meanings_of("Remove").keys()
    assert meanings_of("Remove")["minus"] > meanings_of("Remove")["close"]


def test_an_action_on_something_unknown_shows_as_the_action_with_less_weight():
    assert meanings_of("Delete Frobnicator") == {"trash": 0.5}
    assert "brush" not in meanings_of("Delete Brush")


def test_every_meaning_has_a_usual_name_that_leads_to_it_and_icon_files():
    files = file_names()
    for meaning in load_classifier().classes[:-2]:
        assert names_of(meaning), meaning
        assert all(meaning in meanings_of(name) for name in names_of(meaning))
        assert files[meaning]
    assert names_of("frobnicate") == []
    assert (*files, OTHER, NONE) == load_classifier().classes


# Regions.


@pytest.mark.parametrize(("size", "paper", "ink"), [(16, 245, 60), (22, 40, 220), (32, 245, 60), (48, 30, 230)])
def test_every_icon_of_a_tool_bar_is_proposed_and_few_else(size: int, paper: int, ink: int):
    image, buttons = tool_bar(DRAWN, size, paper, ink, pitch=size + 14)
    regions = propose(image)
    assert len(regions) < 60
    for button in buttons.values():
        edges = np.array([button.left * 640, button.top * 300, button.right * 640, button.bottom * 300])
        inside = (regions[:, :2] >= edges[:2]).all(1) & (regions[:, 2:] <= edges[2:]).all(1)
        longest = (regions[inside][:, 2:] - regions[inside][:, :2]).max(1)
        assert longest.max() >= 0.75 * size


@pytest.mark.parametrize("shape", [(0, 4, 10, 5), (0, 0, 9, 9), (0, 0, 2, 14)])
def test_thin_and_small_controls_are_proposed(shape: tuple[int, int, int, int]):
    image = np.full((80, 120, 3), 250, np.uint8)
    left, top, right, bottom = shape
    image[30 + top : 30 + bottom, 50 + left : 50 + right] = 60
    regions = propose(image)
    assert (np.abs(regions - np.array([50 + left, 30 + top, 50 + right, 30 + bottom])).max(1) <= 1).any()


def test_regions_in_lines_of_text_are_left_out_and_single_letters_stay():
    image, _ = tool_bar(["home"])
    line = Box.from_pixels(25, 170, 260, 205, 640, 300)
    outside = propose(image, [line])
    assert len(outside) < len(propose(image))
    assert not ((outside[:, 1] > 170) & (outside[:, 3] < 205) & (outside[:, 0] > 25)).any()
    # An OCR reads a cross as "x": a box of one letter hides no icon.
    assert len(propose(image, [Box.from_pixels(18, 38, 44, 64, 640, 300)])) == len(propose(image))


def test_an_empty_image_has_no_regions_and_no_matches():
    image = np.full((100, 100, 3), 128, np.uint8)
    assert propose(image).shape == (0, 4)
    assert find_icon(image, "Preferences") == []


# Classifier and reader.


def test_crops_are_square_and_centred_and_repeat_the_border():
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 70:] = 200
    crops = crops_of(image, np.array([[60.0, 20.0, 80.0, 40.0]]))
    assert crops.shape == (1, 3, CROP_PX, CROP_PX)
    assert crops[0, 0, 20, 0] == 0
    assert crops[0, 0, 20, -1] == 200


def test_probabilities_of_a_region_sum_to_one_and_none_for_none():
    image, _ = tool_bar(["home"])
    model = load_classifier()
    rows = probabilities(model, image, np.array([[20.0, 40.0, 42.0, 62.0], [0.0, 0.0, 30.0, 30.0]]))
    assert rows.shape == (2, len(model.classes))
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-4)
    assert probabilities(model, image, np.zeros((0, 4))).shape == (0, len(model.classes))


@pytest.mark.parametrize(("paper", "ink"), [(240, 40), (45, 225)])
def test_the_shipped_weights_find_drawn_icons(paper: int, ink: int):
    image, buttons = tool_bar(DRAWN, 24, paper, ink)
    scene = IconReader().read(image)
    hits = []
    for name, question in DRAWN.items():
        matches = scene.find(question)
        hits.append(bool(matches) and buttons[name].contains(matches[0].box.center))
    assert sum(hits) >= 8, dict(zip(DRAWN, hits, strict=True))


def test_unknown_names_and_absent_icons_are_refused():
    image, _ = tool_bar(["home", "search", "menu"])
    scene = IconReader().read(image)
    assert scene.find("Frobnicate") == []
    for absent in ("Shopping cart", "Bluetooth", "Microphone", "Paste"):
        assert all(match.probability < 0.3 for match in scene.find(absent)), absent


def test_two_icons_alike_are_two_matches_the_likeliest_first():
    image, _ = tool_bar(["home"])
    image = np.concatenate([image, image[:, ::-1]], 1)
    matches = find_icon(image, "Home")
    assert len(matches) >= 2
    probabilities_ = [match.probability for match in matches]
    assert probabilities_ == sorted(probabilities_, reverse=True)
    assert matches[1].probability > 0.5
    assert {match.meaning for match in matches[:2]} == {"folder-home"}


def test_weights_that_are_missing_or_foreign_say_what_to_do(tmp_path: Path):
    with pytest.raises(ModelError, match=r"expected the weights of the icon classifier in .*install the package again"):
        load_classifier(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match=r"expected the classes in the metadata of .*; train the weights again"):
        load_classifier(tmp_path / "foreign.safetensors")


def test_the_weights_are_small_and_survive_being_saved(tmp_path: Path):
    assert WEIGHTS.stat().st_size < 2_000_000
    model = load_classifier()
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == WEIGHTS.read_bytes()


# Training.


def own_sets(folder: Path, names: tuple[str, ...] = ("first", "second")) -> Path:
    """Icon sets with PNG files of own drawings."""
    for number, set_name in enumerate(names):
        for file, drawing in {
            "go-home-symbolic": "home",
            "edit_find-24": "search",
            "list-add-outline": "plus",
            "unrelated": "heart",
        }.items():
            path = folder / set_name / "actions" / f"{file}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = icon(drawing, 24 + 8 * number)
            Image.merge("RGBA", (*[Image.new("L", mask.size, 30)] * 3, mask)).save(path)
        (folder / set_name / "actions" / "go-up.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def rasters(tmp_path_factory) -> IconRasters:
    return rasterise(own_sets(tmp_path_factory.mktemp("sets")))


def test_rasters_are_labelled_by_file_name_and_cut_to_what_is_visible(rasters: IconRasters):
    assert {rasters.meanings[label] for label in rasters.labels} == {"plus", "folder-home", "search", OTHER}
    assert len(rasters.labels) == 8  # the broken files are left out
    assert rasters.pixels.shape == (8, SIDE_PX, SIDE_PX, 4)
    rows, columns = rasters.pixels[..., 3].max(2) > 40, rasters.pixels[..., 3].max(1) > 40
    assert ((rows[:, 1] & rows[:, -2]) | (columns[:, 1] & columns[:, -2])).all()


def test_rasters_come_back_from_their_file(rasters: IconRasters, tmp_path: Path):
    rasters.save(tmp_path / "rasters.npz")
    again = IconRasters.load(tmp_path / "rasters.npz")
    assert again.meanings == rasters.meanings
    assert again.set_names == ("first", "second")
    np.testing.assert_array_equal(again.pixels, rasters.pixels)


@pytest.mark.parametrize(
    ("file", "bare"),
    [
        ("save-outline-24.svg", "save"),
        ("document_save-symbolic.svg", "document-save"),
        ("edit-find-symbolic-rtl.svg", "edit-find"),
        ("24.png", "24"),
    ],
)
def test_styles_and_sizes_are_no_part_of_a_name(file: str, bare: str):
    assert bare_name(Path(file)) == bare


def test_a_folder_without_icons_and_a_machine_without_rsvg_are_refused(tmp_path: Path, monkeypatch):
    with pytest.raises(UsageError, match=r"expected folders of icon sets with \.svg or \.png files in "):
        rasterise(tmp_path)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "go-home.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    with pytest.raises(UsageError, match="expected rsvg-convert on PATH; install librsvg2-bin"):
        rasterise(tmp_path)


def test_the_same_seed_draws_the_same_crops(rasters: IconRasters):
    (one, labels), (other, _) = (IconArtist(rasters, 5).batch(64) for _ in range(2))
    assert torch.equal(one, other)
    assert one.shape == (64, 3, CROP_PX, CROP_PX)
    assert 0 <= one.min() <= one.max() <= 1
    assert len(labels.unique()) >= 4


def test_a_run_is_resumed_and_learns(rasters: IconRasters, tmp_path: Path):
    options = IconTraining(steps=30, batch_size=64, learning_rate=2e-3, save_every=10, held_out=(), average_decay=0.5)
    train(rasters, replace(options), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1]["loss"] < lines[0]["loss"]
    model = train(rasters, options, tmp_path)  # finished: nothing is added
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert accuracy(model, rasters, ("first",), batches=1) > 0.5
    with pytest.raises(UsageError, match=r"holds a run with other settings: .*; choose another folder"):
        train(rasters, replace(options, seed=1), tmp_path)


def test_a_held_out_set_that_does_not_exist_is_refused(rasters: IconRasters, tmp_path: Path):
    with pytest.raises(UsageError, match="expected icon sets of first, second; got third"):
        train(rasters, IconTraining(held_out=("third",)), tmp_path)


def test_the_command_renders_trains_in_two_processes_and_writes_weights(tmp_path: Path, capsys):
    weights = tmp_path / "icons.safetensors"
    arguments = ["--out", str(tmp_path / "run"), "--weights", str(weights), "--steps", "1", "--workers", "2"]
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "expected --icons, because" in capsys.readouterr().err
    icons = own_sets(tmp_path / "sets", ("carbon", "first", "suru-icon-theme"))
    # In a process of its own: it forks, and this one has threads.
    done = subprocess.run(
        [sys.executable, "-m", command.__spec__.parent, *arguments, "--icons", str(icons)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "12 icons of 3 sets" in done.stdout, done.stderr
    assert load_classifier(weights).classes[-1] == NONE
    assert not (tmp_path / "run" / "rendezvous").exists()


def test_a_longer_run_may_continue_a_shorter_one(rasters: IconRasters, tmp_path: Path):
    short = IconTraining(steps=1, batch_size=32, held_out=())
    train(rasters, short, tmp_path)
    train(rasters, replace(short, steps=2), tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    options = IconTraining(steps=1000, learning_rate=1.0)
    rates = [learning_rate(step, options) for step in (0, 24, 49, 599, 800, 1000)]
    np.testing.assert_allclose(rates, [0.02, 0.5, 1, 1, 0.5, 0])


# Measuring.


def test_answers_are_counted_at_a_threshold():
    answers = [
        IconAnswer("a", 0.9, True, True),
        IconAnswer("b", 0.8, False, True),
        IconAnswer("c", 0.2, True, True),
        IconAnswer("d", 0.0, False, True),
        IconAnswer("e", 0.7, False, False),
        IconAnswer("f", 0.1, False, False),
    ]
    counted = scores(answers, 0.5)
    assert (counted.hits, counted.wrong, counted.absent_clicks) == (0.25, 0.25, 0.5)
    assert scores([], 0.5).hits == 0


def test_drawn_screens_are_asked_for_what_they_show_and_what_they_do_not(rasters: IconRasters):
    image, buttons = draw_screen(rasters, ("first",), random.Random(1))
    assert image.shape == (600, 800, 3)
    assert {*buttons} <= {"plus", "folder-home", "search"}
    answers = [*drawn_answers(IconReader(), rasters, ("first", "second"), screens=3, seed=0)]
    assert sum(a.present for a in answers) == len(answers) / 2
    assert scores(answers, 0.3).hits > 0.7
    assert scores(answers, 0.3).absent_clicks < 0.2


def test_recorded_screens_are_asked_for_their_icons_only(tmp_path: Path):
    image, buttons = tool_bar(["home", "search"])
    Image.fromarray(image).save(tmp_path / "screen.png")
    box = [buttons["home"].left, buttons["home"].top, buttons["home"].right, buttons["home"].bottom]
    rows = [
        {"image": "screen.png", "boxes": [box], "extra": {"group": "icon", "name": "Home"}},
        {"image": "screen.png", "boxes": [], "extra": {"group": "icon", "name": "Shopping cart"}},
        {"image": "screen.png", "boxes": [box], "extra": {"group": "text", "name": "Documents"}},
    ]
    (tmp_path / "targets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answers = [*recorded_answers(IconReader(), tmp_path / "targets.jsonl")]
    assert [(a.name, a.hit, a.present) for a in answers] == [("Home", True, True), ("Shopping cart", False, False)]


def test_a_fresh_classifier_has_a_logit_per_class():
    assert IconClassifier(["a", "b"]).eval()(torch.zeros(2, 3, CROP_PX, CROP_PX)).shape == (2, 2)


def recorded_folder(folder: Path) -> Path:
    """Write screens with a tool bar each, as `agent data record-screens` does."""
    (folder / "screens").mkdir(parents=True)
    lines = []
    for number, paper in enumerate((240, 40)):
        image, buttons = tool_bar([*DRAWN], paper=paper, ink=280 - paper if paper < 200 else 40)
        Image.fromarray(image).save(folder / "screens" / f"{number}.png")
        elements = [
            {
                "name": DRAWN[name],
                "box_px": [box.left * 640, box.top * 300, (box.right - box.left) * 640, (box.bottom - box.top) * 300],
                "has_visible_text": False,
                "role": "button",
            }
            for name, box in buttons.items()
        ]
        lines.append(json.dumps({"image": f"screens/{number}.png", "elements": elements}))
    (folder / "screens.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_classifier_adapts_to_recorded_screens(rasters: IconRasters, tmp_path: Path):
    folder = recorded_folder(tmp_path / "recorded")
    classes = (*rasters.meanings, NONE)
    recorded = read_recorded(folder, classes)
    assert recorded.icons.any()
    assert recorded.targets.sum(1).numpy() == pytest.approx(1)
    torch.manual_seed(0)
    model = IconClassifier(classes)

    def share_right() -> float:
        with torch.inference_mode():
            chances = model.eval()(recorded.crops.float() / 255).softmax(1)
        return float((chances * (recorded.targets > 0)).sum(1).mean())

    before = share_right()
    adapt(model, rasters, recorded, Adaptation(steps=30, num_drawn=32, num_recorded=32), ())
    assert share_right() > before + 0.2


def test_a_folder_without_recorded_screens_says_how_to_record_some(tmp_path: Path):
    with pytest.raises(UsageError, match=r"screens\.jsonl, as `agent data record-screens"):
        read_recorded(tmp_path, (NONE,))
    (tmp_path / "screens.jsonl").write_text("")
    with pytest.raises(UsageError, match="elements with icons"):
        read_recorded(tmp_path, (NONE,))
