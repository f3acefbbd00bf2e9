"""Baselines are only worth beating when they are right."""

import json

import numpy as np
import pytest
from benchmark_modules import ROOT, load
from golden_images import golden_image

GOLDEN = ROOT / "tests" / "golden"


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
