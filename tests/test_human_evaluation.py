"""Human evaluation: ratings recover known strengths, matches are blind and balanced, votes survive."""

import json
import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.errors import DataError, ImageError, UsageError
from molmo_agent.evaluation.human.ratings import ELO_PER_LOGIT, elo, rate, strengths
from molmo_agent.evaluation.human.report import sheets_of, write_report
from molmo_agent.evaluation.human.schedule import Schedule
from molmo_agent.evaluation.human.server import Ballot
from molmo_agent.evaluation.human.study import Study, StudyQuestion, check_categories, read_study, without_points
from molmo_agent.evaluation.human.votes import OUTCOMES, VOTES_FILE, Vote, append_vote, read_votes

STRENGTHS = {"large": 1080.0, "medium": 1030.0, "small": 960.0, "tiny": 930.0}
CATEGORIES = ("counting", "documents", "charts")


def made_study(models: tuple[str, ...] = tuple(STRENGTHS), num_questions: int = 30) -> Study:
    questions = [
        StudyQuestion(
            id=f"q{number}",
            category=CATEGORIES[number % len(CATEGORIES)],
            text=f"Question {number}?",
            image=None,
            replies={model: f"reply {number}.{place}" for place, model in enumerate(models)},
        )
        for number in range(num_questions)
    ]
    return Study(questions=tuple(questions), models=models)


def annotate(study: Study, annotator: str, draw: random.Random, schedule: Schedule) -> list[Vote]:
    """Let a simulated annotator vote on all matches: the models' true strengths decide, with ties."""
    votes = []
    while (number := schedule.next(annotator)) is not None:
        match = schedule.matches[number]
        odds = 10 ** ((STRENGTHS[match.first] - STRENGTHS[match.second]) / 400)
        roll = draw.random()
        outcome = "first" if draw.random() < odds / (1 + odds) else "second"
        if roll < 0.05:
            outcome = "dont_know"
        votes.append(cast(annotator, match.question.id, match.first, match.second, outcome, match.question.category))
        schedule.add(votes[-1:])
    return votes


def cast(annotator: str, question: str, first: str, second: str, outcome: str, category: str = "all") -> Vote:
    return Vote(annotator=annotator, question=question, category=category, first=first, second=second, outcome=outcome)


def test_simulated_annotators_recover_the_strengths_of_four_models() -> None:
    study = made_study(num_questions=450)
    schedule = Schedule(study, seed=3)
    figures = rate(annotate(study, "ada", random.Random(5), schedule), resamples=200)
    assert [row["model"] for row in figures["models"]] == list(STRENGTHS)
    for row in figures["models"]:
        assert row["low"] <= STRENGTHS[row["model"]] <= row["high"], row
        assert row["elo"] == pytest.approx(STRENGTHS[row["model"]], abs=25)
    assert figures["votes"] == 450 * 6
    assert 0.03 < figures["dont_know"] / figures["votes"] < 0.07


def test_intervals_cover_the_truth_about_as_often_as_they_claim() -> None:
    inside = total = 0
    for seed in range(12):
        schedule = Schedule(made_study(num_questions=60), seed=seed)
        figures = rate(annotate(made_study(), "ada", random.Random(seed), schedule), resamples=200)
        for row in figures["models"]:
            inside += row["low"] <= STRENGTHS[row["model"]] <= row["high"]
            total += 1
    assert inside / total > 0.8


@pytest.mark.parametrize(("wins", "losses"), [(10, 10), (30, 10), (64, 36), (9, 1)])
def test_two_models_get_the_rating_that_their_odds_say(wins: int, losses: int) -> None:
    beta = strengths(np.array([[0, wins], [losses, 0]], float))
    ratings = elo(beta)
    assert ratings[0] - ratings[1] == pytest.approx(400 * np.log10(wins / losses), abs=3)
    assert ratings.mean() == pytest.approx(1000)


def test_a_tie_is_half_a_win_and_dont_know_counts_nowhere() -> None:
    tied = [cast("ada", f"q{n}", "one", "two", ("both_good", "both_bad")[n % 2]) for n in range(20)]
    unsure = [cast("ada", f"u{n}", "one", "two", "dont_know") for n in range(9)]
    figures = rate(tied + unsure, resamples=50)
    assert [row["elo"] for row in figures["models"]] == pytest.approx([1000, 1000])
    assert figures["dont_know"] == 9
    assert figures["models"][0]["win_rate"]["mean"] is None
    (pair,) = figures["pairs"]
    assert (pair["matches"], pair["both_good"], pair["both_bad"], pair["win"], pair["loss"]) == (20, 10, 10, 0, 0)


def test_the_anchor_keeps_its_rating_and_shifts_the_others() -> None:
    votes = [cast("ada", f"q{n}", "one", "two", "first" if n % 4 else "second") for n in range(40)]
    free, anchored = rate(votes, resamples=50), rate(votes, anchor=("two", 1056.0), resamples=50)
    assert {row["model"]: row["elo"] for row in anchored["models"]}["two"] == 1056
    gaps = [figures["models"][0]["elo"] - figures["models"][1]["elo"] for figures in (free, anchored)]
    assert gaps[0] == pytest.approx(gaps[1])
    with pytest.raises(UsageError, match=r"expected the anchor to be one of one, two, got 'three'"):
        rate(votes, anchor=("three", 1000.0))


def test_a_model_that_won_every_match_has_a_finite_rating_and_a_remark() -> None:
    figures = rate([cast("ada", f"q{n}", "one", "two", "first") for n in range(30)], resamples=50)
    assert 1000 < figures["models"][0]["elo"] < 4000
    assert figures["remarks"] == [
        "one won every match: its rating is a bound, set by the prior",
        "two lost every match: its rating is a bound, set by the prior",
    ]


def test_models_that_never_met_are_named() -> None:
    votes = [cast("ada", f"q{n}", "a", "b", OUTCOMES[n % 2]) for n in range(8)]
    votes += [cast("ada", f"r{n}", "c", "d", OUTCOMES[n % 2]) for n in range(8)]
    assert rate(votes, resamples=20)["remarks"] == [
        "c, d and a share no chain of matches: their ratings do not compare"
    ]


def test_votes_without_an_opinion_cannot_be_rated() -> None:
    with pytest.raises(UsageError, match="expected votes on two models, got 1, none of them with an opinion"):
        rate([cast("ada", "q", "one", "two", "dont_know")])


def test_two_annotators_of_one_match_agree_or_not() -> None:
    votes = [cast(name, "q1", "one", "two", "first") for name in ("ada", "bob")]
    votes += [cast("ada", "q2", "one", "two", "first"), cast("bob", "q2", "one", "two", "both_bad")]
    assert rate(votes, resamples=20)["agreement"] == {"mean": 0.5, "n": 2}


def test_every_beginning_of_a_study_has_as_many_matches_of_each_pair_and_category() -> None:
    for seed in (0, 1, 2):
        matches = Schedule(made_study(num_questions=30), seed=seed).matches
        assert len(matches) == 30 * 6
        for end in (18, 54, 90, 180):
            pairs = Counter((match.first, match.second) for match in matches[:end])
            categories = Counter(match.question.category for match in matches[:end])
            assert set(pairs.values()) == {end // 6}
            assert max(categories.values()) - min(categories.values()) == 0


def test_several_annotators_share_the_matches_and_nobody_sees_one_twice() -> None:
    schedule = Schedule(made_study(num_questions=5), seed=1, votes_per_match=2)
    seen: dict[str, list[int]] = {"ada": [], "bob": [], "eve": []}
    for step in range(1000):
        name = list(seen)[step % 3]
        number = schedule.next(name)
        if number is None:
            continue
        match = schedule.matches[number]
        seen[name].append(number)
        schedule.add([cast(name, match.question.id, match.first, match.second, "first")])
    assert all(len(set(numbers)) == len(numbers) for numbers in seen.values())
    assert set(Counter(number for numbers in seen.values() for number in numbers).values()) == {2}


def test_an_annotator_sees_the_same_match_until_they_vote_and_others_see_another() -> None:
    schedule = Schedule(made_study(num_questions=5), seed=1)
    assert schedule.next("ada") == schedule.next("ada")
    assert schedule.next("bob") not in (None, schedule.next("ada"))


def test_either_model_is_shown_as_a_about_equally_often() -> None:
    schedule = Schedule(made_study(num_questions=100), seed=9)
    share = np.mean([schedule.first_is_a("ada", number) for number in range(len(schedule.matches))])
    assert 0.42 < share < 0.58


def test_a_vote_names_the_model_whatever_side_it_was_on(tmp_path: Path) -> None:
    schedule = Schedule(made_study(("one", "two"), 40), seed=2)
    ballot = Ballot(schedule, tmp_path / VOTES_FILE)
    for _ in range(40):
        shown = ballot.match("ada")
        # reply N.0 is of "one"
        ballot.vote("ada", shown["number"], "a" if shown["a"].endswith(".0") else "b", 1.26)
    votes = read_votes(tmp_path / VOTES_FILE)
    assert {(vote.first, vote.outcome) for vote in votes} == {("one", "first")}
    assert {vote.first_is_a for vote in votes} == {True, False}
    assert votes[0].seconds == 1.3
    assert ballot.match("ada")["number"] is None


def test_what_the_page_gets_names_no_model(tmp_path: Path) -> None:
    ballot = Ballot(Schedule(made_study(), seed=2), tmp_path / VOTES_FILE)
    for _ in range(20):
        shown = ballot.match("ada")
        assert not any(model in json.dumps(shown) for model in STRENGTHS)
        ballot.vote("ada", shown["number"], "both_good", 1)


def test_a_restarted_study_continues_and_a_half_written_vote_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / VOTES_FILE
    study = made_study(("one", "two"), 6)
    first = Ballot(Schedule(study, seed=4), path)
    for choice in ("a", "b", "dont_know"):
        first.vote("ada", first.match("ada")["number"], choice, 1)
    with path.open("ab") as file:
        file.write(b'{"annotator": "ada", "question": "q')
    again = Ballot(Schedule(study, seed=4), path)
    assert again.match("ada")["progress"] == {"own": 3, "done": 3, "wanted": 6}
    again.vote("ada", again.match("ada")["number"], "a", 1)
    assert len(read_votes(path)) == 4


def test_a_second_vote_on_a_match_replaces_the_first(tmp_path: Path) -> None:
    ballot = Ballot(Schedule(made_study(("one", "two"), 6), seed=4), tmp_path / VOTES_FILE)
    number = ballot.match("ada")["number"]
    ballot.vote("ada", number, "both_bad", 1)
    assert ballot.match("ada", again=True)["number"] == number
    ballot.vote("ada", number, "both_good", 1)
    assert [vote.outcome for vote in read_votes(tmp_path / VOTES_FILE)] == ["both_good"]
    assert len((tmp_path / VOTES_FILE).read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{}", "line 1 of .* to be a vote"),
        ('"text"', "line 1 of .* to be a vote"),
        (json.dumps({"annotator": "a", "question": "q", "category": "c", "first": "x", "second": "x"}), "to be a vote"),
        ("{oops", "to be JSON"),
    ],
)
def test_a_damaged_line_of_votes_is_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / VOTES_FILE).write_text(line + "\n")
    with pytest.raises(DataError, match=says):
        read_votes(tmp_path / VOTES_FILE)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ('There are <point x="1.5" y="2" alt="two cups">two cups</point>.', "There are two cups."),
        ('<points x1="1" y1="2" x2="3" y2="4" alt="dogs">dogs</points>', "dogs"),
        ('Counting the <points coords="1 1 500 500">cats</points> gives 3.', "Counting the cats gives 3."),
        ('cut off <point x="1', "cut off"),
        ("a < b and no pointer", "a < b and no pointer"),
        ("<pointer>kept</pointer>", "<pointer>kept</pointer>"),
    ],
)
def test_annotators_see_the_words_without_the_points(reply: str, words: str) -> None:
    assert without_points(reply) == words


def test_many_open_tags_are_removed_in_linear_time() -> None:
    assert without_points("<point " * 100_000) == ""


def write_replies(folder: Path, rows: list[object]) -> Path:
    Image.new("RGB", (60, 40), (200, 80, 40)).save(folder / "cup.png")
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_of_replies_is_a_study_and_incomplete_questions_are_counted(tmp_path: Path) -> None:
    rows = [
        {"id": n, "question": f"{n}?", "category": "charts", "image": "cup.png", "replies": {"one": "1", "two": "2"}}
        for n in range(3)
    ]
    rows[2]["replies"] = {"two": "2"}
    study = read_study([write_replies(tmp_path, rows)])
    assert (study.models, len(study.questions), study.left_out) == (("one", "two"), 2, 1)
    image = study.questions[0].image
    assert image is not None
    assert image().shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("row", "error", "says"),
    [
        ([], DataError, "line 1 to be an object, got list"),
        ({"id": "1"}, DataError, "to have an id and a question, got the keys id"),
        ({"id": "1", "question": "?", "replies": {"one": 5}}, DataError, "to have replies, an object"),
        ({"id": "1", "question": "?", "replies": {}, "image": 5}, DataError, "the path of an image, got 5"),
        ({"id": "1", "question": "?", "replies": {}, "image": "gone.png"}, ImageError, "it does not exist"),
        ({"id": "1", "question": "?", "replies": {"one": "1"}}, UsageError, "two or more models .*, got one"),
    ],
)
def test_a_line_of_replies_with_another_form_is_named(
    tmp_path: Path, row: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_study([write_replies(tmp_path, [row])])


def write_run(folder: Path, data: Path, model: str, replies: dict[str, str], **settings: str) -> Path:
    """Write a result folder of agent eval by hand."""
    folder.mkdir()
    content = {"benchmark": "vqa2", "model": model, "data": str(data), "max_crops": None, "split": "val"} | settings
    (folder / "settings.json").write_text(json.dumps(content))
    records = [
        {"id": id_, "question": "vqa2: What?", "reply": reply, "scores": {"vqa": 1.0}, "groups": ["number"]}
        for id_, reply in replies.items()
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def own_questions(tmp_path: Path) -> tuple[Path, list[str]]:
    """Return a file of three questions and their ids."""
    Image.new("RGB", (60, 40), (200, 80, 40)).save(tmp_path / "cup.png")
    rows = [{"image": "cup.png", "question": f"What is {number}?", "answers": ["5"]} for number in range(3)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = QuestionsFile(Source(kind="vqa2", path=str(path), options={"style": "vqa2", "choice_style": "vqa2"}))
    return path, [question.id for question in questions.questions()]


def test_result_folders_are_a_study_of_the_questions_that_all_models_answered(
    tmp_path: Path, own_questions: tuple[Path, list[str]]
) -> None:
    data, ids = own_questions
    point = '<point x="1" y="2" alt="a">a</point> cup'
    first = write_run(tmp_path / "a", data, "one", dict.fromkeys(ids, point))
    second = write_run(tmp_path / "b", data, "two", dict.fromkeys(ids[:2], "a mug"))
    study = read_study([first, second])
    assert (study.models, study.left_out) == (("one", "two"), 1)
    assert [question.text for question in study.questions] == ["What is 0?", "What is 1?"], "without a tag of the style"
    assert study.questions[0].category == "number"
    assert study.questions[0].replies == {"one": "a cup", "two": "a mug"}
    image = study.questions[0].image
    assert image is not None
    assert image().shape == (40, 60, 3)


def test_two_runs_of_one_model_are_told_apart_by_their_folders(
    tmp_path: Path, own_questions: tuple[Path, list[str]]
) -> None:
    data, ids = own_questions
    folders = [write_run(tmp_path / name, data, "one", dict.fromkeys(ids, name)) for name in ("early", "late")]
    assert read_study(folders).models == ("one (early)", "one (late)")
    with pytest.raises(UsageError, match="expected different runs"):
        read_study([folders[0], folders[0]])


def test_result_folders_with_other_options_are_no_study(tmp_path: Path, own_questions: tuple[Path, list[str]]) -> None:
    data, ids = own_questions
    first = write_run(tmp_path / "a", data, "one", dict.fromkeys(ids, "x"))
    second = write_run(tmp_path / "b", data, "two", dict.fromkeys(ids, "x"), split="test")
    with pytest.raises(UsageError, match="split is 'val' in one and 'test' in the other"):
        read_study([first, second])


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    row = {"id": "1", "question": "?", "replies": {"one": "1", "two": "2"}}
    with pytest.raises(DataError, match="line 2 to have a new id, got '1' again"):
        read_study([write_replies(tmp_path, [row, row])])


def test_one_folder_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected two or more result folders of agent eval, or one \.jsonl"):
        read_study([tmp_path])


def test_the_report_prints_ratings_and_writes_a_page_with_all_outcomes(tmp_path: Path) -> None:
    draw = random.Random(1)
    for first, second in combinations(("one", "<b>two</b>", "three"), 2):
        for number in range(12):
            vote = cast("ada", f"q{number}", first, second, draw.choice(OUTCOMES), CATEGORIES[number % 3])
            append_vote(tmp_path / VOTES_FILE, vote)
    result = CliRunner().invoke(app, ["eval", "human", "--report", "--out", str(tmp_path), "--anchor", "one=1056"])
    assert result.exit_code == 0, result.output
    assert "Ratings" in result.output
    assert "1056" in result.output
    figures = json.loads((tmp_path / "ratings.json").read_text(encoding="utf-8"))
    assert len(figures["pairs"]) == 3
    page = (tmp_path / "ratings.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;two&lt;/b&gt;" in page
    assert "<b>two</b>" not in page
    assert all(category in page for category in CATEGORIES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--report"], "expected votes at"),
        (["--anchor", "one=1000"], "--anchor is for --report"),
        (["--report", "x.jsonl"], "does not accept x.jsonl"),
        (["gone"], "two or more result folders"),
        (["gone", "lost"], "to be a result folder of agent eval"),
    ],
)
def test_a_wrong_call_is_explained(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["eval", "human", *arguments, "--out", str(tmp_path)])
    assert result.exit_code != 0
    assert says in str(result.exception)


@pytest.mark.parametrize("text", ["one", "=5", "one=many", "one=nan", "one=1e9"])
def test_an_anchor_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    append_vote(tmp_path / VOTES_FILE, cast("ada", "q", "one", "two", "first"))
    result = CliRunner().invoke(app, ["eval", "human", "--report", "--out", str(tmp_path), "--anchor", text])
    assert "expected --anchor MODEL=ELO" in str(result.exception)


def test_400_points_are_odds_of_ten_to_one() -> None:
    assert pytest.approx(400) == ELO_PER_LOGIT * np.log(10)


# --- Categories ------------------------------------------------------------------------------------------------------


def write_categories(path: Path, categories: list[str | None]) -> Path:
    rows = [
        {"id": str(n), "question": f"{n}?", "replies": {"a": "x", "b": "y"}} | ({"category": name} if name else {})
        for n, name in enumerate(categories)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_questions_without_the_wanted_categories_are_refused(tmp_path: Path) -> None:
    ten = [f"kind {n % 10}" for n in range(30)]
    check_categories(read_study([write_categories(tmp_path / "ten.jsonl", list(ten))]), 10)
    cases: dict[str, tuple[list[str | None], str]] = {
        "one without": ([*ten[:-1], None], "got none for 1 of 30"),
        "none at all": ([None] * 5, "got none for 5 of 5"),
        "nine": ([f"kind {n % 9}" for n in range(27)], "expected 10 categories .* got 9: kind 0 3"),
        "eleven": ([f"kind {n % 11}" for n in range(33)], "got 11"),
        "unequal": ([*ten, "kind 4"], "with equally many questions, got 10: .*kind 4 4"),
    }
    for name, (categories, says) in cases.items():
        path = write_categories(tmp_path / f"{name}.jsonl", categories)
        with pytest.raises(UsageError, match=says):
            check_categories(read_study([path]), 10)
        error = CliRunner().invoke(app, ["eval", "human", str(path), "--categories", "10"]).exception
        assert isinstance(error, UsageError), name


def test_the_report_counts_every_category_and_says_what_sets_it_apart_from_the_paper(tmp_path: Path) -> None:
    def votes(categories: list[str]) -> list[Vote]:
        return [cast("ada", f"q{n}", "a", "b", OUTCOMES[n % 5], name) for n, name in enumerate(categories)]

    ten = [f"kind {n % 10}" for n in range(20)]
    remarks = {
        "": ten,
        "12 questions have no category; in the Molmo paper's study every question has one of ten": ["uncategorized"]
        * 12,
        "2 categories of questions; the Molmo paper's study has 10": ["x", "y"] * 5,
        "1 category of questions; the Molmo paper's study has 10": ["x"] * 5,
        "2 to 4 questions in a category: those with more count more in the ratings": [*ten, "kind 3", "kind 3"],
    }
    for remark, categories in remarks.items():
        assert rate(votes(categories), resamples=20)["category_remark"] == remark
    figures = rate(votes([*ten, "uncategorized"]), resamples=20)
    counts = figures["category_counts"]
    assert counts["kind 4"] == {"questions": 2, "votes": 2, "dont_know": 2}
    assert counts["uncategorized"]["votes"] == 1
    sheet = sheets_of(figures)[-1]
    assert ["kind 4", "2", "2", "2"] in sheet.rows
    assert sheet.note.startswith("1 questions have no category")
    page = write_report(tmp_path, figures).read_text()
    # A category in which nobody had an opinion has its row, too.
    assert '<tr><td>kind 4</td><td class="n">2</td><td class="n">2</td><td class="n">2</td>' in page
    assert "have no category" in page
