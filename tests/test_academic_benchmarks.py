"""The further academic sets: each is asked and scored as a benchmark, and its published answers are right."""

from pathlib import Path

from test_data_academic import MADE
from test_eval_benchmarks import FURTHER, Gold

from molmo_agent.data.question import Question
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.metrics import a_okvqa
from molmo_agent.evaluation.run import evaluate, open_questions, summarise
from molmo_agent.evaluation.scoring import Reply, score

# Benchmark -> the builder of its files, and the split that they are of.
FILES = {
    "okvqa": ("ok_vqa", "train"),
    "a_okvqa_mc": ("a_okvqa_choices", "train"),
    "a_okvqa_da": ("a_okvqa_answers", "validation"),
    "science_qa": ("science_qa", "train"),
    "st_qa": ("st_vqa", "train"),
    "tabmwp": ("tabmwp", "validation"),
    "tally_qa": ("tally_qa", "train"),
    "dv_qa": ("dvqa", "train"),
    "figure_qa": ("figure_qa", "train1"),
    "plot_qa": ("plot_qa", "validation"),
}


def test_the_published_answers_of_each_set_are_right(tmp_path: Path) -> None:
    assert set(FILES) == set(FURTHER)
    wrong = []
    for name, (build, split) in FILES.items():
        MADE[build](tmp_path / name)
        _, benchmark = find(name)
        asked = open_questions(name, benchmark, tmp_path / name, benchmark.options | {"split": split})
        model = Gold([question for question in asked.questions() if question.image])
        records = evaluate(lambda model=model: model, benchmark, asked, tmp_path / "runs" / name, {})
        summary = summarise(records, asked.problems)
        # The made photographs have three answers of which two agree: 0.44 by the rule for ten.
        means = [row["mean"] for row in summary["scores"].values()]
        if not summary["questions"] or max(means) < 0.4:
            wrong.append((name, summary))
    assert not wrong


def test_a_okvqa_is_scored_without_the_clean_up_of_vqa() -> None:
    answers = ("two dogs", "two dogs", "two dogs", "2 dogs", "a dog")
    question = Question(id="a", style="a_okvqa_da", text="?", answers=answers)
    for reply, worth in (("Two dogs", 1.0), ("2 dogs", 1 / 3), ("dog", 0.0), ("  a dog ", 1 / 3)):
        scores = score("a_okvqa", question, Reply(text=reply, size=(1, 1))).scores
        assert scores == {"a_okvqa": worth}, reply
        assert a_okvqa(reply.strip(), answers) == worth
