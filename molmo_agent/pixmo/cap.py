"""Captions from speech: a recording, its transcript, and the caption that several transcripts become."""

import array
import io
import re
import sys
import threading
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from molmo_agent.errors import MissingExtraError, ModelError, UsageError
from molmo_agent.pixmo.language_model.prompts import prompt
from molmo_agent.pixmo.language_model.writer import Writer
from molmo_agent.pixmo.words import overlap, sentences

QUESTIONS = (
    "What is this, at first sight?",
    "Which objects are there, and how many of each?",
    "Which text can be read?",
    "Where is each thing?",
    "Which small details does one notice only later?",
    "What is behind everything else?",
    "Which colours and which style does it have?",
)
"""What a description covers; the page shows them to whoever speaks."""

RATE = 16_000
"""Samples per second of a recording."""

# Speakers repeat themselves in other words; above this share two sentences say the same.
_SAME = 0.8
_FILLERS = re.compile(
    r"(?<!\w)(?:u+[hm]+|e+r+m?|a+h+|hm+|you know|i mean|kind of like|okay so|so yeah|let me see|let's see)(?!\w)[,.]*",
    re.IGNORECASE,
)
_REPEATED = re.compile(r"(?<!\w)(\w+(?:\s\w+){0,3})(?:[,\s]+\1)+(?!\w)", re.IGNORECASE)
# Twice in a row on purpose.
_TWICE = frozenset({"very", "that", "had"})


class Recogniser(Protocol):
    """Turns speech into text."""

    name: str

    def transcribe(self, samples: bytes) -> str:
        """Return what is said in samples of 16 bits, one channel, ``RATE`` a second."""
        ...


class Pocketsphinx:
    """A recogniser of English that needs no network: its package brings the model. It mishears many words.

    Raises:
        MissingExtraError: the package is not installed.
    """

    name = "pocketsphinx"

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingExtraError("recognising speech", "speech") from error
        # One decoder, several requests at a time.
        self._mutex = threading.Lock()
        self._decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")

    def transcribe(self, samples: bytes) -> str:
        """Return what is said, in lower case and without punctuation.

        Raises:
            ModelError: the recogniser failed.
        """
        with self._mutex:
            try:
                self._decoder.start_utt()
                self._decoder.process_raw(samples, full_utt=True)
                self._decoder.end_utt()
            except RuntimeError as error:
                raise ModelError(f"the recogniser failed on the recording: {error}; type the transcript") from error
            said = self._decoder.hyp()
        return said.hypstr if said else ""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording: 16 bits, one channel, ``RATE`` samples a second."""

    samples: bytes
    seconds: float


def read_recording(data: bytes) -> Recording:
    """Read a WAV file as the page makes it.

    Raises:
        UsageError: this is another format, or all of it is silent.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise UsageError(f"expected a recording as a WAV file, got something else: {error}") from error
    if shape != (1, 2, RATE):
        raise UsageError(
            f"expected one channel of 16 bits at {RATE} Hz, got {shape[0]} of {8 * shape[1]} at {shape[2]}"
        )
    # The header may promise more than there is: only samples count.
    values = array.array("h", samples[: len(samples) // 2 * 2])
    if sys.byteorder == "big":
        values.byteswap()
    if not values or max(map(abs, values[:: max(len(values) // 100_000, 1)])) < 50:
        raise UsageError("the recording is silent: choose another microphone, and record again")
    return Recording(samples, len(values) / RATE)


def _fluent(sentence: str) -> str:
    text = " ".join(_FILLERS.sub(" ", sentence).split())
    text = _REPEATED.sub(lambda same: same[0] if same[1].casefold() in _TWICE else same[1], text)
    text = re.sub(r"\bi(?=['\u2019 ])", "I", text)
    return re.sub(r"\s+([,.!?;:])", r"\1", text).strip(" ,;")


def clean(transcript: str) -> str:
    """Return a transcript without hesitation and repeated words, as sentences."""
    # Sentences first: behind "Um, " the next one begins in lower case, and would be taken for a part of the last.
    parts = [text[0].upper() + text[1:] for sentence in sentences(transcript) if (text := _fluent(sentence))]
    if parts and parts[-1][-1] not in ".!?\"'\u201d":
        parts[-1] += "."
    return " ".join(parts)


def caption(transcripts: Sequence[str], writer: Writer | None = None) -> str:
    """Return the caption of an image from what people said about it.

    Args:
        transcripts: one for each speaker.
        writer: a language model; without one, the sentences are cleaned, and those that say the same are merged.

    Raises:
        ModelError: the language model gave no reply.
    """
    if writer is not None:
        told = "\n\n".join(f"Speaker {number}: {text}" for number, text in enumerate(transcripts, 1))
        reply = writer.write("merger", prompt("caption_v1", transcripts=told)).strip()
        if not reply:
            raise ModelError("expected a caption of the language model, got an empty reply; try again")
        return reply
    kept: list[str] = []
    for text in transcripts:
        for sentence in sentences(clean(text)):
            same = next((i for i, other in enumerate(kept) if overlap(sentence, other) >= _SAME), None)
            if same is None:
                kept.append(sentence)
            elif len(sentence) > len(kept[same]):
                kept[same] = sentence
    return " ".join(kept)
