"""The golden cases of the published evaluators; collected by test_parity.py, looked at again by test_metrics.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from molmo_agent.evaluation.metrics import (
    MathVistaQuestion,
    ReferenceFailure,
    a_okvqa,
    anls,
    clean_answer,
    clean_vqa,
    clock,
    counting,
    exact_match,
    extract_math_vista,
    follows_format,
    math_vista,
    mmmu_choice,
    mmmu_open,
    normalise_math_vista,
    parse_mmmu_open,
    pointing,
    read_points,
    real_world_qa,
    relaxed,
    select_option,
    vqa_soft,
)

OURS = Path(__file__).parent / "golden"
GENERATIONS = ("molmo", "molmo2")
# Like the cases marked with quirks: a sentence that names its letter, and letters that touch punctuation.
MORE_QUIRKS = {"mathvista_score_offline/3", "mmmu_multiple_choice/15", "mmmu_multiple_choice/20"}
# Which of the expected values is the right one, where the generations differ or a value is only the reference's.
SOUND = {"multiple_choice": "index_molmo2", "mmmu_open": "correct", "counting": "molmo", "pointing": "molmo2"}


# --- The golden cases: each function returns what a case expects, and passes its options on ---------------------------


def attempt(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except ReferenceFailure as failure:
        return {"error": failure.kind}


def short_answer(function):
    return lambda case, **options: attempt(function, case["prediction"], case["answers"], **options)


def option_indexes(case, **options):
    def index(generation):
        return select_option(case["prediction"], case["options"], generation=generation, **options)

    return attempt(lambda: {"index": index("molmo"), "index_molmo2": index("molmo2")})


def mmmu_letter(case, **options):
    letter = mmmu_choice(case["prediction"], case["options"], **options)
    return {"letter": letter, "random_fallback": letter is None}


def mmmu_verdict(case, **options):
    return {
        "parsed": list(parse_mmmu_open(case["prediction"], **options)),
        "correct": mmmu_open(case["prediction"], case["answers"], **options),
    }


def question(case):
    facts = {key: case[key] for key in ("question_type", "answer_type", "precision")}
    return MathVistaQuestion(choices=case["choices"] or (), **facts)


def extraction(case, **_):
    found = extract_math_vista(case["response"], question(case))
    return {"needs_judge": found is None, "extraction": found}


def counts(case, **options):
    first, second = (counting(case["prediction"], case["count"], generation=g, **options) for g in GENERATIONS)
    return {
        "molmo": {"correct": first.correct, "close": first.close, "valid": first.valid},
        "molmo2": {"n_points": second.count, "correct": second.correct, "close": second.close},
    }


def masks_of(case):
    width, height = case["image_size"]
    masks = []
    for boxes in case["masks"]:
        mask = np.zeros((height, width), bool)
        for left, top, right, bottom in boxes:
            mask[top:bottom, left:right] = True
        masks.append(mask)
    return masks


def hits(case, **options):
    size = tuple(case["image_size"])

    def scores(generation):
        found = pointing(
            case["prediction"], case["gold_points"], masks_of(case), size, generation=generation, **options
        )
        return {"precision": found.precision, "recall": found.recall, "f1": found.f1}

    first, second = (read_points(case["prediction"], size, generation) for generation in GENERATIONS)
    return {
        "molmo": {
            "scores": attempt(scores, "molmo"),
            "n_points": len(first),
            "valid_format": follows_format(case["prediction"]),
        },
        "molmo2": {"parsed_points": second} | scores("molmo2"),
    }


def times(case, **options):
    facts = {key: case[key] for key in ("hour", "minute", "second", "bench")}
    return attempt(clock, case["prediction"], **facts, **options)


CHECKS = {
    "vqa_normalise": lambda case, **options: clean_vqa(case["text"], **options),
    "vqa_soft": short_answer(vqa_soft),
    "aokvqa_da": lambda case, **_: a_okvqa(case["prediction"], case["answers"]),
    "anls": short_answer(anls),
    "relaxed": short_answer(relaxed),
    "exact_match": lambda case, **options: exact_match(clean_answer(case["prediction"], **options), case["answers"]),
    "answer_cleanup": lambda case, **options: clean_answer(case["prediction"], **options),
    "multiple_choice": option_indexes,
    "mmmu_multiple_choice": mmmu_letter,
    "mmmu_open": mmmu_verdict,
    "mathvista_normalise": lambda case, **options: normalise_math_vista(case["extraction"], question(case), **options),
    "mathvista_extract": extraction,
    "mathvista_score_offline": lambda case, **options: math_vista(
        case["response"], case["answer"], question(case), **options
    ),
    "realworldqa": lambda case, **options: real_world_qa(
        clean_answer(case["prediction"], **options), case["answer"], case["question_type"], **options
    ),
    "counting": counts,
    "pointing": hits,
    "clock": times,
}


def groups_of(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["groups"]


def is_sound(case):
    return not case.get("quirks") and case["id"] not in MORE_QUIRKS


def golden_cases(folder):
    """Every case of a folder's metrics.json as (id, (group, case)); none where there is no such file."""
    if not (folder / "metrics.json").exists():
        return []
    return [(case["id"], (group, case)) for group, entry in groups_of(folder).items() for case in entry["cases"]]


def assert_agree(found, expected):
    """Compare nested values: numbers within 1e-6, errors by their kind."""
    if isinstance(expected, dict):
        expected = {key: value.split(":")[0] if key == "error" else value for key, value in expected.items()}
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_agree(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_agree(ours, theirs)
    elif isinstance(expected, str) or expected is None:
        assert found == expected
    else:
        assert found == pytest.approx(expected, abs=1e-6)


def test_the_reference_verdict_is_reproduced(golden_case):
    group, case = golden_case
    assert group in CHECKS, f"no check for the group {group!r}"
    assert_agree(CHECKS[group](case, reference_quirks=True), case["expected"])


def test_no_group_of_metrics_is_left_out(golden):
    if (golden / "metrics.json").exists():
        assert groups_of(golden).keys() <= CHECKS.keys()
