"""What one server accepts: sizes, counts and times. Everything beyond is answered with an error."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a server; each request is held to all of them."""

    # Of a request, with its image as base64.
    max_body_bytes: int = 32_000_000
    # Of a decoded image: 8K is 33 million.
    max_pixels: int = 40_000_000
    # Of an instruction or a question.
    max_text_chars: int = 4_000
    # Of a reply in words.
    max_new_tokens: int = 1_024
    # Questions that wait for one model; the next one is answered with 429.
    max_queue: int = 256
    # Questions about one image that the model answers in one batch.
    max_batch: int = 32
    # Decoded images that are kept for later questions about them.
    image_cache_bytes: int = 256_000_000
    # Connections at the same time; the next one is answered with 503.
    max_connections: int = 512
    # Seconds for the headers of a request, for its body, for its answer, for the next request of a connection, and for
    # the last answers when the server ends.
    headers_s: float = 10.0
    body_s: float = 30.0
    answer_s: float = 120.0
    keep_alive_s: float = 30.0
    drain_s: float = 30.0
