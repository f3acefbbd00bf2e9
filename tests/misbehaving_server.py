"""A picture server on this machine that misbehaves as asked, and counts how many requests it has at once."""

import gzip
import io
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


def picture(number: int = 0) -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (number % 256, 90, 30)).save(file, "PNG")
    return file.getvalue()


@cache
def bomb(times: int) -> bytes:
    """Return 300 MB of zeros, compressed so many times."""
    stream = zlib.compressobj(9, wbits=31)
    data = b"".join(stream.compress(bytes(1_000_000)) for _ in range(300)) + stream.flush()
    for _ in range(times - 1):
        data = gzip.compress(data)
    return data


class Server(ThreadingHTTPServer):
    """Its paths say how it answers."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Handler)
        self.lock, self.now, self.most = threading.Lock(), 0, 0
        self.asked: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return an address on this server; "localhost" is another host by name."""
        return f"http://{host}:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up here on purpose."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        """Answer as the path says."""
        kind, _, rest = self.path.partition("?")[0].lstrip("/").partition("/")
        with self.server.lock:
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            self.server.asked[self.path] += 1
            self.server.times.append((self.path, time.monotonic()))
            self.server.headers.append(dict(self.headers))
        try:
            getattr(self, f"on_{kind}")(rest)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def on_good(self, rest: str) -> None:
        self.send(picture(int(rest or 0)))

    def on_busy(self, rest: str) -> None:
        time.sleep(0.05)
        self.on_good(rest)

    def on_chunked(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = picture()
        for part in (body[:20], body[20:]):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def drip(self, parts: bytes) -> None:
        """Send byte after byte, faster than any read timeout."""
        for byte in parts:
            if self.server.closing.wait(0.05):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def on_slow(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.drip(bytes(1000))

    def on_slowheader(self, _: str) -> None:
        self.drip(b"HTTP/1.1 200 " + b"x" * 1000)

    def on_silent(self, _: str) -> None:
        self.server.closing.wait(60)

    def on_endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.closing.is_set():
            self.wfile.write(bytes(10_000))

    def on_huge(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()

    def on_cut(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(picture())
        self.close_connection = True

    def on_reset(self, _: str) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()
        self.close_connection = True

    def on_missing(self, _: str) -> None:
        self.send(b"<html>gone</html>", 404)

    def on_html(self, _: str) -> None:
        self.send(b"<!doctype html><title>Please log in</title>", Content_Type="image/png")

    def on_empty(self, _: str) -> None:
        self.send(b"")

    def on_gzip(self, rest: str) -> None:
        """Send a picture compressed, with the named encoding; "cut/gzip" without its end."""
        encoding = rest.rpartition("/")[2]
        body = zlib.compress(picture(7)) if encoding == "deflate" else gzip.compress(picture(7))
        self.send(body[:-12] if rest.startswith("cut/") else body, Content_Encoding=encoding)

    def on_bomb(self, rest: str) -> None:
        """Send 300 MB as a few kilobytes, compressed as often as asked."""
        self.send(bomb(int(rest or 1)), Content_Encoding=", ".join(["gzip"] * int(rest or 1)))

    def on_image(self, rest: str) -> None:
        """Send a picture of width/height/number."""
        width, height, number = map(int, rest.split("/")[:3])
        file = io.BytesIO()
        Image.new("RGB", (width, height), (number, 9, 9)).save(file, "PNG")
        self.send(file.getvalue())

    def on_static(self, _: str) -> None:
        """Send the picture that a host shows for missing ones."""
        self.send(picture(99))

    def on_gone(self, _: str) -> None:
        self.send(b"", 302, Location="/static/image_removed.png")

    def on_loop(self, _: str) -> None:
        self.send(b"", 302, Location=self.path)

    def on_to(self, rest: str) -> None:
        self.send(b"", 302, Location=rest)

    def on_later(self, rest: str) -> None:
        """Answer 429 or 503 for the first time: /later/429/31536000, seconds of Retry-After."""
        status, _, wait = rest.partition("/")
        if self.server.asked[self.path] > 1 and wait != "31536000":
            self.on_good("")
        else:
            self.send(b"", int(status), **({"Retry_After": wait} if wait else {}))


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[Server]:
    """Run a server on a thread, at one of the addresses of this machine."""
    server = Server(address)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
