"""Fuzz targets of files: images, configs, weights, records of runs, data sets."""

import atexit
import base64
import contextlib
import hashlib
import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from registry import target_of_bytes

from molmo_agent.camera import Camera
from molmo_agent.camera.camera_info import read_camera_info
from molmo_agent.data.android_control.accessibility import read_forest, reduced_text, reference_boxes
from molmo_agent.data.android_control.episodes import episode_of
from molmo_agent.data.catalog import open_source
from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.formats.protobuf import feature_map
from molmo_agent.data.formats.tfrecord import read_records, record_at
from molmo_agent.data.images.url_list import read_lists
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problems
from molmo_agent.errors import ImageError, MolmoAgentError
from molmo_agent.evaluation.run import read_records as read_evaluation
from molmo_agent.geometry import Point
from molmo_agent.images import read_image, read_size
from molmo_agent.model import MolmoConfig
from molmo_agent.model.checkpoints.loading import native_config
from molmo_agent.model.checkpoints.untrusted import _count_weights, check_configs
from molmo_agent.parse import MAX_DEPTH, _is_deep, json_lines, load_json, load_yaml
from molmo_agent.pointers.baselines import read_script
from molmo_agent.pointers.profile import PROFILE_FILE, PointingProfile, read_profile
from molmo_agent.rollout.trajectory import load_trajectory
from molmo_agent.rollout.viewer import render_html
from molmo_agent.synthetic.recorded_screens import RecordedScreens
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.recipe import load, to_yaml
from molmo_agent.train.shards import read_description

_FOLDER = Path(tempfile.mkdtemp(prefix="molmo-agent-fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAIAAABxZ0isAAAAEklEQVR4nGP8z4AdMOEQp4sEAJiFAQtsMIKbAAAAAElFTkSuQmCC"
)
Reader = Callable[[Path], None]


def file_target(
    name: str, file: str, *seeds: bytes | Any, refusals: tuple[type[Exception], ...] = (MolmoAgentError,)
) -> Callable[[Reader], Reader]:
    """Register a function of a path as a target; seeds that are no bytes are written as JSON.

    Args:
        name: of the target, and of its folder.
        file: the name under which the input is written into that folder.
        seeds: inputs to begin with; binary formats have theirs from ``make_files.py``.
        refusals: the documented errors.
    """

    def register(function: Reader) -> Reader:
        @target_of_bytes(name, *(seed if isinstance(seed, bytes) else json.dumps(seed).encode() for seed in seeds))
        def read(data: bytes) -> None:
            path = _FOLDER / name / file
            path.parent.mkdir(exist_ok=True)
            # A new file each time: an old one may still be mapped into the memory.
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            with warnings.catch_warnings(), contextlib.suppress(*refusals):
                warnings.simplefilter("ignore")
                function(path)

        return function

    return register


def _beside(path: Path, name: str, content: bytes | Any) -> Path:
    """Write a file next to another one unless it is there."""
    place = path.parent / name
    if not place.exists():
        place.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return place


# --- Images -----------------------------------------------------------------------------------------------------------


@file_target("image", "image", _PNG, refusals=(ImageError,))
def image(path: Path) -> None:
    """Any format that is read: a file that has a size has it as an image, too."""
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert read_size(path) == pixels.shape[1::-1]


@file_target("depth-image", "depth.png", _PNG, refusals=(ImageError, ValueError))
def depth_image(path: Path) -> None:
    """A depth image out of a file: depths are metres or unknown."""
    depths = read_image(path)[:, :, 0].astype(np.uint16)
    height, width = depths.shape
    camera = Camera(width=width, height=height, fx=9.0, fy=9.0, cx=1.0, cy=1.0, pose=np.eye(4))
    lifted = camera.lift([Point(0.5, 0.5)], depths, depth_scale=0.001)
    assert lifted is not None


# --- JSON and YAML ----------------------------------------------------------------------------------------------------


@file_target("json", "it.json", {"a": [1, -2.5e3, "\u202e", None, True]}, b"\xef\xbb\xbf[1]", b"[1e999]")
def json_text(path: Path) -> None:
    """JSON: finite numbers, bounded depth."""
    value = load_json(path.read_bytes(), where="it")
    assert not _is_deep(value), MAX_DEPTH
    assert all(math.isfinite(number) for number in _numbers(value))
    load_json(path.read_bytes(), where="it", nan=True)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [n for inner in (value.values() if isinstance(value, dict) else value) for n in _numbers(inner)]
    return [value] if isinstance(value, float) else []


@file_target("json-lines", "it.jsonl", b'{"a": 1}\n\n["\xe2\x80\xa8"]\n', b'{"a": NaN}\n{"b"')
def lines(path: Path) -> None:
    """JSON lines: numbered in order."""
    cut: list[str] = []
    numbers = [number for number, _ in json_lines(path, nan=True, on_cut_end=cut.append)]
    assert numbers == sorted({*numbers})
    assert len(cut) <= 1
    list(json_lines(path))


@file_target("yaml", "it.yaml", b"a: &x [1, 2.5]\nb: *x\n", b"- 2001-01-01\n- !!int '0x_'\n- <<: {a: 1}\n", b"'a': ~")
def yaml_text(path: Path) -> None:
    """YAML: plain data."""
    load_yaml(path.read_bytes(), where="it")


@file_target(
    "json-array", "it.json", b'{"info": 1, "items": [{"a": "\xc3\xa9"}, {"b": [1.5]}, 3]}', b'{"items": [{}, {"a": 1}'
)
def json_array(path: Path) -> None:
    """A large array: what is read by number is what was scanned."""
    items = JsonArray(path, "items")
    scanned = [value for _, value in items.scan()]
    assert repr([items.get(number) for number in range(len(items))]) == repr(scanned)


# --- Recipes and runs -------------------------------------------------------------------------------------------------

RECIPE = b"model: nano\nmixture:\n- {kind: chat, path: x.jsonl, rate: 2.0}\noptimizer:\n  llm: {peak: 1e-5}\nsteps: 5\n"


@file_target("recipe", "recipe.yaml", RECIPE, b"like: fine-tune\nsteps: 3\n", b"kind: sft\n")
def recipe(path: Path) -> None:
    """A recipe: what is read can be written and is the same again."""
    config = load(str(path))
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load(str(path)) == config


@file_target("recipe-change", "value", b"optimizer.llm.peak=2e-5", b"mixture.0.path=[a, {b: c}]", b"model=x")
def recipe_change(path: Path) -> None:
    """key=value on the command line."""
    load(str(_beside(path, "recipe.yaml", RECIPE)), [path.read_bytes().decode("utf-8", "surrogateescape")])


def _resume(folder: Path) -> None:
    run = RunFolder(folder, load(str(_beside(folder, "recipe.yaml", RECIPE))))
    try:
        run.forget_after(run.step)
    finally:
        run.close()


@file_target("run-config", "config.yaml", RECIPE, b"{}")
def run_config(path: Path) -> None:
    """The config in a run's folder."""
    (path.parent / "step-000005").mkdir(exist_ok=True)
    _beside(path, "step-000005/meta.json", {"step": 5})
    _resume(path.parent)


@file_target("run-metrics", "metrics.jsonl", b'{"step": 1, "loss": 1.0}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo')
def run_metrics(path: Path) -> None:
    """The metrics in a run's folder."""
    _resume(path.parent)


@file_target("run-step", "meta.json", {"step": 5})
def run_step(path: Path) -> None:
    """The step of a checkpoint."""
    folder = path.parent / "run"
    (folder / "step-000005").mkdir(parents=True, exist_ok=True)
    (folder / "step-000005" / "meta.json").write_bytes(path.read_bytes())
    (folder / "latest").write_text("step-000005")
    _resume(folder)


@file_target("run-tensors", ".metadata")
def run_tensors(path: Path) -> None:
    """The description of a checkpoint's tensors, a pickle."""
    read_description(path.parent)


@file_target("evaluation-records", "records.jsonl", b'{"id": "a", "score": 1.0}\n{"id": "b", "skipped": "x"}\n{"id"')
def evaluation_records(path: Path) -> None:
    """The records of an evaluation that is resumed."""
    assert all(record["id"] == name for name, record in read_evaluation(path).items())


# --- Checkpoints ------------------------------------------------------------------------------------------------------

_PART = {
    "model_type": "qwen2",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "vocab_size": 9,
}
_CHECKPOINT_REFUSALS = (ValueError, OSError)


@file_target(
    "model-config",
    "config.json",
    {"model_type": "molmo", "text_config": _PART, "vision_config": {**_PART, "image_size": [28, 28], "patch_size": 14}},
    {"d_model": 8, "n_heads": 1, "n_layers": 1, "vocab_size": 9, "mlp_hidden_size": 16, "model_type": "molmo"},
    {"model_type": "molmo", "auto_map": {"AutoModel": "x.Y"}, "attn_implementation": "a/b", "hidden_size": 8},
    refusals=_CHECKPOINT_REFUSALS,
)
def model_config(path: Path) -> None:
    """The config of a model."""
    fields = check_configs(path.parent)
    assert isinstance(fields, dict)
    MolmoConfig.from_dict(fields)


@file_target(
    "tokenizer-config",
    "tokenizer_config.json",
    {"tokenizer_class": "Qwen2Tokenizer", "auto_map": {"AutoProcessor": "p.P"}, "chat_template": "{{ x }}"},
    refusals=_CHECKPOINT_REFUSALS,
)
def tokenizer_config(path: Path) -> None:
    """The config of a tokenizer."""
    assert check_configs(path.parent) is None


@file_target(
    "processor-config", "processor_config.json", {"processor_class": "P", "use_kernels": False, "image_size": [28, 28]},
    refusals=_CHECKPOINT_REFUSALS,
)  # fmt: skip
def processor_config(path: Path) -> None:
    """The config of a processor."""
    assert check_configs(path.parent) is None


@file_target(
    "native-config",
    "config.yaml",
    b"model:\n  d_model: 8\n  n_heads: 1\n  n_layers: 1\n  vocab_size: 9\n  mlp_hidden_size: 16\n",
    b"d_model: 8\nn_heads: 2\nn_layers: 1\nvocab_size: 9\nvision_backbone:\n  image_num_heads: 1\n  image_head_dim: 4\n"
    b"  image_emb_dim: 4\n  image_mlp_dim: 8\n  image_num_layers: 1\n  image_default_input_size: [28, 28]\n",
    refusals=(MolmoAgentError, ValueError),
)
def native(path: Path) -> None:
    """The config of the authors' training code."""
    native_config(path.parent)


@file_target("weights", "model.safetensors", refusals=_CHECKPOINT_REFUSALS)
def weights(path: Path) -> None:
    """The header of a file of weights."""
    assert _count_weights(path.parent) >= 0


@file_target(
    "weights-index", "model.safetensors.index.json", {"weight_map": {"a": "b.safetensors", "c": "d.safetensors"}},
    refusals=(*_CHECKPOINT_REFUSALS, MolmoAgentError),
)  # fmt: skip
def weights_index(path: Path) -> None:
    """The list of the files of weights."""
    _count_weights(path.parent)


@file_target(
    "profile",
    PROFILE_FILE,
    {"dialect": "molmo", "window": [640, 480], "canvases": [[64, 64]], "min_confidence": 0.5},
    {"calibration": {"slope": 1.0, "offset": 0.0}, "remark": "r", "question": "Point at {}"},
)
def profile(path: Path) -> None:
    """The options of a pointing model."""
    assert isinstance(read_profile(path.parent), PointingProfile)


@file_target("answers", "answers.json", {"the button": [0.5, 0.25], "cats": [[0.1, 0.2], [0.3, 0.4]]})
def answers(path: Path) -> None:
    """Prepared answers."""
    read_script(str(path))


# --- Records of runs --------------------------------------------------------------------------------------------------

_RECORDED = {"file": "000000.png", "sha256": hashlib.sha256(_PNG).hexdigest(), "width": 8, "height": 6, "covered": 0.0}
_META = {
    **{"schema": "molmo-agent-trajectory", "schema_version": 1, "created": "2026-11-30T10:33:08+00:00"},
    **{"task": {"instruction": "click it", "data": {}}, "env": "toy", "policy": "scripted", "seed": None},
    **{"options": {}, "dry_run": False, "guards": {"max_steps": 30, "allow": [], "deny": []}, "versions": {}},
}
_STEP = {
    "index": 0,
    "observation": {**_RECORDED, "transform": {"capture": [8, 6], "steps": []}, "info": {}},
    "instruction": "click it",
    "result": {
        **{"status": "ok", "reply": "r", "points": [{"point": {"x": 0.4, "y": 0.6}, "label": None, "id": None}]},
        **{"latency_s": 0.0, "confidence": 0.5, "composed": False},
    },
    "action": {"type": "Click", "point": {"x": 0.4, "y": 0.6}, "button": "left", "count": 1, "held": []},
    **{"effect": "unchanged", "refused": "", "refusal_kind": None, "dry_run": False, "reward": 0.0},
    **{"terminated": False, "truncated": False, "info": {}, "times_s": {"policy": 0.1}},
}
_TYPED = {**_STEP, "index": 1, "instruction": "", "result": None, "action": {"type": "Type", "text": "a"}}
_RESULT = {"success": False, "ended": "Done", "steps": 1, "final": _RECORDED}


def _show(path: Path) -> None:
    for name, content in (("meta.json", _META), ("steps.jsonl", _STEP), ("000000.png", _PNG)):
        _beside(path, name, content)
    page = render_html(path.parent)
    assert page.count("<script") <= 1
    load_trajectory(path.parent)


@file_target("trajectory", "meta.json", _META, {**_META, "options": {"a": ["<b>"]}})
def trajectory(path: Path) -> None:
    """What a run was asked to do."""
    _show(path)


@file_target(
    "trajectory-steps", "steps.jsonl", b"\n".join(json.dumps(step).encode() for step in (_STEP, _TYPED)),
    json.dumps({**_STEP, "refused": "no", "refusal_kind": "guard", "action": {"type": "Done"}}).encode(),
)  # fmt: skip
def trajectory_steps(path: Path) -> None:
    """The steps of a run."""
    _show(path)


@file_target("trajectory-result", "result.json", _RESULT)
def trajectory_result(path: Path) -> None:
    """How a run ended."""
    _show(path)


# --- Data sets --------------------------------------------------------------------------------------------------------


def _rows(kind: str, path: Path) -> None:
    """Read the rows as training does, which leaves out those that raise ROW_ERRORS."""
    _beside(path, "1.png", _PNG)
    data = open_source(Source(kind=kind, path=str(path)))
    for number in range(len(data)):
        with contextlib.suppress(*ROW_ERRORS):
            row = data.row(number, 0)
            if row.image is not None:
                row.image()


@file_target(
    "data-points", "points.jsonl",
    b'{"image": "1.png", "label": "a", "points": [[0.5, 0.25]], "boxes": [[0.1, 0.2, 0.6, 0.7]]}\n',
)  # fmt: skip
def data_points(path: Path) -> None:
    """One's own points."""
    _rows("points", path)


@file_target("data-chat", "chat.jsonl", b'{"messages": ["a", "b"], "image": "1.png"}\n')
def data_chat(path: Path) -> None:
    """One's own conversations."""
    _rows("chat", path)


@file_target(
    "data-questions", "questions.jsonl",
    b'{"image": "1.png", "question": "What?", "answers": ["a"], "points": [[0.5, 0.5]], "boxes": [[0, 0, 1, 1]]}\n',
)  # fmt: skip
def data_questions(path: Path) -> None:
    """One's own questions."""
    _beside(path, "1.png", _PNG)
    for question in QuestionsFile(Source(kind="questions", path=str(path))).questions():
        if question.image:
            with contextlib.suppress(*ROW_ERRORS):
                question.image()


@file_target(
    "recorded-screens", "screens.jsonl",
    b'{"picture": "1.png", "questions": [{"text": "Point at a", "label": "a", "box": [0.1, 0.1, 0.5, 0.5], "named": '
    b'true}], "elements": [{"role": "button", "text": "a", "box": [0.1, 0.1, 0.5, 0.5]}], "texts": [{"text": "a", '
    b'"edges": [0.1, 0.2], "top": 0.1, "bottom": 0.2}]}\n',
)  # fmt: skip
def recorded_screens(path: Path) -> None:
    """Screens with questions."""
    _beside(path, "1.png", _PNG)
    screens = RecordedScreens(path.parent)
    for number in range(len(screens)):
        with contextlib.suppress(MolmoAgentError):
            screens[number]


@file_target("url-list", "urls.txt", b"https://a.example/1.png\n\nhttps://b.example/\xc3\xa9\n")
def url_list(path: Path) -> None:
    """Addresses, one a line."""
    assert all(image.url.strip() and image.rows for image in read_lists([path]).images)


@file_target("url-table", "urls.jsonl", b'{"image_url": "https://a.example/1.png", "image_sha256": "ab"}\n{"a": 1}\n')
def url_table(path: Path) -> None:
    """Addresses in JSON lines."""
    assert all(image.url.strip() and image.rows for image in read_lists([path]).images)


def _table(path: Path) -> None:
    problems = Problems()
    table = Table(path, "train", [], problems)
    rows = list(table.scan(table.columns))
    assert len(rows) == len(table) or problems.entries
    for number in range(min(len(table), 3)):
        with contextlib.suppress(ValueError):
            table.row(number, table.columns)


@file_target("parquet", "train.parquet")
def parquet(path: Path) -> None:
    """A table in Parquet."""
    _table(path)


@file_target("arrow", "train.arrow")
def arrow(path: Path) -> None:
    """A table in Arrow's stream format."""
    _table(path)


@file_target("tfrecord", "it.tfrecord")
def tfrecord(path: Path) -> None:
    """TensorFlow's records, compressed or not: each can be read again at its place."""
    problems, marks = Problems(), []
    for record in read_records(path, problems, marks):
        assert record_at(path, record.offset, marks) == record.payload


@target_of_bytes(
    "tf-example", b"\n\x0f\n\r\n\x01a\x12\x08\x1a\x06\n\x04\x01\x02\xac\x02", b"\n\x0c\n\n\n\x01b\x12\x05\n\x03\n\x01x"
)
def tf_example(data: bytes) -> None:
    """TensorFlow's ``Example``."""
    with contextlib.suppress(ValueError):
        for values in feature_map(data).values():
            assert all(isinstance(value, bytes | int | float) for value in values)


@target_of_bytes("android-episode")
def android_episode(data: bytes) -> None:
    """An episode of AndroidControl: what is read has an action for each step."""
    with contextlib.suppress(ValueError):
        for step in episode_of(data):
            with contextlib.suppress(*ROW_ERRORS):
                step.target_action()


@target_of_bytes(
    "accessibility-forest", b"\n\x1b\x5a\x19\n\x17\x12\x06\x08\x01\x10\x02\x18\x032\x01p:\x02hi\xb8\x01\x01p\x01R\x01r"
)
def accessibility_forest(data: bytes) -> None:
    """Android's accessibility forest."""
    with contextlib.suppress(ValueError):
        windows = read_forest(data)
        assert all(len(box) == 4 for box in reference_boxes(windows, 1080, 2400))
        reduced_text(windows)


# --- Cameras ----------------------------------------------------------------------------------------------------------

_INFO = {"width": 64, "height": 48, "k": [50, 0, 32, 0, 50, 24, 0, 0, 1], "d": [0, 0, 0, 0, 0]}


@file_target(
    "camera-info",
    "info.json",
    {**_INFO, "r": [1, 0, 0, 0, 1, 0, 0, 0, 1], "p": [50, 0, 32, -5, 0, 50, 24, 0, 0, 0, 1, 0]},
    {**_INFO, "binning_x": 2, "roi": {"x_offset": 4, "y_offset": 4, "width": 32, "height": 24, "do_rectify": True}},
    refusals=(MolmoAgentError, ValueError),
)
def camera_info(path: Path) -> None:
    """A CameraInfo of ROS: sizes and focal lengths above 0."""
    info = load_json(path.read_bytes(), where="it", nan=True)
    for rectified in (None, True, False):
        for pose_of in (None, "own", "first"):
            with contextlib.suppress(ValueError):
                found = read_camera_info(info, rectified=rectified, pose_of=pose_of, image_size=None)
                assert min(found.width, found.height, found.fx, found.fy) > 0
                assert all(map(math.isfinite, (found.cx, found.cy, *found.center)))
