"""Conversations: the roles that Molmo knows, pictures from everywhere, and nothing rendered as if all were well."""

import base64
import http.server
import io
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_images import golden_image
from jinja2.exceptions import TemplateError
from PIL import Image

from molmo_agent.errors import ImageError
from molmo_agent.model.prompts import role_prompt
from molmo_agent.nano.architecture import nano_processor

PROCESSOR = nano_processor()
PIXELS = golden_image(60, 80, 1)


def chat(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def test_turns_are_rendered_as_in_training() -> None:
    end = PROCESSOR.tokenizer.eos_token
    text = [{"type": "image"}, {"type": "text", "text": "where"}, {"type": "text", "text": "is it?"}]
    rendered = [
        (chat(("user", "q")), {}, " User: q"),
        (chat(("user", "q")), {"add_generation_prompt": True}, role_prompt("q")),
        (chat(("user", text)), {"add_generation_prompt": True}, role_prompt("where is it?")),
        (chat(("user", "")), {"add_generation_prompt": True}, role_prompt("")),
        (chat(("user", "q"), ("assistant", "a")), {}, f" User: q Assistant: a{end}"),
        (
            chat(("user", "q"), ("assistant", "a"), ("user", "r")),
            {"add_generation_prompt": True},
            f" User: q Assistant: a{end} User: r Assistant:",
        ),
        (chat(("system", "Be brief."), ("user", "q")), {}, " User: Be brief. q"),
        (chat(("developer", [{"type": "text", "text": "vqa2:"}]), ("user", "q")), {}, " User: vqa2: q"),
        (chat(("user", "q"), ("assistant", "it is")), {"continue_final_message": True}, " User: q Assistant: it is"),
    ]
    wrong = []
    for conversation, options, expected in rendered:
        for part in (PROCESSOR, PROCESSOR.tokenizer):
            got = part.apply_chat_template(conversation, tokenize=False, **options)
            if got != expected:
                wrong.append((got, expected))
    assert not wrong


def test_what_molmo_was_not_trained_on_is_refused() -> None:
    tool = {"type": "function", "function": {"name": "click", "parameters": {}}}
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (chat(("user", "a"), ("user", "b")), {}, "message 2 is of the role user; join messages"),
        (chat(("assistant", "b")), {}, "message 1 is of the role assistant"),
        (chat(("user", "a"), ("assistant", "b"), ("assistant", "c")), {}, "message 3 is of the role assistant"),
        (chat(("user", "a"), ("tool", "b")), {}, "message 2 is of the role tool"),
        (chat(("user", "a"), ("assistant", "b"), ("system", "c")), {}, "message 3 is of the role system"),
        (chat(("user", "a"), ("narrator", "c")), {}, "message 2 is of the role narrator"),
        (chat(("system", "b")), {}, "a message of the role user after the system message"),
        (chat(("user", [{"type": "video", "path": "a.mp4"}])), {}, "got a part of type video"),
        (chat(("user", "q"), ("assistant", [{"type": "image"}])), {}, "expected images in messages of the user"),
        (chat(("user", None)), {}, "expected content in each message, got none in message 1"),
        (chat(("user", "q")), {"tools": [tool]}, "Molmo knows no tools"),
        (chat(("user", "q"), ("assistant", "b")), {"add_generation_prompt": True}, "set continue_final_message=True"),
        (
            [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [tool]}],
            {},
            "no tools",
        ),
    ]
    for conversation, options, message in refused:
        for part in (PROCESSOR, PROCESSOR.tokenizer):
            with pytest.raises(TemplateError, match=message):
                part.apply_chat_template(conversation, tokenize=False, **options)


def test_only_answers_are_marked_for_the_loss() -> None:
    conversation = chat(("user", [{"type": "image", "image": PIXELS}, {"type": "text", "text": "one"}]))
    conversation += chat(("assistant", "two"), ("user", "three"), ("assistant", "four"))
    inputs = PROCESSOR.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = inputs["input_ids"][0].tolist(), inputs["assistant_masks"][0]
    marked = PROCESSOR.tokenizer.decode([id_ for id_, answer in zip(ids, mask, strict=True) if answer])
    assert marked == f" two{PROCESSOR.tokenizer.eos_token} four{PROCESSOR.tokenizer.eos_token}"


@pytest.fixture
def address() -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/a.png" else 404)
            self.end_headers()
            self.wfile.write(png() if self.path == "/a.png" else b"none")

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_pictures_come_from_wherever_people_have_them(address: str, tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(png())
    coded = base64.b64encode(png()).decode()
    parts: list[dict[str, Any]] = [
        {"image": PIXELS},
        {"image": Image.fromarray(PIXELS)},
        {"image": str(path)},
        {"path": str(path)},
        {"url": path.as_uri()},
        {"url": f"{address}/a.png"},
        {"url": f"data:image/png;base64,{coded}"},
        {"base64": coded},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded}"}},
        {"type": "image_url", "image_url": f"{address}/a.png"},
    ]
    expected = PROCESSOR(images=PIXELS, text=role_prompt("q"))
    wrong = []
    for part in parts:
        conversation = chat(("user", [{"type": "image", **part}, {"type": "text", "text": "q"}]))
        options = {"tokenize": True, "return_dict": True, "add_generation_prompt": True}
        got = PROCESSOR.apply_chat_template(conversation, **options)
        if any((got[name] != expected[name]).any() for name in expected):
            wrong.append(part)
    assert not wrong


def test_chats_of_a_batch_keep_their_own_pictures() -> None:
    part = {"type": "image", "image": PIXELS}
    chats = [chat(("user", [part, {"type": "text", "text": "a b c"}])), chat(("user", "no picture"))]
    got = PROCESSOR.apply_chat_template(chats, tokenize=True, return_dict=True, add_generation_prompt=True)
    expected = PROCESSOR(images=[PIXELS, None], text=[role_prompt("a b c"), role_prompt("no picture")])
    assert all((got[name] == expected[name]).all() for name in expected)


def test_a_part_without_its_picture_is_refused(address: str) -> None:
    options = {"tokenize": True, "return_dict": True}

    def asked(part: dict[str, Any], **more: Any) -> None:
        content = [{"type": "image", **part}, {"type": "text", "text": "q"}]
        PROCESSOR.apply_chat_template(chat(("user", content)), **options, **more)

    for part in ({}, {"file": "a.png"}, {"image": PIXELS, "url": f"{address}/a.png"}):
        with pytest.raises(ValueError, match="expected the picture of an image part under one of image, url"):
            asked(part)
    with pytest.raises(ImageError, match=r"cannot fetch the picture http.*404"):
        asked({"url": f"{address}/b.png"})
    with pytest.raises(ImageError, match="expected a picture in base64"):
        asked({"base64": "!!"})
    with pytest.raises(ImageError, match="there is no file"):
        asked({"path": "/nowhere/a.png"})
    with pytest.raises(ValueError, match="in the conversation or as images=, got both"):
        asked({"image": PIXELS}, processor_kwargs={"images": [PIXELS]})
    asked({}, processor_kwargs={"images": [PIXELS]})
