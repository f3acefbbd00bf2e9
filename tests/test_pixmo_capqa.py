"""Conversations from captions: varied, answerable from the caption, read back by the reader."""

import random

import pytest

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.errors import DataError, UsageError
from molmo_agent.pixmo.capqa import Turn, conversation, is_answerable, make_capqa, turns_by_rules
from molmo_agent.pixmo.tables import image_url, new_folder, store_image, write_split

PARTS = ("train", "validation")
SHELF = (
    "A wooden shelf in a kitchen holds three red mugs and a blue teapot. On the left, there is a small plant in a "
    "white pot. In the background, two windows are open. A sign above the shelf reads \u201cFRESH COFFEE\u201d. The "
    "red and white flag is next to the door. There is a cat under the table."
)
STOP = "The red car drives past. Five people are waiting at a bus stop, with 2 black dogs on leashes. They wear coats."
SETTINGS = 'This is a settings window. There are four green buttons at the bottom. The title reads "Network".'


class TestAnswerable:
    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("How many mugs are there?", "Three."),
            ("How many mugs are there?", "There are 3 red mugs."),
            ("What does the sign read?", '"Fresh Coffee"'),
            ("What is under the table?", "A cat."),
            ("Is there a cat?", "Yes."),
            ("Which colour is the teapot?\nA. red\nB. blue", "B"),
        ],
    )
    def test_what_the_caption_says(self, question, answer):
        assert is_answerable(SHELF, Turn(question, answer))

    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("How many mugs are there?", "Four."),
            ("What colour is the door?", "Green."),
            ("What is under the table?", "A dog."),
            ("Is there a dog?", "Yes."),
            ("What time is it?", "The caption does not say."),
            ("What time is it?", "It is not mentioned."),
            ("Who owns the shelf?", ""),
            ("", "A cat."),
            ("Which colour is the teapot?\nA. green\nB. blue", "A"),
            ("Which colour is the teapot?\nA. green\nB. blue", "C"),
            # Said, but of something else.
            ("How many cats are under the table?", "Three."),
            ("What colour is the cat?", "Blue."),
        ],
    )
    def test_what_it_does_not_say(self, question, answer):
        assert not is_answerable(SHELF, Turn(question, answer))


class TestRules:
    def test_numbers_colours_and_texts_are_those_of_the_caption(self):
        asked = {}
        for seed in range(60):
            for text in (SHELF, STOP, SETTINGS):
                for turn in turns_by_rules(text, random.Random(seed)):
                    assert is_answerable(text, turn), turn
                    asked.setdefault(turn.question.split("\n")[0], set()).add(turn.answer)
        assert asked["How many black dogs are there?"] >= {"2.", "There are 2 black dogs."}
        assert asked["What colour is the flag?"] >= {"Red and white."}
        assert asked["What text can be read?"] == {'"FRESH COFFEE"', '"Network"'}
        assert not [question for question in asked if "drives" in question]
        assert len(asked) > 25

    def test_the_same_seed_writes_the_same(self):
        assert conversation(SHELF, random.Random(3)) == conversation(SHELF, random.Random(3))
        assert len({str(conversation(SHELF, random.Random(seed))) for seed in range(20)}) > 15


class Model:
    def __init__(self, reply):
        self.reply = reply

    def write(self, role, prompt):
        assert role == "question-writer"
        assert "wooden shelf" in prompt
        return self.reply


def captions(folder, texts):
    new_folder(folder, "pixmo-cap")
    urls = [image_url(store_image(folder, f"image {i}".encode())) for i in range(len(texts))]
    rows = [{"image_url": url, "caption": text, "transcripts": []} for url, text in zip(urls, texts, strict=True)]
    write_split(folder, "pixmo-cap", rows)
    return folder


class TestTheDataSet:
    def test_the_reader_gets_every_conversation_with_its_image(self, tmp_path):
        import PIL.Image

        folder = new_folder(tmp_path / "cap", "pixmo-cap")
        rows = []
        for i, text in enumerate([SHELF, STOP, SETTINGS] * 4):
            PIL.Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / "a.png")
            url = image_url(store_image(folder, (tmp_path / "a.png").read_bytes()))
            rows.append({"image_url": url, "caption": text, "transcripts": [text]})
        write_split(folder, "pixmo-cap", rows)
        num_rows, num_turns, rejected = make_capqa(folder, tmp_path / "qa", seed=1)
        assert (num_rows, rejected) == (12, 0)
        sources = [Source(kind="pixmo-cap-qa", path=str(tmp_path / "qa"), options={"part": p}) for p in PARTS]
        questions = [question for source in sources for question in open_source(source).questions()]
        assert len(questions) == 12
        assert sum(len(question.extra["turns"]) // 2 for question in questions) == num_turns > 12

    def test_of_a_language_model_only_supported_turns_are_kept(self, tmp_path):
        good, bad = '{"question": "How many mugs?", "answer": "Three."}', '{"question": "Who?", "answer": "My uncle."}'
        folder = captions(tmp_path / "cap", [SHELF])
        model = Model(f"Here they are:\n[{good}, {bad}]")
        assert make_capqa(folder, tmp_path / "qa", seed=0, writer=model) == (1, 1, 1)

    @pytest.mark.parametrize("reply", ["", "I cannot.", "[1, 2]", '[{"question": "a"}]', '[{"question": '])
    def test_an_unusable_reply_is_reported(self, tmp_path, reply):
        folder, lines = captions(tmp_path / "cap", [SHELF]), []
        with pytest.raises(UsageError, match="gave a question that it answers"):
            make_capqa(folder, tmp_path / "qa", seed=0, writer=Model(reply), report=lines.append)
        assert len(lines) == 1
        assert lines[0].startswith("caption 0: ")
        with pytest.raises(DataError):
            conversation(SHELF, random.Random(0), Model(reply))
