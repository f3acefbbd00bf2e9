"""Whose pixels: the scale of served models by generation, the size of the images they are sent, and the way back."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from chat_server import Server, completion
from PIL import Image

from molmo_agent import load_model
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.point_text.parse import DIALECTS, SCALES
from molmo_agent.pointers.remote import RemotePointer
from molmo_agent.pointers.served.families import FAMILIES, OPTIONS, profile_of, profile_of_name, read_scale
from molmo_agent.pointers.served.image_size import ImageLimits

# Name -> (dialect, scale, multiple of the image's sides).
NAMES = {
    "allenai/Molmo-72B-0924": ("molmo", None, None),
    "molmoe_1b_0924": ("molmo", None, None),
    "someone/molmo-7B-O-bnb-4bit": ("molmo", None, None),
    "allenai/Molmo2-4B": ("molmo2", None, None),
    "molmo-2-8b": ("molmo2", None, None),
    "qwen/qwen2-vl-7b-instruct": ("gui", 1000, 28),
    "Qwen2VL-2B": ("gui", 1000, 28),
    "qwen2.5vl:3b": ("qwen", "pixels", 28),
    "Qwen2_5-VL-72B-Instruct-AWQ": ("qwen", "pixels", 28),
    "accounts/x/models/qwen2p5-vl-7b-instruct": ("qwen", "pixels", 28),
    "/models/Qwen2.5-VL-7B-Instruct-Q5_K_M.gguf": ("qwen", "pixels", 28),
    "our-qwen2_5-vl-7b-forms-lora": ("qwen", "pixels", 28),
    "qwen/qwen3-vl-235b-a22b-thinking": ("qwen", 1000, 32),
    "Qwen3-VL-4B-Instruct-FP8": ("qwen", 1000, 32),
    "hf.co/x/Qwen3-VL-30B-A3B-Instruct-GGUF:Q4_K_M": ("qwen", 1000, 32),
    "qwen3-vl:2b": ("qwen", 1000, 32),
    "Qwen3.5-27B": ("qwen", 1000, 32),
    "qwen3_5-4b-mlx": ("qwen", 1000, 32),
    "ByteDance-Seed/UI-TARS-72B-DPO": ("gui", 1000, 28),
    "ui-tars-1.5-7b-q4_k_m.gguf": ("gui", "pixels", 28),
    "OS-Atlas-Base-4B": ("gui", 1000, 28),
    "GUI-Owl-32B": ("gui", "pixels", 28),
    "mPLUG/GUI-Owl-1.5-4B-Instruct": ("gui", 1000, 32),
    "UI-Venus-Ground-72B": ("gui", "pixels", 28),
    "UI-Venus-1.5-2B": ("gui", 1000, 32),
    "UI-Venus-Navi-1.5-8B": ("gui", 1000, 32),
    "UI-Venus-Ground-7B-4.5bpw-exl2": ("gui", "pixels", 28),
    "Holo1-3B": ("gui", "pixels", 28),
    "Hcompany/Holo1.5-72B": ("gui", "pixels", 28),
    "Holo2-4B": ("gui", 1000, 32),
    "Tongyi-MAI/MAI-UI-2B": ("gui", 999, 32),
    "GTA1-7B-2507": ("gui", "pixels", 28),
    "OpenCUA-32B": ("gui", "pixels", 28),
    "xlangai/Jedi-3B-1080p": ("gui", "pixels", 28),
    "UGround-V1-2B": ("gui", 1000, 28),
    "Aguvis-7B-720P": ("gui", 1, 28),
    "showlab/ShowUI-2B": ("gui", 1, 28),
    "InternVL3-78B": ("gui", 1000, None),
    "OpenGVLab/InternVL3_5-8B": ("gui", 1000, None),
    "robopoint-v1-vicuna-13b": ("tuple", None, None),
    "gemini-2.5-pro": ("gemini", None, None),
    "google/gemini-2.0-flash-001": ("gemini", None, None),
}


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def connect(server, name, **options):
    return load_model(f"{server.url}#{name}", **{"retries": 0, "timeout_s": 20.0, **options})


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES)
def test_the_generation_in_a_name_decides_the_scale(name, expected):
    profile = profile_of(name)
    assert (profile.dialect, profile.scale, profile.limits and profile.limits.multiple) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Qwen4-VL-8B", "depends on its generation; known: 2, 2.5, 3, 3.5; got generation 4"),
        ("qwen3.9-80b", "got generation 3.9"),
        ("qwen-vl-max-latest", "got no generation in its name"),
        ("UI-TARS-2-230B", "known: 1, 1.5; got generation 2"),
        ("Holo3-35B-A3B", "known: 1, 1.5, 2; got generation 3"),
        ("UI-Venus-3.0-8B", "got generation 3"),
        ("UI-TARS-desktop-2.5-7b", "got generation 2.5"),
        ("Molmo3-8B", "known: 1, 2; got generation 3"),
        ("gemini-9-pro", "got generation 9"),
        ("gemini-flash-latest", r"got no generation.*#gemini-flash-latest\?dialect=gemini$"),
        ("InternVL7-8B", "known: 2, 2.5, 3, 3.5; got generation 7"),
    ],
)
def test_an_unknown_generation_of_a_known_family_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        profile_of(name)


@pytest.mark.parametrize(
    "name", ["my-model", "gpt-4o", "Qwen3-8B", "qwen2.5-coder-7b", "MolmoAct-7B-D", "hologram-2b", "Phi-Ground-4B-7C"]
)
def test_an_unknown_model_is_refused_with_the_names_known_and_how_to_declare_it(name):
    with pytest.raises(UsageError, match=r"of no family whose scale is known \(Molmo, .*Qwen-VL\)") as caught:
        profile_of(name)
    assert f"...#{name}?dialect=gui&scale=1000 (scale: 1000, 999, 100, 1, pixels; dialect: " in str(caught.value)


@pytest.mark.parametrize("name", ["qwen2.5-vl-to-qwen3-vl", "ShowUI-Qwen2-VL-2B", "molmo-vs-molmo2"])
def test_a_name_with_two_scales_is_refused(name):
    with pytest.raises(UsageError, match=r"names .* and .*, which write points in different scales"):
        profile_of(name)


def test_a_family_built_on_another_one_may_have_both_names():
    assert profile_of("UI-TARS-1.5-7B-qwen2.5-vl").dialect == "gui"
    assert profile_of("qwen2-vl-uground-v1-7b").dialect == "gui"


def test_the_scale_of_any_model_can_be_declared():
    assert profile_of("qwen4-vl", scale=1000).dialect == "qwen"
    assert profile_of("my-model", scale="pixels").in_pixels
    assert profile_of("my-model", scale="pixels").limits.multiple == 28
    assert profile_of("my-model", "tuple").scale is None
    assert profile_of("Qwen3-VL-8B", "qwen").scale == 1000
    assert profile_of("Qwen2-VL-7B", "qwen").scale == 1000
    assert profile_of("UI-TARS-1.5-7B", "qwen").in_pixels
    assert profile_of("my-model", "qwen").limits == profile_of("Qwen2.5-VL-7B").limits
    assert profile_of("Qwen3-VL-8B", scale="pixels").in_pixels
    assert "from 0 to 1000" in profile_of("my-model", "gui", 1000).question
    assert profile_of("Molmo-7B-D", max_pixels=500_000).limits.max_pixels == 500_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "klingon"}, "unknown dialect 'klingon'"),
        ({"dialect": "gui"}, "the dialect 'gui' is written in several scales"),
        ({"dialect": "molmo", "scale": 1000}, "the dialect 'molmo' has the scale 100, got scale=1000"),
        ({"dialect": "qwen", "scale": 1}, "the dialect 'qwen' has the scale pixels or 1000 or 999, got scale=1"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        profile_of("my-model", **options)
    with pytest.raises(UsageError, match="qwen' is written in several scales"):
        profile_of("qwen-vl-plus", "qwen")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://host:8000/v1", "expected an address and a model"),
        ("http://host:8000/v1#", "expected an address and a model"),
        ("http://host:8000/v1#m?skale=1000", "expected the options dialect, scale, max_tokens, max_pixels .*'skale'"),
        ("http://host:8000/v1#m?scale=500", "expected one of the scales 1, 100, 999, 1000, pixels, got '500'"),
        ("http://host:8000/v1#Molmo-7B-D?max_tokens=many", "expected max_tokens= with a whole number, got 'many'"),
        ("http://host:8000/v1#Molmo-7B-D?max_pixels=-1", "expected max_pixels= with a whole number, got '-1'"),
        ("http://host:port/v1#Molmo-7B-D", "expected an address like http://host:8000/v1"),
    ],
)
def test_an_address_that_says_too_little_or_something_else_is_refused(address, message):
    with pytest.raises(UsageError, match=message):
        RemotePointer.from_address(address)


def test_options_of_the_address_reach_the_model(server):
    model = connect(server, "my-model?scale=1000&max_tokens=77&max_pixels=40000")
    server.reply = "(250, 500)"
    (point,) = model.point(np.zeros((400, 800, 3), np.uint8), "a").points
    assert (point.point.x, point.point.y) == (0.25, 0.5)
    assert server.seen[-1][2]["max_tokens"] == 77
    width, height = server.sent_image().size
    assert width * height <= 40000


def test_every_profile_is_whole():
    for family in FAMILIES:
        for profile in family.generations.values():
            assert profile.scale is None or profile.scale in DIALECTS[profile.dialect].scales
            assert "Save" in profile.question.format("the Save button")
            assert not profile.in_pixels or profile.limits is not None
    assert [read_scale(str(scale)) for scale in SCALES] == list(SCALES)


# --- Sizes ------------------------------------------------------------------------------------------------------------


def resized_by_the_server(size, limits):
    """Return the size that an image processor of the Qwen-VL kind makes of an image, from its published rule."""
    (width, height), step = size, limits.multiple
    across, down = (max(step, round(side / step) * step) for side in (width, height))
    if across * down > limits.max_pixels:
        shrink = math.sqrt(width * height / limits.max_pixels)
        across, down = (math.floor(side / shrink / step) * step for side in (width, height))
    elif across * down < limits.min_pixels:
        grow = math.sqrt(limits.min_pixels / (width * height))
        across, down = (math.ceil(side * grow / step) * step for side in (width, height))
    return across, down


ALL_LIMITS = sorted(
    {p.limits for family in FAMILIES for p in family.generations.values() if p.limits}, key=lambda x: x.min_pixels
)


@pytest.mark.parametrize("limits", ALL_LIMITS, ids=str)
def test_images_are_sent_in_sizes_that_no_server_changes(limits):
    rng = random.Random(1)
    common = [(800, 600), (1366, 768), (1920, 1080), (2560, 1440), (3840, 2160), (1080, 2400), (5120, 1440), (320, 200)]
    for _ in range(3000):
        width = round(10 ** rng.uniform(0, 4))
        common.append((width, max(1, round(width * 10 ** rng.uniform(-2, 2)))))
    for size in common:
        sent = limits.size_for(size)
        assert sent[0] % limits.multiple == sent[1] % limits.multiple == 0
        assert limits.min_pixels <= sent[0] * sent[1] <= limits.max_pixels
        assert resized_by_the_server(sent, limits) == sent
        if max(size) < 3 * min(size):
            # Each side is off by half a step, and the longer one may have to make up for it.
            assert sent[0] / sent[1] == pytest.approx(size[0] / size[1], rel=1.5 * limits.multiple / min(sent))


def test_an_image_that_fits_is_sent_as_it_is():
    limits = ImageLimits(multiple=32, min_pixels=65536, max_pixels=2_621_440)
    image = Image.new("RGB", (640, 480))
    assert limits.fit(image) is image


def test_an_image_that_is_too_long_is_refused_before_it_is_sent(server):
    with pytest.raises(ImageError, match=r"the image is 2010 x 10; this model takes images up to 200 times as long"):
        connect(server, "Qwen2.5-VL-7B").point(np.zeros((10, 2010, 3), np.uint8), "a")
    assert server.seen == []


# --- There and back ---------------------------------------------------------------------------------------------------


def marked(width, height, x, y):
    """Return an image with a white square around a place."""
    image = np.zeros((height, width, 3), np.uint8)
    half = max(width, height) // 40
    image[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1] = 255
    return image


def square(image):
    """Return the middle of the white square in an image, as a model that sees well would."""
    ys, xs = np.nonzero(np.asarray(image.convert("L")) > 127)
    return (xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2


_CALL = '<tool_call>\n{{"name": "%s", "arguments": {{"action": "%s", "coordinate": [{x}, {y}]}}}}\n</tool_call>'
_THOUGHT = "Thought: The square is there.\nAction: "
# The form in which each family writes a place; left, top, right and bottom are the edges of a box around it.
FORMS = {
    "Qwen2-VL-7B": '```json\n[\n\t{{"bbox_2d": [{left}, {top}, {right}, {bottom}], "label": "a"}}\n]\n```',
    "Qwen2.5-VL-7B": '```json\n[{{"point_2d": [{x}, {y}], "label": "a"}}]\n```',
    "Qwen3-VL-8B": '[{{"point_2d": [{x}, {y}], "label": "a"}}]',
    "Qwen3.5-9B": '<think>\nThere, at [1, 2].\n</think>\n\n[{{"point_2d": [{x}, {y}]}}]',
    "UI-TARS-7B": _THOUGHT + "click(start_box='<|box_start|>({x},{y})<|box_end|>')",
    "UI-TARS-1.5-7B": _THOUGHT + "click(start_box='({x},{y})')",
    "OS-Atlas-Base-7B": "<|object_ref_start|>a<|object_ref_end|>"
    "<|box_start|>({left},{top}),({right},{bottom})<|box_end|>",
    "GUI-Owl-7B": _CALL % ("mobile_use", "click"),
    "GUI-Owl-1.5-8B": "({x}, {y})",
    "UI-Venus-Ground-7B": "[{left}, {top}, {right}, {bottom}]",
    "UI-Venus-1.5-8B": "[{x}, {y}]",
    "Holo1-7B": "Click({x}, {y})",
    "Holo1.5-7B": '{{"action": "click_absolute", "x": {x}, "y": {y}}}',
    "Holo2-8B": '{{"x": {x}, "y": {y}}}',
    "MAI-UI-8B": '<grounding_think>It is [1].</grounding_think>\n<answer>\n{{"coordinate": [{x},{y}]}}\n</answer>',
    "GTA1-7B": "({x},{y})",
    "OpenCUA-7B": "```python\npyautogui.click(x={x}, y={y})\n```",
    "Jedi-7B": _CALL % ("computer_use", "left_click"),
    "UGround-V1-7B": "({x}, {y})",
    "Aguvis-7B": "pyautogui.click(x={x}, y={y})",
    "ShowUI-2B": "[{x}, {y}]",
    "InternVL3-8B": "<ref>a</ref><box>[[{left}, {top}, {right}, {bottom}]]</box>",
    "gemini-2.5-pro": '```json\n[{{"point": [{y}, {x}], "label": "a"}}]\n```',
}


def written(name, image):
    """Return the answer of a model that points at the white square, in its family's own form."""
    (x, y), (width, height) = square(image), image.size
    scale = profile_of_name(name).scale or 1000
    if scale == "pixels":
        x, y = round(x), round(y)
    elif scale == 1:
        x, y = round((x + 0.5) / width, 3), round((y + 0.5) / height, 3)
    else:
        x, y = round((x + 0.5) / width * scale), round((y + 0.5) / height * scale)
    return FORMS[name].format(x=x, y=y, left=x - 9, top=y - 9, right=x + 9, bottom=y + 9)


@pytest.mark.parametrize("name", FORMS)
def test_the_answer_of_every_family_leads_back_to_the_pixel_that_it_saw(server, name):
    model = connect(server, name)
    for (width, height), (x, y) in [((800, 600), (400, 300)), ((1920, 1080), (1500, 200)), ((720, 1600), (97, 1400))]:
        image = marked(width, height, x, y)
        model.point(image, "the square")
        sent = server.sent_image()
        server.reply = written(name, sent)
        result = model.point(image, "the square")
        assert result.status == "ok", (server.reply, result)
        (found,) = result.points
        # Half a thousandth, and a pixel of the sent image.
        assert found.point.x * width == pytest.approx(x + 0.5, abs=0.0005 * width + width / sent.width)
        assert found.point.y * height == pytest.approx(y + 0.5, abs=0.0005 * height + height / sent.height)


def test_answers_of_other_generations_are_not_taken_for_points(server):
    image = np.zeros((600, 800, 3), np.uint8)
    server.reply = '[{"point_2d": [1300, 500], "label": "a"}]'
    assert connect(server, "Qwen3-VL-8B").point(image, "a").status == "out_of_range"
    server.reply = '[{"point_2d": [0.62, 0.83], "label": "a"}]'
    assert connect(server, "Qwen3-VL-8B").point(image, "a").status == "unparsed"
    assert connect(server, "Qwen2.5-VL-7B").point(image, "a").status == "unparsed"
    server.reply = "(620, 830)"
    assert connect(server, "ShowUI-2B").point(image, "a").status == "out_of_range"
    assert connect(server, "Molmo-7B-D").point(image, "a").status == "unparsed"


def test_a_model_says_none_in_its_own_words(server):
    server.plan = [completion({"content": "The Save button is not visible in this image."})]
    result = connect(server, "Qwen3-VL-8B").point(np.zeros((60, 80, 3), np.uint8), "the Save button")
    assert (result.status, result.reply) == ("none", "The Save button is not visible in this image.")


# --- The page ---------------------------------------------------------------------------------------------------------


def rows_of_the_page():
    """Return the table of docs/model.md as the code has it."""
    for family in FAMILIES:
        groups: dict[object, list[str]] = {}
        for generation, profile in family.generations.items():
            scale = profile.scale or DIALECTS[profile.dialect].scales[0]
            groups.setdefault((profile.dialect, scale, profile.limits), []).append(generation or "none")
        for (dialect, scale, limits), generations in groups.items():
            size = "as it is"
            if limits is not None:
                least, most = limits.min_pixels / 1e6, limits.max_pixels / 1e6
                size = f"multiples of {limits.multiple}, {least:.2f} to {most:.2f} million pixels"
            unit = scale if scale == "pixels" else f"0 to {scale}"
            yield f"| {family.name} | {', '.join(generations)} | {unit} | `{dialect}` | {size} |"


def test_the_page_lists_every_known_family_with_its_scale():
    page = (Path(__file__).parents[1] / "docs" / "model.md").read_text(encoding="utf-8")
    head = "| family | generations | scale | dialect | image sent |\n|---|---|---|---|---|\n"
    table = page.partition(head)[2].partition("\n\n")[0]
    assert table.split("\n") == list(rows_of_the_page())
    assert all(f"`{option}=" in page for option in OPTIONS)
