"""Metrics: pure functions of a reply and the correct answer.

Replies of short-answer tasks go through :func:`clean_answer` first. Where the reference evaluators (allenai/molmo,
snapshot 793fa38, and Molmo2) are wrong, the functions are right by default, and ``reference_quirks=True`` gives the
reference's verdict, for comparison with published numbers.
"""

from molmo_agent.evaluation.metrics.choice import real_world_qa, select_option
from molmo_agent.evaluation.metrics.clock import clock
from molmo_agent.evaluation.metrics.counting import CountScore, counting
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.evaluation.metrics.math_vista import (
    MathVistaQuestion,
    extract_math_vista,
    math_vista,
    normalise_math_vista,
)
from molmo_agent.evaluation.metrics.mmmu import mmmu_choice, mmmu_open, parse_mmmu_open
from molmo_agent.evaluation.metrics.pointing import PointingScore, follows_format, pointing, read_points, score_points
from molmo_agent.evaluation.metrics.reference import Generation, ReferenceFailure
from molmo_agent.evaluation.metrics.text import a_okvqa, anls, clean_answer, exact_match, relaxed
from molmo_agent.evaluation.metrics.vqa import clean_vqa, vqa_soft

__all__ = [
    "CountScore",
    "Generation",
    "MathVistaQuestion",
    "PointingScore",
    "ReferenceFailure",
    "a_okvqa",
    "anls",
    "clean_answer",
    "clean_vqa",
    "clock",
    "counting",
    "exact_match",
    "extract_math_vista",
    "follows_format",
    "math_vista",
    "mmmu_choice",
    "mmmu_open",
    "normalise_math_vista",
    "parse_mmmu_open",
    "pointing",
    "read_points",
    "real_world_qa",
    "relaxed",
    "score_points",
    "select_option",
    "vqa_soft",
    "wilson",
]
