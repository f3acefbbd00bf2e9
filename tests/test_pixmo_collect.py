"""A collection without its page: agreement, the log, what the server refuses, recordings, answers, the export."""

import asyncio
import io
import json
import sys
import wave

import numpy as np
import pytest
from pixmo_page import draw_images

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.errors import DataError, MissingExtraError, ModelError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.pixmo.ask_anything import Context, answer, explanation, readable
from molmo_agent.pixmo.cap import RATE, Pocketsphinx, caption, clean, read_recording
from molmo_agent.pixmo.collect.export import export_project
from molmo_agent.pixmo.collect.project import Project
from molmo_agent.pixmo.collect.tasks import Helpers, Questions, Speech
from molmo_agent.pixmo.points import agree, match, points_row

SQUARE = (100, 100)


def points(*pairs):
    return tuple(Point(x, y) for x, y in pairs)


class TestAgreement:
    def test_the_order_does_not_matter_and_the_middle_counts(self):
        first, second = points((0.1, 0.1), (0.9, 0.9)), points((0.92, 0.9), (0.1, 0.12))
        verdict = agree({"Ada": first, "Ben": second}, SQUARE)
        np.testing.assert_allclose([(p.x, p.y) for p in verdict.points], [(0.1, 0.11), (0.91, 0.9)])

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (points((0.1, 0.1)), points((0.1, 0.1), (0.5, 0.5))),
            (points((0.1, 0.1)), ()),
            (points((0.1, 0.1)), points((0.9, 0.1))),
            # Neighbours: the second one means the next target.
            (points((0.1, 0.1), (0.2, 0.1)), points((0.1, 0.1), (0.3, 0.1))),
        ],
    )
    def test_other_targets_are_a_dispute(self, first, second):
        assert agree({"Ada": first, "Ben": second}, SQUARE).points is None

    def test_distances_are_those_of_the_image_not_of_its_fractions(self):
        wide = (1000, 100)
        assert match(points((0.5, 0.1)), points((0.5, 0.9)), wide) == [0]
        assert match(points((0.1, 0.5)), points((0.9, 0.5)), wide) is None

    def test_most_annotators_win_and_a_tie_is_a_dispute(self):
        near, far = points((0.2, 0.2)), points((0.8, 0.8))
        assert agree({"A": near, "B": far, "C": near}, SQUARE).points == near
        assert agree({"A": near, "B": far, "C": near, "D": far}, SQUARE).points is None
        assert agree({"A": (), "B": ()}, SQUARE).points == ()

    def test_the_file_has_percent_with_one_decimal(self):
        row = points_row("u", "s", "a cup", points((0.12345, 1.0)), "pointing")
        assert row["points"] == [{"x": 12.3, "y": 100.0}]
        assert row["count"] == 1


@pytest.fixture
def project(tmp_path):
    draw_images(tmp_path, {"a.png": (80, 60), "b.png": (60, 80)})
    opened = Project(tmp_path)
    yield opened
    opened.close()


def item_of(project, name="a.png"):
    return next(item for item in project.items.values() if item.name == name)


class TestTheFolder:
    def test_it_resumes_with_the_last_answer_of_each_annotator(self, project):
        for x in (0.2, 0.4):
            project.save_points("Ada", item_of(project), " the  cup ", [[x, 0.5]])
        project.save_points("Ben", item_of(project), "The cup", [[0.41, 0.5]])
        project.save_points("Ben", item_of(project), "a fork", [])
        project.delete_points("Ben", item_of(project), "a fork")
        project.close()
        again = Project(project.folder)
        answers = again.answers(item_of(again))
        again.close()
        assert {key: sorted(by) for key, by in answers.items()} == {"the cup": ["Ada", "Ben"]}
        assert answers["the cup"]["Ada"].points == points((0.4, 0.5))

    def test_a_new_answer_reopens_what_was_settled(self, project):
        item = item_of(project)
        project.save_points("Ada", item, "cup", [[0.1, 0.1]])
        project.save_points("Ben", item, "cup", [])
        project.save_points("Cleo", item, "cup", [], settled=True)
        assert project.verdict(item, "cup").points == ()
        project.save_points("Ben", item, "cup", [[0.9, 0.9]])
        assert project.verdict(item, "cup").points is None

    @pytest.mark.parametrize(
        ("label", "places", "message"),
        [
            ("", [[0.1, 0.1]], "expected a name for what you point at of 1 to 200 visible characters, got ''"),
            ("a\u202eb", [], "visible characters"),
            (None, [], "expected a name"),
            ("cup", [[1.2, 0.1]], r"expected points \[x, y\] within the image"),
            ("cup", [[float("nan"), 0.1]], "within the image"),
            ("cup", [0.1, 0.2], "within the image"),
            ("cup", "ab", "expected a list of at most 2000 points"),
            ("cup", [[0.1, 0.1], [0.1004, 0.1]], "two points are at the same place"),
        ],
    )
    def test_a_wrong_answer_is_refused_and_not_written(self, project, label, places, message):
        with pytest.raises(UsageError, match=message):
            project.save_points("Ada", item_of(project), label, places)
        assert not (project.folder / "annotations.jsonl").exists()

    def test_no_images_a_second_process_and_a_damaged_log_are_errors(self, project, tmp_path):
        with pytest.raises(UsageError, match="another process collects in"):
            Project(project.folder)
        project.close()
        (project.folder / "annotations.jsonl").write_text('{"task": "sing"}\n')
        with pytest.raises(DataError, match="expected an annotation in line 1"):
            Project(project.folder)
        with pytest.raises(UsageError, match=r"expected images in .*none/images; make that folder"):
            Project(tmp_path / "none")
        (tmp_path / "empty/images").mkdir(parents=True)
        with pytest.raises(UsageError, match="found none that can be read"):
            Project(tmp_path / "empty")

    def test_unreadable_and_equal_images_are_reported(self, tmp_path):
        draw_images(tmp_path, {"a.png": (80, 60)})
        (tmp_path / "images/copy.png").write_bytes((tmp_path / "images/a.png").read_bytes())
        (tmp_path / "images/broken.jpg").write_bytes(b"\xff\xd8nothing")
        lines = []
        Project(tmp_path, lines.append).close()
        assert sorted(line.split(":")[0] for line in lines) == ["skipped broken.jpg", "skipped copy.png"]

    def test_an_export_replaces_an_export_and_nothing_else(self, project, tmp_path):
        project.close()
        with pytest.raises(UsageError, match="there is nothing to export"):
            export_project(tmp_path, tmp_path / "out", method="pointing", least=1, report=print)
        again = Project(tmp_path)
        again.save_points("Ada", item_of(again), "cup", [[0.5, 0.5]])
        again.close()
        foreign = tmp_path / "foreign/pixmo-points"
        foreign.mkdir(parents=True)
        (foreign / "letter.txt").write_text("mine")
        with pytest.raises(UsageError, match="expected a new folder or an earlier export"):
            export_project(tmp_path, tmp_path / "foreign", method="pointing", least=1, report=print)
        for _ in range(2):
            result = export_project(tmp_path, tmp_path / "out", method="counting", least=1, report=print)
            assert result.rows["pixmo-points"] == 1
        source = Source(kind="pixmo-points", path=str(tmp_path / "out/pixmo-points"), options={"method": "counting"})
        assert [question.points for question in open_source(source).questions()] == [points((0.5, 0.5))]
        with pytest.raises(UsageError, match="2 annotators pointed at it"):
            export_project(tmp_path, tmp_path / "two", method="pointing", least=2, report=print)
        with pytest.raises(UsageError, match="expected the method pointing or counting, got 'guessing'"):
            export_project(tmp_path, tmp_path / "odd", method="guessing", least=1, report=print)


class TestTheServer:
    PORT = 8123

    @pytest.fixture
    def call(self, project):
        pytest.importorskip("starlette")
        from molmo_agent.pixmo.collect.app import make_app
        from molmo_agent.pixmo.collect.task_routes import task_routes

        app = make_app(project, "secret", self.PORT, task_routes(project, Helpers()))

        def call(method, path, body=b"", **headers):
            given = {"host": f"127.0.0.1:{self.PORT}", "cookie": f"pixmo-{self.PORT}=secret", **headers}
            path, _, query = path.partition("?")
            scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": ""}
            scope |= {"query_string": query.encode(), "http_version": "1.1", "scheme": "http", "asgi": {}}
            scope |= {"headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items()]}
            sent = []

            async def receive():
                return {"type": "http.request", "body": body, "more_body": False}

            async def send(message):
                sent.append(message)

            asyncio.run(app(scope, receive, send))
            text = b"".join(message.get("body", b"") for message in sent)
            return sent[0]["status"], dict(sent[0]["headers"]), text

        return call

    def test_the_token_of_the_address_becomes_a_cookie_of_this_site_alone(self, call):
        status, headers, _ = call("GET", "/?token=secret", cookie="")
        assert (status, headers[b"location"]) == (303, b"/")
        assert b"HttpOnly" in headers[b"set-cookie"]
        assert b"SameSite=strict" in headers[b"set-cookie"]
        status, headers, text = call("GET", "/")
        assert status == 200
        assert b"default-src 'self'" in headers[b"content-security-policy"]
        assert b"main.js" in text

    @pytest.mark.parametrize(
        ("method", "headers", "status", "message"),
        [
            ("GET", {"cookie": ""}, 403, "open the address that agent pixmo collect printed"),
            ("GET", {"cookie": f"pixmo-{PORT}=guess"}, 403, "expected the token"),
            ("GET", {"host": "evil.example"}, 421, "expected the Host 127.0.0.1"),
            ("GET", {"host": f"127.0.0.1:{PORT + 1}"}, 421, "expected the Host"),
            ("POST", {"origin": "https://evil.example"}, 403, "expected a request of this server's own page"),
            ("POST", {"origin": "null"}, 403, "own page"),
            ("POST", {"origin": f"http://127.0.0.1:{PORT + 1}"}, 403, "own page"),
            ("POST", {"content_type": "text/plain"}, 400, "expected a body of type application/json, got 'text/plain'"),
            ("POST", {"content_type": "application/x-www-form-urlencoded"}, 400, "expected a body of type"),
        ],
    )
    def test_strangers_are_refused_and_change_nothing(self, call, project, method, headers, status, message):
        item = item_of(project).sha256
        body = json.dumps({"annotator": "Eve", "item": item, "label": "cup", "points": []}).encode()
        got, _, text = call(method, "/api/points" if method == "POST" else "/", body, **headers)
        assert got == status
        assert message in json.loads(text)["error"]
        assert project.records == []

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"annotator": ""}, "expected the name of the annotator"),
            ({"item": "../../etc/passwd"}, "expected an image of this collection, got '../../etc/passwd'"),
            ({"task": "sing"}, "expected the task points or count, got 'sing'"),
            ({"points": None}, "expected a list"),
            (["no object"], "expected an object"),
        ],
    )
    def test_a_wrong_request_says_what_was_expected(self, call, project, values, message):
        right = {"annotator": "Ada", "item": item_of(project).sha256, "label": "cup", "points": []}
        body = json.dumps({**right, **values} if isinstance(values, dict) else values).encode()
        status, _, text = call("POST", "/api/points", body, content_type="application/json")
        assert status == 400
        assert message in json.loads(text)["error"]

    def test_no_file_of_the_machine_is_served(self, call):
        for path in ("/page/../app.py", "/page/app.py", "/api/images/..%2f..", "/api/images/x", "/images/a.png"):
            assert call("GET", path)[0] in (400, 404), path

    def test_an_animation_is_shown_as_its_first_picture(self, call, project, tmp_path):
        import PIL.Image

        from molmo_agent.pixmo.collect.views import image_file

        frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
        for name in ("a.gif", "a.png", "a.webp"):
            folder = tmp_path / f"moving-{name}"
            (folder / "images").mkdir(parents=True)
            frames[0].save(folder / "images" / name, save_all=True, append_images=frames[1:])
            moving = Project(folder)
            data, media_type = image_file(item_of(moving, name))
            moving.close()
            with PIL.Image.open(io.BytesIO(data)) as shown:
                assert (media_type, getattr(shown, "n_frames", 1)) == ("image/png", 1), name


def wav(seconds, *, level=8000, channels=1, rate=RATE):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        tone = level * np.sin(np.arange(int(seconds * rate) * channels) / 9)
        file.writeframes(tone.astype("<i2").tobytes())
    return out.getvalue()


class TestSpeech:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"OggS....", "expected a recording as a WAV file"),
            (b"", "expected a recording as a WAV file"),
            (wav(1, channels=2), "expected one channel of 16 bits at 16000 Hz, got 2"),
            (wav(1, rate=8000), "at 8000"),
            (wav(1, level=0), "the recording is silent"),
            (wav(0), "the recording is silent"),
        ],
    )
    def test_what_is_no_recording_is_refused(self, data, message):
        with pytest.raises(UsageError, match=message):
            read_recording(data)

    def test_a_short_recording_is_refused_and_a_long_one_is_its_receipt(self, project):
        speech = Speech(project, Helpers(least_seconds=2))
        with pytest.raises(UsageError, match=r"expected a recording of at least 2 seconds, got 1\.0: go on"):
            speech.keep(wav(1))
        kept = speech.keep(wav(3))
        assert kept["seconds"] == 3.0
        with pytest.raises(UsageError, match="expected a recording that was uploaded before"):
            speech.save("Ada", item_of(project), "a wall", "../../etc/passwd")
        speech.save("Ada", item_of(project), "a wall", kept["audio"])
        assert project.records[-1]["audio"] == kept["audio"]

    @pytest.mark.parametrize(
        ("said", "written"),
        [
            ("um there is a a cup on the on the table", "There is a cup on the table."),
            ("So yeah, two dogs. they bark.", "Two dogs. they bark."),
            ("a very very large tree, uh, in the middle", "A very very large tree, in the middle."),
            ("A red cup. Um, i see a plate. So yeah, it's white.", "A red cup. I see a plate. It's white."),
            ("Uh. Two cups. Um, um.", "Two cups."),
            ("i think i see a dog", "I think I see a dog."),
            ("Er, the sign says \u201cStop\u201d", "The sign says \u201cStop\u201d"),
        ],
    )
    def test_hesitation_and_repetition_go(self, said, written):
        assert clean(said) == written

    def test_what_two_people_say_is_said_once(self):
        merged = caption(["There is a red cup on the table.", "A red cup is on the wooden table. It rains outside."])
        assert merged == "A red cup is on the wooden table. It rains outside."

    def test_a_language_model_merges_and_its_silence_is_an_error(self):
        class Merger:
            reply = " One caption. "

            def write(self, role, prompt):
                assert role == "merger"
                assert "Speaker 2: two" in prompt
                return self.reply

        assert caption(["one", "two"], Merger()) == "One caption."
        Merger.reply = " "
        with pytest.raises(ModelError, match="got an empty reply"):
            caption(["one", "two"], Merger())

    def test_a_missing_recogniser_names_its_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pocketsphinx", None)
        with pytest.raises(MissingExtraError, match=r"recognising speech needs the extra 'speech': pip install"):
            Pocketsphinx()

    def test_the_recogniser_hears_no_words_in_a_tone(self):
        pytest.importorskip("pocketsphinx")
        assert len(Pocketsphinx().transcribe(read_recording(wav(1)).samples).split()) < 4


class TestQuestions:
    def test_a_rejected_answer_does_not_come_back(self):
        context = Context("A dog sleeps. A red cup is on the table. Two windows are open.", ("EXIT",))
        rejected = []
        for _ in range(4):
            text = answer("Where is the cup?", context, rejected, None)
            assert text not in {old for old, _ in rejected}
            rejected.append((text, "no"))
        assert rejected[0][0] == "A red cup is on the table."
        with pytest.raises(ModelError, match="there is no other answer"):
            answer("Where is the cup?", context, rejected, None)

    def test_a_language_model_gets_what_was_wrong_and_never_the_image(self, project):
        prompts = []

        class Answerer:
            def write(self, role, prompt):
                prompts.append(prompt)
                return f"Answer {len(prompts)} at [[the disc]]"

        questions = Questions(project, Helpers(writer=Answerer()))
        item = item_of(project)
        values = {"question": "How many?", "places": {"the disc": [[0.123456, 0.5]]}}
        draft = questions.ask("Ada", item, values)
        draft = questions.ask("Ada", item, {"thread": draft["thread"], "issue": "too short"})
        assert "What is wrong: too short" in prompts[1]
        assert "- the disc (1)" in prompts[0]
        with pytest.raises(UsageError, match="expected a question of yours"):
            questions.accept("Ben", item, draft["thread"])
        questions.accept("Ada", item, draft["thread"])
        with pytest.raises(UsageError, match="that is still open"):
            questions.ask("Ada", item, {"thread": draft["thread"], "issue": "again"})
        project.close()
        export_project(project.folder, project.folder / "out", method="pointing", least=1, report=print)
        path = str(project.folder / "out/pixmo-point-explanations")
        (question,) = open_source(Source(kind="pixmo-point-explanations", path=path)).questions()
        assert question.answers == ("Answer 2 at <|POINT|>",)
        (place,) = question.extra["inline"][0].points
        assert (place.x, place.y) == pytest.approx((0.123, 0.5))

    def test_places_that_nobody_set_stay_words(self):
        assert explanation("See [[the cup]].", {"a fork": points((0.1, 0.1))}) is None
        columns = explanation("[[Cup]] and [[spoon]]", {"cup": points((0.1, 0.1))})
        assert columns["parsed_response"] == "<|POINT|> and spoon"
        assert readable("[[Cup]] and [[spoon]]") == columns["response"] == "Cup and spoon"
