"""Baselines are only worth beating when they are right."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from golden_images import golden_image

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = json.loads((GOLDEN / "preprocess.json").read_text())["cases"]


@pytest.mark.parametrize("key", sorted(CASES)[::4])
def test_the_plain_preprocessing_passes_the_goldens(key):
    case = CASES[key]
    image = golden_image(case["height"], case["width"], case["seed"])
    pixels, masks, index = load("plain_preprocess").preprocess(image, case["max_crops"])
    with np.load(GOLDEN / "preprocess.npz") as golden:
        np.testing.assert_array_equal(index, golden[f"{key}/image_input_idx"])
        np.testing.assert_allclose(masks, golden[f"{key}/image_masks"], atol=1e-6)
        flat = pixels.reshape(len(pixels), -1)
        samples = np.stack([row[(np.arange(64) * 5291 + 137 * i) % row.size] for i, row in enumerate(flat)])
        np.testing.assert_allclose(samples, golden[f"{key}/pixel_samples"], atol=2e-5)
