"""What is right where the reference evaluators are wrong; their verdicts themselves are held by test_parity.py."""

import numpy as np
import pytest
from metrics_parity import CHECKS, OURS, SOUND, assert_agree, golden_cases, is_sound

from molmo_agent.evaluation.metrics import (
    MathVistaQuestion,
    ReferenceFailure,
    anls,
    clean_answer,
    clean_vqa,
    clock,
    counting,
    follows_format,
    math_vista,
    mmmu_choice,
    mmmu_open,
    normalise_math_vista,
    pointing,
    read_points,
    real_world_qa,
    relaxed,
    score_points,
    select_option,
    vqa_soft,
    wilson,
)


def pytest_generate_tests(metafunc):
    # Which cases are sound was looked at for our own file alone.
    if "sound_case" in metafunc.fixturenames:
        cases = [(key, case) for key, case in golden_cases(OURS) if is_sound(case[1])]
        metafunc.parametrize("sound_case", [case for _, case in cases], ids=[key for key, _ in cases])


def test_without_quirks_the_verdict_is_the_reference_s_wherever_that_is_sound(sound_case):
    group, case = sound_case
    found, expected = CHECKS[group](case), case["expected"]
    if group in SOUND:
        found, expected = found[SOUND[group]], expected[SOUND[group]]
    assert_agree(found, case.get("official_leave_one_out", expected))


# --- What is right where the reference is wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("1,2,3", "1 2 3"),
        ("1,000-2,000", "1000 2000"),
        ("IM happy", "i'm happy"),
        ("Id've", "i'd've"),
        ("a." * 40, "a" * 40),
    ],
)
def test_vqa_clean_up_treats_commas_capitals_and_many_full_stops_alike(text, cleaned):
    assert clean_vqa(text) == cleaned


def test_soft_accuracy_leaves_one_annotator_out():
    answers = ["red"] * 3 + ["blue"] * 7
    assert vqa_soft("red", answers) == pytest.approx(0.9)
    assert vqa_soft("red", answers, reference_quirks=True) == 1
    assert vqa_soft("red", []) == 0
    assert vqa_soft("the dog", "A dog") == 1


@pytest.mark.parametrize(
    ("reply", "cleaned"),
    [
        ("a\n\n\nb", "a"),
        ("The answer: 5", "5"),
        ("Answer: a\nNo. ANSWER : b  c\nd", "b c"),
        ("\n \n", ""),
    ],
)
def test_the_short_answer_follows_the_last_marker_and_blank_lines_have_no_vote(reply, cleaned):
    assert clean_answer(reply) == cleaned


def test_two_empty_texts_are_similar_and_length_is_measured_in_lower_case():
    assert anls("", [""]) == 1
    assert anls("istanbul", ["İstanbul"]) == pytest.approx(1 - 1 / 9)


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("1,000", "1000", True),
        ("1000", "1,000.0", True),
        ("10,00", "1000", False),
        ("0.0", "0", True),
        ("0.01", "0", False),
        ("0", "0%", True),
        ("nan", "NaN", True),
        ("1e999", "inf", False),
        ("10", "1_0", False),
        ("5%", "5%%", False),
        ("10 %", "0.1", True),
    ],
)
def test_relaxed_accuracy_reads_numbers_as_people_write_them(reply, answer, right):
    assert relaxed(reply, [answer]) is right


@pytest.mark.parametrize(
    ("reply", "options", "index"),
    [
        ("The answer is B", "ABCD", 1),
        ("B because a cat is there", "ABCD", 1),
        ("A or B", "ABCD", None),
        ("", "ABCD", None),
        ("", ["yes"], None),
        ("E", "ABCD", None),
        ("x", ["x", "X"], 0),
        ("it is a black cat", ["cat", "black cat"], 1),
        ("p and q", "pqr", None),
        ("-5", ["5", "-5."], 1),
    ],
)
def test_a_reply_that_chooses_nothing_gets_no_option_and_a_sentence_gets_its_own(reply, options, index):
    assert select_option(reply, options) == index


def test_real_world_qa_gives_nothing_for_an_empty_reply():
    assert real_world_qa("The answer is B", "B", "multiple_choice")
    assert not real_world_qa("", "A", "multiple_choice")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("b", "B"),
        ("D)", "D"),
        ("C, because of the colour", "C"),
        ("(A), (B) and D", "D"),
        ("it is a green pear", "B"),
        ("A Green Pear", "B"),
        ("...,D,...", "D"),
        ("(E)", None),
        ("", None),
    ],
)
def test_mmmu_letters_are_found_whatever_touches_them(reply, letter):
    assert mmmu_choice(reply, ["a red apple", "", "a green pear", "two ripe plums", "no fruit"]) == letter


def test_mmmu_without_options_chooses_nothing():
    assert mmmu_choice("A", [], reference_quirks=True) is None
    assert mmmu_choice("A", []) is None


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        (".5", "0.5", True),
        ("bluebird", "blue", False),
        ("the bird is blue", "Blue", True),
        ("The answer is 0.001", "0", False),
        ("1,000 units", "0", False),
        ("1,000 units", "1000", True),
        ("1e-3", "-3", False),
        ("", "", True),
    ],
)
def test_mmmu_open_answers_are_whole_words_and_whole_numbers(reply, answer, right):
    assert mmmu_open(reply, answer) is right


COLOURS = MathVistaQuestion(question_type="multi_choice", answer_type="text", choices=["red", "green", "blue"])


@pytest.mark.parametrize(
    ("text", "chosen"), [("b", "green"), ("ratio: B", "green"), ("D", None), ("", None), ("The blue one", "blue")]
)
def test_math_vista_options_are_chosen_by_letter_or_text_or_not_at_all(text, chosen):
    assert normalise_math_vista(text, COLOURS) == chosen


@pytest.mark.parametrize(
    ("kind", "precision", "text", "normal"),
    [
        ("integer", None, "7.9", None),
        ("integer", None, "inf", None),
        ("float", 1, "0.25", "0.3"),
        ("float", 1, "-0.35", "-0.4"),
        ("float", 1.0, "3.14159", "3.1"),
        ("float", None, "3.14159", "3.14159"),
        ("float", 1, "nan", None),
    ],
)
def test_math_vista_numbers_are_rounded_as_people_do(kind, precision, text, normal):
    asked = MathVistaQuestion(question_type="free_form", answer_type=kind, precision=precision)
    assert normalise_math_vista(text, asked) == normal


@pytest.mark.parametrize(
    ("kind", "reply", "answer"), [("float", "1.5", "1.50"), ("list", "[1,2]", "[1, 2]"), ("integer", "14.0", "14")]
)
def test_math_vista_compares_values_not_spellings(kind, reply, answer):
    asked = MathVistaQuestion(question_type="free_form", answer_type=kind, precision=2)
    assert math_vista(reply, answer, asked)
    assert not math_vista("x", answer, asked)
    assert not math_vista("3", answer, asked)


def test_math_vista_takes_the_text_of_an_option():
    assert math_vista("green", "green", COLOURS)
    assert math_vista("the answer is B", "green", COLOURS)
    assert not math_vista("", "red", COLOURS)


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        ("There are none.", 0),
        ("five cats", 5),
        ("5, I think", 5),
        ("line one\na total of 4 cats", 4),
        ('<point x="10.5" y="20.0" alt="7 cats">cats</point>', 1),
        ('<points x1="10.5" y1="20.0" x2="17.5" y2="25.0" alt="cat">cat</points>', 2),
        ("2 cats and 3 dogs", None),
        ("many", None),
    ],
)
def test_a_reply_counts_what_it_says_else_what_it_points_at(reply, count):
    assert counting(reply, 9).count == count


TARGET = np.zeros((100, 200), bool)
TARGET[:, 150:] = True


@pytest.mark.parametrize(
    ("point", "hit", "reference"),
    [
        ((150.0, 50.0), True, True),
        ((149.9, 50.0), False, True),
        ((200.0, 100.0), True, False),
        ((200.1, 50.0), False, False),
        ((160.0, -0.1), False, True),
    ],
)
def test_a_point_hits_with_the_pixel_that_it_falls_on(point, hit, reference):
    assert score_points([point], [(175, 50)], [TARGET]).f1 == hit
    assert score_points([point], [(175, 50)], [TARGET], reference_quirks=True).f1 == reference


def test_a_click_counts_once_and_prose_may_stand_around_it():
    score = pointing("I click here: Click(80.0, 50.0).", [(175, 50)], [TARGET], (200, 100))
    assert (score.precision, score.recall, score.f1) == (1, 1, 1)
    assert pointing('<point x="101.0" y="50.0" alt="x">x</point>', [(175, 50)], [TARGET], (200, 100)).f1 == 0


@pytest.mark.parametrize(
    ("reply", "points"),
    [
        ('<points coords="1 1 500 500;2 2 1000 250 3 1001 0">x</points>', [(100, 50), (200, 25)]),
        ('<points coords="500 500">x</points>', []),
        ("Click(10.0, 20.0) and (30.0, 40.0)", [(20, 20)]),
        ("1 100 200", [(20, 20)]),
        ("1 10.0 20.0", [(20, 20)]),
        ('(10.0, 20.0) <point x="30.0" y="40.0" alt="x">x</point>', [(20, 20), (60, 40)]),
    ],
)
def test_the_successor_reads_its_own_tags_first(reply, points):
    assert np.array(read_points(reply, (200, 100), "molmo2")) == pytest.approx(np.array(points))


@pytest.mark.parametrize(
    ("reply", "valid"),
    [
        ("(12.3, 45.6)\n(1,-2)", True),
        ("(12.3, 45.6), (1.0, 2.0)", False),
        ('<point p=123, 456 alt="z">z</point>', True),
        ('<points 1=100,200 2=300,400 alt="z">z</points>', True),
        ('<point x="1" y="2">z</point>', False),
    ],
)
def test_the_first_code_wants_one_tag_or_bare_pairs(reply, valid):
    assert follows_format(reply) is valid


def test_every_target_needs_a_mask():
    with pytest.raises(ValueError, match="expected one mask for each gold point, got 1 for 2"):
        score_points([(1, 1)], [(1, 1), (2, 2)], [TARGET])


@pytest.mark.parametrize(
    ("reply", "hour", "minute", "bench", "close", "exact"),
    [
        ("12:59", 1, 0, True, True, False),
        ("5:00", 5, 59, True, False, False),
        ("half past six", 6, 30, True, False, False),
        ("The time is 9:00.", 9, 0, False, True, True),
        ("12:05 PM", 12, 5, False, True, True),
        ("12:05 a.m.", 0, 5, False, True, True),
        ("10:59", 11, 1, False, True, False),
        ("10:05", 22, 5, False, False, False),
    ],
)
def test_clocks_are_read_around_full_hours_and_with_punctuation(reply, hour, minute, bench, close, exact):
    scores = clock(reply, hour, minute, bench=bench)
    assert (scores["overall_close"], scores["overall_exact"]) == (close, exact)


def test_a_clock_with_seconds_wants_seconds():
    assert clock("10:10:59", 10, 10, 1, bench=False)["all_close"]
    assert not clock("10:10", 10, 10, 1, bench=False)["second_close"]
    assert clock("ten", 10, 10, 1, bench=False)["second_correct"] is False


def test_a_failure_of_the_reference_says_where_a_score_is():
    with pytest.raises(ReferenceFailure, match="fails here with ZeroDivisionError: reply and answer are empty"):
        anls("", [""], reference_quirks=True)


def test_the_interval_of_a_share_is_wilson_s():
    assert wilson(0, 0) == (0, 1)
    assert wilson(8, 10) == pytest.approx((0.4901, 0.9433), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    with pytest.raises(ValueError, match="expected 0 <= successes <= n, got 3 of 2"):
        wilson(3, 2)
