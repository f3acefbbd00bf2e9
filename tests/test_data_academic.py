"""The academic data sets and benchmarks, from small files in the layouts in which they are published."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import PROCESSOR, cap, keep, laid_out, opened, parquet, png, points_row, sha, turns, url, write

from molmo_agent.data.catalog import KINDS
from molmo_agent.data.conversations import choice_prompt
from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.model import MolmoConfig
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.batching.encode import encode
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops
from molmo_agent.train.recipe import load

Made = tuple[str, dict[str, Any], str, tuple[str, str]]
"""Kind, options, style, and one question and answer that are trained on."""
MADE: dict[str, Callable[[Path], Made]] = {}


def made(build: Callable[[Path], Made]) -> Callable[[Path], Made]:
    MADE[build.__name__] = build
    return build


def vqa_files(folder: Path, questions: str, answers: str, field: str) -> None:
    asked = [{"question_id": 10 * i + j, "image_id": i, "question": f"What {i}{j}?"} for i in (3, 4) for j in (0, 1)]
    said = [
        {"question_id": q["question_id"], "answer_type": "other", "answers": [{field: a} for a in ("no", "yes", "yes")]}
        for q in asked
    ]
    write(folder / questions, {"info": {}, "questions": asked})
    write(folder / answers, {"info": {"about": "[]"}, "annotations": said[::-1]})
    for i in (3, 4):
        write(folder / f"train2014/COCO_train2014_{i:012d}.jpg", png(i))


@made
def vqa2(folder: Path) -> Made:
    names = "v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json"
    vqa_files(folder, *names, "answer")
    return "vqa2", {}, "vqa2", ("What 31?", "yes")


@made
def ok_vqa(folder: Path) -> Made:
    names = "OpenEnded_mscoco_train2014_questions.json", "mscoco_train2014_annotations.json"
    vqa_files(folder, *names, "raw_answer")
    return "ok-vqa", {}, "okvqa", ("What 30?", "yes")


@made
def text_vqa(folder: Path) -> Made:
    data = [{"question_id": 1, "image_id": "a", "question": "Brand?", "answers": ["acme"] * 6 + ["acm"] * 4}]
    write(folder / "TextVQA_0.5.1_train.json", {"data": data})
    write(folder / "train_images" / "a.jpg", png())
    return "text-vqa", {}, "text_vqa", ("Brand?", "acme")


@made
def text_vqa_of_the_hub(folder: Path) -> Made:
    row = {"image": {"bytes": png(), "path": None}, "question": "Brand?", "answers": ["acme"] * 10, "question_id": 7}
    parquet(folder / "data" / "validation-00000-of-00001.parquet", [row])
    return "text-vqa", {"split": "validation"}, "text_vqa", ("Brand?", "acme")


@made
def doc_qa(folder: Path) -> Made:
    row = {"questionId": 5, "question": "Date?", "image": "documents/x.png", "answers": ["1 May"], "data_split": "val"}
    write(folder / "val_v1.0_withQT.json", {"dataset_name": "x", "data": [row]})
    write(folder / "documents" / "x.png", png())
    return "doc-qa", {"split": "validation"}, "doc_qa", ("Date?", "1 May")


@made
def info_qa(folder: Path) -> Made:
    row = {"questionId": 5, "question": "Share?", "image_local_name": "9.jpeg", "answers": ["20%"]}
    write(folder / "infographicsVQA_train_v1.0.json", {"data": [row]})
    write(folder / "images" / "9.jpeg", png())
    return "info-qa", {}, "info_qa", ("Share?", "20%")


@made
def st_vqa(folder: Path) -> Made:
    rows = [
        {"question_id": n, "question": f"Sign {n}?", "file_path": "coco/a.jpg", "answers": ["stop"]}
        for n in range(1030)
    ]
    write(folder / "train_task_3.json", {"data": rows})
    write(folder / "coco" / "a.jpg", png())
    return "st-vqa", {}, "st_qa", ("Sign 48?", "stop")


@made
def tally_qa(folder: Path) -> Made:
    rows = [
        {"image": "VG_100K/1.jpg", "image_id": 1, "question": f"How many {x}?", "answer": 2, "question_id": n}
        for n, x in enumerate(("cups", "dogs"))
    ]
    write(folder / "train.json", rows)
    write(folder / "VG_100K" / "1.jpg", png())
    return "tally-qa", {}, "tally_qa", ("How many dogs?", "2")


def okvqa_files(folder: Path) -> None:
    rows = [
        {
            "question_id": f"q{n}",
            "image_id": 7,
            "question": "Why?",
            "choices": ["a", "b", "c", "d"],
            "correct_choice_idx": 2,
            "direct_answers": ["because"] * 10,
            "difficult_direct_answer": n == 1,
        }
        for n in range(2)
    ]
    for split in ("train", "val"):
        write(folder / f"aokvqa_v1p0_{split}.json", rows)
        write(folder / f"{split}2017" / f"{7:012d}.jpg", png())


@made
def a_okvqa_choices(folder: Path) -> Made:
    okvqa_files(folder)
    return "a-okvqa", {}, "a_okvqa_mc", ("Why?\nA: a\nB: b\nC: c\nD: d\n", "C")


@made
def a_okvqa_answers(folder: Path) -> Made:
    okvqa_files(folder)
    assert len(opened("a-okvqa", folder, form="da")) == 2
    return "a-okvqa", {"form": "da", "split": "validation"}, "a_okvqa_da", ("Why?", "because")


def science(image: Any) -> dict[str, Any]:
    return {"question": "Which?", "choices": ["x", "y"], "answer": 1, "hint": "Look.", "image": image, "split": "train"}


@made
def science_qa(folder: Path) -> Made:
    write(folder / "problems.json", {"1": science("image.png"), "2": science(None)})
    write(folder / "images" / "train" / "1" / "image.png", png())
    return "science-qa", {}, "science_qa", ("Look.\nWhich?\nA: x\nB: y\n", "B")


@made
def science_qa_of_the_hub(folder: Path) -> Made:
    parquet(folder / "data" / "train-0.parquet", [science(None), science({"bytes": png(), "path": None})])
    return "science-qa", {}, "science_qa", ("Look.\nWhich?\nA: x\nB: y\n", "B")


@made
def tabmwp(folder: Path) -> Made:
    row = {
        "question": "Total?",
        "choices": ["1", "2"],
        "answer": "2",
        "unit": "$",
        "ans_type": "integer",
        "split": "dev",
    }
    write(folder / "problems_dev.json", {"8": row})
    write(folder / "tables" / "8.png", png())
    return "tabmwp", {"split": "validation"}, "tabwmp_da", ("Total?", "2")


@made
def chart_qa(folder: Path) -> Made:
    for kind, answer in (("human", "12"), ("augmented", "13")):
        write(folder / "train" / f"train_{kind}.json", [{"imgname": f"{kind}.png", "query": "Most?", "label": answer}])
        write(folder / "train" / "png" / f"{kind}.png", png())
    return "chart-qa", {}, "chart_qa", ("Most?", "12")


@made
def chart_qa_of_the_hub(folder: Path) -> Made:
    rows = [{"image": {"bytes": png()}, "query": "Most?", "label": ["12"], "human_or_machine": n} for n in (0, 1)]
    parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    return "chart-qa", {}, "chart_qa", ("Most?", "12")


@made
def dvqa(folder: Path) -> Made:
    rows = [{"image": "bar_1.png", "question": f"Bar {n}?", "answer": "ü", "question_id": n} for n in range(3)]
    write(folder / "train_qa.json", json.dumps(rows, ensure_ascii=False).encode())
    write(folder / "images" / "bar_1.png", png())
    return "dvqa", {}, "dv_qa", ("Bar 2?", "ü")


def plot_files(folder: Path, file: str, answer: Any) -> None:
    rows = [{"image_index": i, "question_string": f"Is {j}?", "answer": answer} for j in (0, 1) for i in (0, 1)]
    write(folder / file, {"total": 4, "qa_pairs": rows})
    for i in (0, 1):
        write(folder / "png" / f"{i}.png", png(i))


@made
def figure_qa(folder: Path) -> Made:
    plot_files(folder / "train1", "qa_pairs.json", 1)
    return "figure-qa", {}, "figure_qa", ("Is 1?", "1")


@made
def plot_qa(folder: Path) -> Made:
    plot_files(folder / "validation", "qa_pairs_V2.json", 3.5)
    return "plot-qa", {"split": "validation"}, "plot_qa", ("Is 0?", "3.5")


def diagram(folder: Path) -> None:
    boxes = {"T1": {"rectangle": [[5, 5], [35, 25]], "replacementText": "A"},
             "T2": {"rectangle": [[40, 30], [75, 50]], "replacementText": "B"},
             "T3": {"rectangle": [[1, 9], [3, 9]], "replacementText": "C"}}  # fmt: skip
    questions = {
        "Which is the root?": {"abcLabel": True, "answerTexts": ["a", "B", "none"], "correctAnswer": 1,
                               "questionId": "q1"},
        "What is shown?": {"abcLabel": False, "answerTexts": ["tree", "{}", "leaf", "tree"], "correctAnswer": 2,
                           "questionId": "q2"},
    }  # fmt: skip
    for number in (1, 2):
        write(folder / "questions" / f"{number}.png.json", {"imageName": f"{number}.png", "questions": questions})
        write(folder / "annotations" / f"{number}.png.json", {"text": boxes})
        write(folder / "images" / f"{number}.png", png(number))
    write(folder / "ai2d_test_ids.csv", b"2\n")


@made
def ai2d(folder: Path) -> Made:
    diagram(folder)
    return "ai2d", {"boxes": "opaque"}, "ai2_diagram_no_letter", ("Which is the root?\nA\nB\nnone\n", "B")


@made
def mmmu(folder: Path) -> Made:
    row = {"id": "validation_Art_1", "question": "<image 1> Who?", "options": "['Monet', \"Manet's\"]", "answer": "B",
           "question_type": "multiple-choice", "image_1": {"bytes": png()}}  # fmt: skip
    more = {"id": "validation_Art_2", "options": "['<image 1>', '<image 2>']"}
    free = {"id": "validation_Art_3", "options": "[]", "answer": "['5', 'five']", "question_type": "open"}
    wrong = {"id": "validation_Art_4", "options": "__import__('os')"}
    parquet(folder / "Art" / "validation-00000-of-00001.parquet", [row, row | more, row | free, row | wrong])
    parquet(folder / "Zoo" / "validation-00000-of-00001.parquet", [row | {"id": "validation_Zoo_1", "answer": "?"}])
    return "mmmu", {}, "a_okvqa_mc", ("<image 1> Who?\nA: Monet\nB: Manet's\n", "B")


@made
def math_vista(folder: Path) -> Made:
    row = {"pid": "1", "question": "Hint: a letter.\nQuestion: Which?", "choices": ["3", "4"], "unit": None,
           "precision": 1.0, "answer": "4", "question_type": "multi_choice", "answer_type": "text", "query": "q",
           "decoded_image": {"bytes": png()}}  # fmt: skip
    free = {"question": "How long? Hint: a number.", "choices": None, "question_type": "free_form", "answer": "1.2"}
    free["pid"] = "2"
    parquet(folder / "data" / "testmini-0.parquet", [row, row | free, row | {"answer": "5"}])
    return "math-vista", {}, "eval_multiple_choice", ("Which?\nA: 3\nB: 4\n", "B")


@made
def real_world_qa(folder: Path) -> Made:
    ends = (
        "\n\nPlease answer directly with a single word or number.",
        "\nA. Yes\nB. No\nPlease answer directly with only the letter of the correct option and nothing else.",
        "",
    )
    rows = [{"image": {"bytes": png()}, "question": f"Lanes?{end}", "answer": "2"} for end in ends]
    parquet(folder / "data" / "test-0.parquet", rows)
    return "real-world-qa", {}, "eval_short_answer", ("Lanes?", "2")


@made
def count_bench_qa(folder: Path) -> Made:
    rows = [{"image": {"bytes": png()}, "number": 4}, {"image": None, "number": 5}]
    parquet(folder / "data" / "train-0.parquet", rows)
    write(folder / "countbench_paired_questions.json", [{"question": "How many cups are there?"}] * 2)
    return "count-bench-qa", {}, "point_count", ("How many cups are there?", "4")


# Their questions stand as they are, and some have no answer or no picture.
ONLY_ASKED = ("count-bench-qa", "mmmu")


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_data_set_is_read_from_its_published_files_and_laid_out_for_training(name: str, tmp_path: Path) -> None:
    kind, options, style, wanted = MADE[name](tmp_path)
    data = opened(kind, tmp_path, **options)
    questions = list(data.questions())
    assert len({question.id for question in questions}) == len(questions) > 0
    assert questions[0].style == style
    assert questions[0].image is None or questions[0].image().shape == (*(questions[0].size or ())[::-1], 3)
    if kind in ONLY_ASKED:
        assert choice_prompt(questions[0]) == wanted[0] if questions[0].options else questions[0].text == wanted[0]
        return
    found = [turn for number in range(len(data)) for turn in turns(data, number)]
    assert wanted in found
    text = laid_out(data)[1]
    if not style.startswith("eval"):
        assert f"{style}:" in text


def test_every_kind_is_tested_here_or_elsewhere() -> None:
    here = {name.removesuffix("_of_the_hub").removesuffix("_choices").removesuffix("_answers") for name in MADE}
    elsewhere = {"sim_desktop", "points", "chat", "trajectories", "android_control", "conversations", "gui_grounding"}
    kinds = {kind.replace("-", "_") for kind in KINDS if not kind.startswith("pixmo")}
    assert kinds == here | elsewhere


def test_questions_about_a_picture_share_a_row_where_the_authors_do_so(tmp_path: Path) -> None:
    vqa2(tmp_path)
    assert [len(turns(opened("vqa2", tmp_path), n)) for n in range(2)] == [2, 2]
    assert len(opened("vqa2", tmp_path, grouped=False)) == 4
    ok_vqa(tmp_path)
    assert len(opened("ok-vqa", tmp_path)) == 4


def write_everything(home: Path) -> None:
    """All data sets of the fine-tuning mixture, a few rows each."""
    plain = {
        "vqa2": vqa2,
        "text-vqa": text_vqa,
        "ok-vqa": ok_vqa,
        "chart-qa": chart_qa,
        "info-qa": info_qa,
        "a-okvqa": a_okvqa_choices,
        "science-qa": science_qa,
        "st-vqa": st_vqa,
        "tally-qa": tally_qa,
        "dvqa": dvqa,
        "figure-qa": figure_qa,
    }
    for name, make in plain.items():
        make(home / name)
    diagram(home / "ai2d")
    row = {
        "questionId": 5,
        "question": "Date?",
        "image": "documents/x.png",
        "answers": ["1 May"],
        "data_split": "train",
    }
    write(home / "doc-qa" / "train_v1.0_withQT.json", {"data": [row]})
    write(home / "doc-qa/documents/x.png", png())
    row = {"question": "Total?", "choices": None, "answer": "2", "unit": "$", "ans_type": "integer"}
    write(home / "tabmwp/problems_train.json", {"8": row})
    write(home / "tabmwp/tables/8.png", png())
    plot_files(home / "plot-qa/train", "qa_pairs_V2.json", 3.5)
    shutil.copytree(Path(__file__).parent / "golden/android_control", home / "android-control")
    cap(home / "pixmo-cap", 6)
    rows = [
        {"image_url": url(n), "image_sha256": sha(png(n)), "question": "How many?", "answer": "Two."} for n in range(3)
    ]
    parquet(home / "pixmo-ask-model-anything/data/train-0.parquet", rows)
    keep(home / "pixmo-ask-model-anything", 0, 1)
    parquet(
        home / "pixmo-cap-qa/data/train-0.parquet",
        [{"image_url": url(0), "question": "[USER] A [ASSISTANT]", "answer": "B"}],
    )
    keep(home / "pixmo-cap-qa", 0)
    parquet(
        home / "pixmo-point-explanations/data/train-0.parquet",
        [
            {
                "image_url": url(0),
                "image_sha256": sha(png(0)),
                "question": "Why?",
                "parsed_response": "See <|POINT|>.",
                "alt_text": ["a"],
                "inline_text": ["a"],
                "points": [[{"x": 1.0, "y": 2.0}]],
            }
        ],
    )
    keep(home / "pixmo-point-explanations", 0)
    for kind in ("charts", "tables", "diagrams", "other"):
        parquet(
            home / "pixmo-docs" / kind / "train-0.parquet",
            [
                {
                    "image": {"bytes": png(1), "path": None},
                    "image_id": "d",
                    "questions": {"question": ["What?"], "answer": ["A bar."]},
                }
            ],
        )
    pts = [points_row(n, "cup", [(5.0, 5.0)] * (n + 1), m) for n in range(4) for m in ("pointing", "counting")]
    parquet(home / "pixmo-points/data/train-0.parquet", pts)
    keep(home / "pixmo-points", 0, 1, 2, 3)
    held = {**points_row(3, "cup", [(5.0, 5.0)]), "masks": [[[True]]]}
    parquet(home / "pixmo-points-eval/data/test-0.parquet", [held])
    parquet(
        home / "pixmo-count/data/train-0.parquet",
        [{"image_url": url(0), "label": "Cups", "count": 1, "points": {"x": [4.0], "y": [5.0]}}],
    )
    keep(home / "pixmo-count", 0)


def test_the_whole_fine_tuning_mixture_is_drawn_and_laid_out(tmp_path: Path) -> None:
    write_everything(tmp_path)
    config = load("sft", [f"home={tmp_path}", "batch=40", "length=4000"])
    assert isinstance(config, TrainConfig)
    loader = DataLoader(config, PROCESSOR, Flops(MolmoConfig.from_pretrained(CHECKPOINT)))
    for source, wanted in zip(loader.sources, config.mixture, strict=True):
        for number in range(len(source)):
            assert encode(source.row(number, 0), PROCESSOR, config, 0).num_truncated == 0, wanted
    examples, skipped = loader.encode_step(0)
    assert skipped == []
    assert len({example.source for example in examples}) > 10
    assert sum(loader.sampler.rates) == pytest.approx(1.0)


def test_of_equally_frequent_answers_one_is_drawn(tmp_path: Path) -> None:
    data = [{"question_id": 1, "image_id": "a", "question": "Brand?", "answers": ["x", "y", "y", "x", "z"]}]
    write(tmp_path / "TextVQA_0.5.1_train.json", {"data": data})
    write(tmp_path / "train_images" / "a.jpg", png())
    opened_data = opened("text-vqa", tmp_path)
    assert {turns(opened_data, 0, seed)[0][1] for seed in range(30)} == {"x", "y"}


def test_peoples_questions_about_charts_weigh_as_much_as_made_ones_together(tmp_path: Path) -> None:
    for build, folder in ((chart_qa, tmp_path / "files"), (chart_qa_of_the_hub, tmp_path / "hub")):
        build(folder)
        data = opened("chart-qa", folder)
        human, made_up = data.row(0, 0).weight, data.row(1, 0).weight
        assert (round(human, 3), round(made_up, 3)) == (1.477, 0.523)
        assert human * 7398 == pytest.approx(made_up * 20901)
        assert laid_out(data)[0].example.loss_weights.max() == pytest.approx(human)
        assert opened("chart-qa", folder, weighted=False).row(0, 0).weight == 1.0
        assert [q.extra["group"] for q in data.questions()] == ["human", "augmented"]


def test_labels_of_diagrams_are_drawn_as_letters(tmp_path: Path) -> None:
    diagram(tmp_path)
    data = opened("ai2d", tmp_path)
    questions = list(data.questions())
    assert [(q.style, q.extra["group"], q.options) for q in questions] == [
        ("ai2_diagram_no_letter", "opaque", ("A", "B", "none")),
        ("ai2_diagram_no_letter", "transparent", ("A", "B", "none")),
        ("ai2_diagram", "plain", ("tree", "leaf")),
    ]
    assert [q.extra["correct"] for q in questions] == [1, 1, 1]
    assert turns(data, 2) == [("What is shown?\nA: tree\nB: leaf\n", "B")]
    plain, opaque, through = (q.image() for q in (questions[2], *questions[:2]) if q.image)
    changed = (plain != opaque).any(axis=2)
    assert changed[5:26, 5:36].mean() > 0.99
    assert not changed[52:].any()
    assert (opaque[5:25, 5:35] == (25, 249, 255)).all(axis=2).mean() > 0.5
    half = through[49, 74].astype(int) - (plain[49, 74].astype(int) + np.array([25, 249, 255])) // 2
    assert np.abs(half).max() <= 2
    assert len(opened("ai2d", tmp_path, split="test")) == 3
    assert len(opened("ai2d", tmp_path, split="test", boxes="transparent")) == 2


def test_answers_that_are_kept_cannot_be_trained_on_but_asked(tmp_path: Path) -> None:
    write(tmp_path / "test_v1.0.json", {"data": [{"questionId": 5, "question": "Date?", "image": "x.png"}]})
    write(tmp_path / "x.png", png())
    data = opened("doc-qa", tmp_path, split="test")
    assert [question.answers for question in data.questions()] == [()]
    with pytest.raises(ValueError, match="doc-qa/5 has no published answer to learn from: train on another split"):
        data.row(0, 0)
    mmmu(tmp_path / "mmmu")
    kept = opened("mmmu", tmp_path / "mmmu")
    with pytest.raises(ValueError, match="mmmu/validation_Zoo_1 has no published answer"):
        [kept.row(number, 0) for number in range(len(kept))]


def test_benchmarks_say_what_their_metrics_need(tmp_path: Path) -> None:
    mmmu(tmp_path / "mmmu")
    data = opened("mmmu", tmp_path / "mmmu")
    asked = {q.id.removeprefix("mmmu/validation_"): q for q in data.questions()}
    assert asked["Art_2"].image is None
    assert asked["Art_3"].answers == ("5", "five")
    assert {q.extra["group"] for q in asked.values()} == {"Art", "Zoo"}
    assert "expected a list of texts, got \"__import__('os')\"" in data.problems.summary()
    math_vista(tmp_path / "math")
    data = opened("math-vista", tmp_path / "math")
    choice, free = data.questions()
    assert (choice.answers, choice.extra["correct"], choice.extra["precision"]) == (("4",), 1, 1.0)
    assert (free.text, free.style, free.answers) == ("How long?", "eval_short_answer", ("1.2",))
    assert "'5' is not in list" in data.problems.summary()
    real_world_qa(tmp_path / "real")
    data = opened("real-world-qa", tmp_path / "real")
    assert [q.style for q in data.questions()] == ["eval_short_answer", "eval_multiple_choice"]
    assert "expected a question that asks for a word or a letter, got 'Lanes?'" in data.problems.summary()
    count_bench_qa(tmp_path / "count")
    assert "record 1 (1): the image is missing" in opened("count-bench-qa", tmp_path / "count").problems.summary()
    write(tmp_path / "count" / "countbench_paired_questions.json", [])
    with pytest.raises(UsageError, match=r"expected a question for each of 2 images of .*count, got 0"):
        opened("count-bench-qa", tmp_path / "count")


@pytest.mark.parametrize(
    ("file", "content", "kind", "message"),
    [
        ("train_qa.json", None, "dvqa", "expected a JSON file at .*train_qa.json, found none"),
        ("train_qa.json", b"{}", "dvqa", "expected an array of objects in .*train_qa.json, found none near its"),
        ("train_qa.json", b'[{"image": "a.png"}, {"ima', "dvqa", "is truncated or damaged after object 1 .*fetch it"),
        ("train_v1.0_withQT.json", b'{"date": []}', "doc-qa", "expected an array 'data' of objects in"),
        (
            "train_task_3.json",
            b"[]",
            "st-vqa",
            "expected an array 'data' of objects in .*train_task_3.json, found none",
        ),
        ("train_task_3.json", b"{", "st-vqa", "expected .*train_task_3.json to be JSON, but .*; fetch it again"),
        ("train_task_3.json", None, "st-vqa", "expected a JSON file at .*train_task_3.json, found none"),
        ("problems.json", b"[]", "science-qa", "expected an object of problems by their ids in"),
        ("problems.json", b"{}", "ai2d", "expected AI2D's questions as JSON files in .*questions, found none"),
        ("questions/1.json", b"{}", "ai2d", "expected the numbers of AI2D's test images in .*ai2d_test_ids.csv"),
        ("questions/x.json", b"{}", "ai2d", "file names to be the numbers of their images, got 'x.json'"),
    ],
)
def test_files_that_do_not_fit_are_told(
    file: str, content: bytes | None, kind: str, message: str, tmp_path: Path
) -> None:
    if content is not None:
        write(tmp_path / file, content)
    with pytest.raises(UsageError, match=f"(?s){message}"):
        opened(kind, tmp_path)


def test_records_that_do_not_fit_are_told_and_the_others_used(tmp_path: Path) -> None:
    vqa2(tmp_path)
    path = tmp_path / "v2_mscoco_train2014_annotations.json"
    said = json.loads(path.read_text())
    said["annotations"] = said["annotations"][1:]
    write(path, said)
    assert "record 3: the question 41 has no annotation" in opened("vqa2", tmp_path).problems.summary()
    a_okvqa_choices(tmp_path)
    path = tmp_path / "aokvqa_v1p0_train.json"
    rows = json.loads(path.read_text())
    rows[0]["correct_choice_idx"], rows[1]["question"] = 4, ""
    write(path, [*rows, {}, {**rows[0], "correct_choice_idx": 0}])
    data = opened("a-okvqa", tmp_path)
    told = data.problems.summary()
    assert len(data) == 1
    assert "record 0: expected the answer to be one of 4 options, got number 4" in told
    assert "record 1: expected a text in 'question', got ''" in told
    assert "record 2: 'question_id' is missing" in told
    write(path, rows[:1])
    with pytest.raises(UsageError, match=r"(?s)no record of .* can be used; 1 could not be used"):
        opened("a-okvqa", tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown split of 'dvqa' 'val'.*did you mean val_hard or val_easy"):
        opened("dvqa", tmp_path, split="val")


def test_a_large_array_is_read_in_pieces_and_its_objects_again_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molmo_agent.data.formats.json_array._CHUNK", 64)
    rows = [{"n": n, "text": 'é {["]} \\ ' * (n % 7)} for n in range(50)]
    text = json.dumps({"head": 1, "rows": rows, "tail": [{"n": -1}]}, ensure_ascii=False, indent=1)
    found = JsonArray(write(tmp_path / "x.json", text.encode()), "rows")
    assert [row for _, row in found.scan()] == rows
    assert len(found) == 50
    assert [found.get(n) for n in (49, 0, 20)] == [rows[49], rows[0], rows[20]]


@pytest.mark.parametrize("name", ["st_vqa", "science_qa", "chart_qa", "ai2d"])
def test_records_of_another_form_are_named_and_the_others_are_read(name: str, tmp_path: Path) -> None:
    kind, options, *_ = MADE[name](tmp_path)
    (file,) = {
        "st_vqa": tmp_path.glob("train_task_3.json"),
        "science_qa": tmp_path.glob("problems.json"),
        "chart_qa": tmp_path.glob("train/train_human.json"),
        "ai2d": tmp_path.glob("questions/1.png.json"),
    }[name]
    whole = json.loads(file.read_text())
    records = {"st_vqa": lambda all_: all_["data"], "ai2d": lambda all_: all_["questions"]}.get(name, lambda all_: all_)
    wrong = []
    for odd in (None, 5, "x", [], {}, {"question": ["a"], "image": "a\0b", "split": "train", "abcLabel": 1}):
        changed = json.loads(json.dumps(whole))
        rows: Any = records(changed)
        rows[next(iter(rows)) if isinstance(rows, dict) else -1] = odd
        write(file, changed)
        try:
            data = opened(kind, tmp_path, **options)
            wrong += [] if len(data) else [(odd, "nothing is left")]
        except UsageError as error:
            wrong += [] if "can be used" in str(error) else [(odd, str(error))]
        except Exception as error:
            wrong.append((odd, repr(error)))
    assert wrong == []
