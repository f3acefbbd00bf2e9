"""A chat server on this machine that answers, and that misbehaves on request."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass
class Raw:
    """An answer as it goes over the wire."""

    body: bytes | str
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def completion(message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    """Return a chat completion with one message."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


class Server:
    """Serves chat completions. ``plan`` says what the next requests meet: a status, a word, an answer.

    ``reply`` is the text of the answers, ``models`` the names that it lists (None: no list at all).
    """

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.reply = ' <point x="25.0" y="50.0" alt="a">a</point>'
        # Makes the text of an answer from the request, in place of ``reply``.
        self.decide: Callable[[dict[str, Any]], str] | None = None
        self.models: list[str] | None = None
        self.api = "/v1"
        self.busy = self.most = 0
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                """Say nothing."""

            def send(self, status, body, kind="application/json", **headers):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if outer.models is None or self.path != f"{outer.api}/models":
                    self.send(404, b"<html><h1>404 page not found</h1></html>", "text/html")
                else:
                    rows = [{"id": name, "object": "model"} for name in outer.models]
                    self.send(200, json.dumps({"object": "list", "data": rows}).encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    what = outer.plan.pop(0) if outer.plan else "ok"
                    outer.busy += 1
                    outer.most = max(outer.most, outer.busy)
                self.body = body
                try:
                    self.meet(what)
                except (BrokenPipeError, ConnectionResetError):
                    return
                finally:
                    with lock:
                        outer.busy -= 1

            def meet(self, what):
                if what == "slow":
                    time.sleep(1.0)
                if what == "cut":
                    self.connection.close()
                elif what == "cut within":
                    self.send_response(200)
                    self.send_header("content-length", "5000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [')
                    self.close_connection = True
                elif what == "drip":
                    self.send_response(200)
                    self.send_header("content-length", "100000")
                    self.end_headers()
                    for _ in range(200):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        time.sleep(0.05)
                elif what == "html":
                    self.send(200, b"<html>Welcome</html>", "text/html")
                elif isinstance(what, Raw):
                    data = what.body if isinstance(what.body, bytes) else what.body.encode()
                    self.send(what.status, data, what.kind, **what.headers)
                elif isinstance(what, dict):
                    self.send(200, json.dumps(what).encode())
                elif isinstance(what, int):
                    self.send(what, json.dumps({"error": {"message": f"no, {what}"}}).encode())
                else:
                    if what == "linger":
                        time.sleep(0.2)
                    text = outer.decide(self.body) if outer.decide else outer.reply
                    self.send(200, json.dumps(completion({"content": text})).encode())

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def sent_image(self, index: int = -1) -> Image.Image:
        """Return the image of a request."""
        picture = self.seen[index][2]["messages"][0]["content"][0]
        return Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].partition(",")[2])))

    def question(self, index: int = -1) -> str:
        """Return the text of a request."""
        return self.seen[index][2]["messages"][0]["content"][1]["text"]

    def close(self) -> None:
        """Stop serving."""
        self.http.shutdown()
        self.http.server_close()
