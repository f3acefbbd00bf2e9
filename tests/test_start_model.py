"""``agent start``: parts of other models become a model to train, whose processor fits it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import write_points
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.model import MolmoForConditionalGeneration, MolmoProcessor
from molmo_agent.model.fit import check_fit
from molmo_agent.model.processor import IMAGE_TOKENS
from molmo_agent.model.start_model import Start, add_image_tokens, write_start_model
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.train.launch import run_here
from molmo_agent.train.recipe import from_dict
from molmo_agent.train.starting_model import load_model

# torch warns of processes that are not there, and of names of its own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

BLOCKS = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 32}
VISION: dict[str, dict[str, Any]] = {
    "clip_vision_model": {"intermediate_size": 48, "image_size": 56, "patch_size": 14},
    "siglip_vision_model": {"intermediate_size": 48, "image_size": 60, "patch_size": 14},
    "dinov2": {"mlp_ratio": 2, "image_size": 70, "patch_size": 14},
}
LANGUAGE = ("qwen2", "olmo", "olmo2", "olmoe", "llama")
SMALL = Start(margins=(0, 0), max_crops=3, vit_layers=(-1, -2))


def write_vision(folder: Path, kind: str = "clip_vision_model") -> Path:
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(kind, **BLOCKS, **VISION[kind])).save_pretrained(folder)
    return folder


def write_tokenizer(
    folder: Path, size: int = 300, eos: str | None = "<|endoftext|>", more: tuple[str, ...] = ()
) -> Any:
    """Write a tokenizer of bytes, as those of the language models are."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"w{number}" for number in range(size - len(letters) - 1)), "<|endoftext|>"]
    plain = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=eos)
    tokenizer.add_tokens(list(more), special_tokens=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_language(folder: Path, kind: str = "qwen2", rows: int = 320, **tokenizer: Any) -> Path:
    torch.manual_seed(1)
    sizes = {"vocab_size": rows, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 512}
    more = {"num_experts": 4, "num_experts_per_tok": 2} if kind == "olmoe" else {}
    ids = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": 299}
    config = AutoConfig.for_model(kind, **{**BLOCKS, "num_hidden_layers": 2}, **sizes, **more, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    write_tokenizer(folder, **tokenizer)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("parts")
    return write_vision(folder / "vision"), write_language(folder / "language")


@pytest.fixture(scope="module")
def started(parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "model"
    write_start_model(*parts, folder, SMALL)
    return folder


def train_one_step(model: Path, folder: Path) -> None:
    folder.mkdir()
    rate = {"peak": 1e-3, "warmup_steps": 1}
    config = from_dict(
        {
            "model": str(model),
            "mixture": [{"kind": "points", "path": str(write_points(folder, pictures=2))}],
            "steps": 1,
            "batch": 2,
            "length": 400,
            "max_crops": 3,
            "optimizer": {name: rate for name in ("vit", "connector", "llm")},
        }
    )
    assert run_here(config, folder / "run") == 1


PAIRS = [(vision, "qwen2") for vision in VISION] + [("clip_vision_model", kind) for kind in LANGUAGE[1:]]


@pytest.mark.parametrize(("vision", "language"), PAIRS)
def test_a_start_model_of_any_parts_fits_its_processor_and_trains(vision: str, language: str, tmp_path: Path) -> None:
    parts = write_vision(tmp_path / "vision", vision), write_language(tmp_path / "language", language)
    written = write_start_model(*parts, tmp_path / "model", SMALL)
    model = MolmoForConditionalGeneration.from_pretrained(tmp_path / "model")
    processor = MolmoProcessor.from_pretrained(tmp_path / "model")
    check_fit(model.config, processor)
    assert written.parameters == model.num_parameters()
    assert written.new_tokens
    # The ids lie behind the vocabulary: their rows are new, and the model never writes them.
    tokenizer: Any = processor.tokenizer
    assert tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS)) == [320, 321, 322, 323, 324]
    assert tokenizer.decode(tokenizer("a €")["input_ids"]) == "a €"
    # The decoder is the language model to the last digit.
    alone = AutoModelForCausalLM.from_pretrained(parts[1]).eval()
    ids = torch.tensor([[5, 17, 99]])
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, alone(input_ids=ids).logits)
    train_one_step(tmp_path / "model", tmp_path / "training")


def test_the_choices_are_in_model_and_processor(parts: tuple[Path, Path], tmp_path: Path) -> None:
    start = Start(
        crop_size=84, margins=(2, 2), max_crops=5, pooling="stack", vit_layers=(-2,), dtype="bfloat16", pooling_size=1
    )
    written = write_start_model(*parts, tmp_path / "model", start)
    assert written.crop_size == 84
    config = MolmoForConditionalGeneration.from_pretrained(tmp_path / "model").config
    assert (config.pooling, list(config.vit_layers), config.vision_config.image_size) == ("stack", [-2], 84)
    assert config.pooling_size == 1
    assert config.dtype == torch.bfloat16
    images = MolmoProcessor.from_pretrained(tmp_path / "model").image_processor
    assert (images.crop_size, images.margins, images.max_crops, images.pooling_size) == (84, [2, 2], 5, 1)
    single = write_start_model(*parts, tmp_path / "single", Start(crop_mode="resize", margins=(0, 0), vit_layers=(-1,)))
    assert single.image_tokens == 2 * 3 + 2
    assert MolmoProcessor.from_pretrained(tmp_path / "single").image_processor.crop_mode == "resize"


def test_the_same_seed_gives_the_same_model_whatever_was_drawn_before(parts: tuple[Path, Path], tmp_path: Path) -> None:
    states = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        write_start_model(*parts, tmp_path / f"{number}", Start(margins=(0, 0), vit_layers=(-1,), seed=seed))
        states.append(MolmoForConditionalGeneration.from_pretrained(tmp_path / f"{number}").state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    changed = {name.split(".")[1] for name, value in states[0].items() if not torch.equal(value, states[2][name])}
    assert changed == {"connector", "language_model"}
    rows = [state["model.language_model.embed_tokens.new_weight"] for state in states]
    assert not torch.equal(rows[0], rows[2])
    # Not what happened to be in the memory.
    assert all(0.018 < float(each.std()) < 0.022 for each in rows)


@pytest.mark.parametrize(
    ("size", "rows", "more", "first"),
    [
        (300, 300, (), 300),  # the vocabulary fills the rows
        (300, 384, (), 384),  # rounded up
        (300, 304, ("<pad>", "<|im_start|>"), 304),  # with special tokens of its own
        (300, 302, tuple(f"<{n}>" for n in range(9)), 309),  # more tokens than rows
    ],
)
def test_image_tokens_have_ids_of_their_own(
    size: int, rows: int, more: tuple[str, ...], first: int, tmp_path: Path
) -> None:
    tokenizer = write_tokenizer(tmp_path, size=size, more=more)
    before = tokenizer.get_vocab()
    assert add_image_tokens(tokenizer, rows)
    assert tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS)) == [*range(first, first + 5)]
    after = tokenizer.get_vocab()
    assert all(after[token] == id_ for token, id_ in before.items())
    assert len({*after.values()}) == len(after)
    assert not add_image_tokens(tokenizer, rows)


def test_image_tokens_that_the_language_model_has_are_kept(tmp_path: Path) -> None:
    language = write_language(tmp_path / "language", more=IMAGE_TOKENS)
    written = write_start_model(write_vision(tmp_path / "vision"), language, tmp_path / "model", SMALL)
    assert not written.new_tokens
    assert MolmoForConditionalGeneration.from_pretrained(tmp_path / "model").config.image_patch_token_id == 302
    train_one_step(tmp_path / "model", tmp_path / "training")


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        (
            Start(vit_layers=(-2, -9), margins=(0, 0)),
            ModelError,
            r"from -1, the last, to -3, the embeddings, got \[-2, -9\]",
        ),
        (Start(vit_layers=(0,), margins=(0, 0)), ModelError, r"got \[0\]; choose others"),
        (Start(), UsageError, "margins to be multiples of pooling_size and smaller than the crop"),
        (Start(crop_size=60, margins=(0, 0)), UsageError, "expected crop_size to be a multiple of patch_size"),
    ],
)
def test_choices_that_do_not_fit_are_refused_before_anything_is_written(
    start: Start, error: type[Exception], message: str, parts: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        write_start_model(*parts, tmp_path / "model", start)
    assert [*tmp_path.iterdir()] == []


def test_parts_that_cannot_be_used_are_named(parts: tuple[Path, Path], tmp_path: Path) -> None:
    vision, language = parts
    with pytest.raises(ModelError, match=r"expected a language model with its tokenizer at .*nothing"):
        write_start_model(vision, tmp_path / "nothing", tmp_path / "model", SMALL)
    with pytest.raises(ModelError, match=r"expected a vision encoder at .*language"):
        write_start_model(language, language, tmp_path / "model", SMALL)
    with pytest.raises(ModelError, match=r"cannot be a start model.*has no token that ends an answer"):
        write_start_model(vision, write_language(tmp_path / "endless", eos=None), tmp_path / "model", SMALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(UsageError, match=r"expected a new or empty folder to write to, but .*full exists and is not"):
        write_start_model(vision, language, tmp_path / "full", SMALL)
    assert not (tmp_path / "model").exists()


def change(folder: Path, name: str, **fields: Any) -> None:
    path = folder / name
    content = json.loads(path.read_text())
    target = content.get("image_processor", content)
    target.update(fields)
    path.write_text(json.dumps(content))


def copied(model: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("config.json", {"image_patch_token_id": 320}, r"<im_patch> is 322 in the tokenizer and 320 in the config"),
        (
            "config.json",
            {"image_start_token_id": 321, "image_end_token_id": 320},
            r"<im_start> is 320 .*<im_end> is 321",
        ),
        ("config.json", {"image_mean": [0.5, 0.5, 0.5]}, r"image_mean is \[0.48.* in the config"),
        ("processor_config.json", {"crop_size": 42}, r"crop_size is 42 in the image processor and 56 in the config"),
        ("processor_config.json", {"patch_size": 7}, r"patch_size is 7 in the image processor and 14 in the config"),
        ("processor_config.json", {"pooling_size": 1}, r"pooling_size is 1 in the image processor and 2 in the config"),
        ("processor_config.json", {"image_std": [1.0, 1.0, 1.0]}, r"image_std is \[1.0, 1.0, 1.0\] in the image proc"),
    ],
)
def test_a_processor_of_another_model_is_refused_for_training_and_pointing(
    name: str, fields: dict[str, Any], message: str, started: Path, tmp_path: Path
) -> None:
    folder = copied(started, tmp_path / "model")
    change(folder, name, **fields)
    config: Any = from_dict({"model": str(folder), "mixture": [{"kind": "chat", "path": "x"}]})
    with pytest.raises(UsageError, match=message):
        load_model(config)
    with pytest.raises(ModelError, match=message):
        MolmoPointer.from_pretrained(folder)


def test_a_tokenizer_larger_than_the_model_is_refused(started: Path, tmp_path: Path) -> None:
    folder = copied(started, tmp_path / "model")
    processor = MolmoProcessor.from_pretrained(folder)
    tokenizer: Any = processor.tokenizer
    tokenizer.add_tokens([f"<more{number}>" for number in range(200)])
    processor.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"'<more199>' has the id 524, and the model has 448 rows of embeddings"):
        MolmoPointer.from_pretrained(folder)


def test_the_command_writes_a_model_and_says_how_to_train_it(parts: tuple[Path, Path], tmp_path: Path) -> None:
    vision, language = map(str, parts)
    command = ["start", "--vision", vision, "--language", language, "--margins", "0", "--layers=-1,-2"]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "a")], catch_exceptions=False)
    assert result.exit_code == 0
    text = result.output.replace("\n", " ")
    assert "crops of 56 px" in text
    assert "the tokenizer got the tokens of images" in text
    assert f"agent train pixmo_cap --from {tmp_path / 'a'}" in text
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "b"), "--json"], catch_exceptions=False)
    answer = json.loads(result.stdout)
    assert (answer["crop_size"], answer["new_tokens"]) == (56, True)
    assert answer["parameters"] == MolmoForConditionalGeneration.from_pretrained(tmp_path / "b").num_parameters()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--margins", "1,2,3"], r"expected one or two margins of at least 0, got \[1, 2, 3\]"),
        (["--margins", "four"], "expected --margins as whole numbers separated by commas, got 'four'"),
        (["--layers=-1;-2"], "expected --layers as whole numbers separated by commas, got '-1;-2'"),
        (["--pooling", "max"], "expected --pooling to be attention or mean or stack, got 'max'"),
        (["--dtype", "int8"], "expected --dtype to be float32 or bfloat16 or float16, got 'int8'"),
        (["--crop-mode", "tiles"], "expected --crop-mode to be overlap or resize, got 'tiles'"),
    ],
)
def test_a_wrong_option_of_the_command_is_named(options: list[str], message: str, tmp_path: Path) -> None:
    command = ["start", "--vision", "v", "--language", "l", "--out", str(tmp_path / "x"), *options]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, command, catch_exceptions=False)
