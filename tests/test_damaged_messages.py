"""Damaged answers of display servers, services and programs, and damaged tables: one clear error each."""

import struct
import sys
from pathlib import Path

import pytest

from molmo_agent.envs.desktop.x11_keys.xkb import Keymap
from molmo_agent.errors import EnvError, ModelError
from molmo_agent.model import MolmoConfig
from molmo_agent.model.checkpoints.loading import native_config
from molmo_agent.ocr import tesseract

FUZZ = Path(__file__).parent / "fuzz"
sys.path.insert(0, str(FUZZ))
from message_targets import _KEYMAP, _event, _global, answering_compositor, answering_phone  # noqa: E402

sys.path.remove(str(FUZZ))

from molmo_agent.envs.android.screen import _forbids_captures, read_status  # noqa: E402
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection, decode  # noqa: E402

FOCUS = b"  mCurrentFocus=Window{1f u0 com.a.bank/com.a.bank.Main}\n"


@pytest.mark.parametrize("size", [0, 4, 7])
def test_a_message_of_a_compositor_that_is_shorter_than_its_head_ends_the_connection(size):
    """It would be read again and again."""
    says = f"sent a message of {size} bytes, which is none: log in again"
    with answering_compositor(struct.pack("=II", 1, size << 16) + _event(3, 0)), pytest.raises(EnvError, match=says):
        WaylandConnection()


@pytest.mark.parametrize("signature", ["u", "us", "iis", "usu"])
def test_arguments_of_a_compositor_that_end_early_are_an_error(signature):
    whole = struct.pack("=III", 3, 1, 2)
    for length in range(4 * len(signature.replace("s", ""))):
        with pytest.raises(EnvError, match=f"ends after {length} bytes: log in again"):
            decode(signature, whole[:length])


def test_a_global_of_a_compositor_that_is_cut_is_an_error():
    whole = _global(1, "wl_output", 3)
    cut = whole[:4] + struct.pack("=I", 16 << 16) + whole[8:16] + _event(3, 0)
    with answering_compositor(cut), pytest.raises(EnvError, match="ends after 8 bytes"):
        WaylandConnection()


def test_a_cut_reply_about_the_keyboard_layout_is_an_error():
    assert Keymap(_KEYMAP).keysym(38, 0, 1) == ord("A")
    for length in range(len(_KEYMAP)):
        with pytest.raises(EnvError, match=r"reply about its keyboard layout is damaged .*: start again"):
            Keymap(_KEYMAP[:length])


@pytest.mark.parametrize("kind", [1, 7, 255])
def test_a_key_of_a_type_that_the_layout_lacks_is_an_error(kind):
    at = len(_KEYMAP) - 2 - 8 - 8
    assert _KEYMAP[at : at + 4] == bytes(4)
    with pytest.raises(EnvError, match="a key has 1 groups of the types"):
        Keymap(_KEYMAP[:at] + bytes([kind]) + _KEYMAP[at + 1 :])


@pytest.mark.parametrize(
    "table",
    [
        "level\ttext\n5\n",
        "level\ttext\n5\ta\n",
        "text\na\n",
        "level\tleft\ttop\twidth\theight\tconf\ttext\tblock_num\tpar_num\tline_num\n5\tx\t1\t1\t1\t9\ta\t1\t1\t1\n",
    ],
)
def test_a_table_of_tesseract_in_another_form_is_an_error(table):
    with pytest.raises(ModelError, match=r"expected tesseract to print a table .*install tesseract 4 or 5"):
        tesseract._lines(table, 64, 48)


@pytest.mark.parametrize(
    ("flags", "forbids"),
    [
        *((b"fl=#2000", True), (b"fl=#81812100 wanim=1", True), (b"fl=SECURE x", True), (b"fl=#8181 SECURE", True)),
        *((b"fl=#", False), (b"fl=", False), (b"fl=#zz", False), (b"fl=#81810100", False), (b"fl=INSECURE", False)),
    ],
)
def test_flags_of_a_window_are_read_in_any_form(flags, forbids):
    windows = b"  Window #0 Window{1f u0 com.a.bank/com.a.bank.Main}:\n    mAttrs={(0,0) " + flags + b"\n"
    phone = answering_phone(windows=windows, dumpsys=FOCUS)
    assert _forbids_captures(phone, read_status(phone)) is forbids


@pytest.mark.parametrize(
    "text",
    [
        "d_model: 8\n",
        "d_model: wide\nn_heads: 2\nn_layers: 1\nvocab_size: 9\n",
        "d_model: 8\nn_heads: 1\nn_layers: 1\nvocab_size: 9\nvision_backbone: {image_num_heads: 1}\n",
        "d_model: 8\nn_heads: 1\nn_layers: 1\nvocab_size: 9\nvision_backbone: [1]\n",
    ],
)
def test_a_config_of_the_training_code_without_its_fields_is_an_error(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="expected"):
        native_config(tmp_path)


@pytest.mark.parametrize(
    "change", [{"vision": {}, "n_heads": None}, {"vision": {"image_num_heads": 1}}, {"vit_layers": 3}]
)
def test_a_released_config_with_fields_of_another_type_is_an_error(change):
    fields = {"d_model": 8, "n_heads": 1, "n_layers": 1, "vocab_size": 9, "mlp_hidden_size": 16}
    MolmoConfig.from_dict(fields)
    with pytest.raises(ValueError, match=r"expected the config of a Molmo model, .*: is the file complete\?"):
        MolmoConfig.from_dict({**fields, **change})
