"""Write the trajectory folder: observations, decisions, actions and effects; it is readable at any time.

    meta.json      schema, task, env, policy, guards, versions            written first
    000000.png     the observation; equal images are stored once          complete or absent
    steps.jsonl    one line per step, on disk before the next step begins
    result.json    success, why it ended, the final image                 absent if the process was killed

A thread encodes the images while the policy decides. After a secret was typed, the stored images are covered wherever
the screen differs from the last capture before it: a pixel that has not changed since cannot show the secret.

A record that fails on the way, because the disk is full or the folder was removed, does not end a run: what can be
written is written, and ``problem`` names the first failure.
"""

import contextlib
import datetime
import hashlib
import json
import math
import os
import platform
import re
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.actions import action_to_dict
from molmo_agent.episode import Image, Observation, Step
from molmo_agent.errors import EnvError, MolmoAgentError, UsageError
from molmo_agent.rollout.cover import cover
from molmo_agent.rollout.screen_changes import changed_cells

SCHEMA = "molmo-agent-trajectory"
SCHEMA_VERSION = 1
# Of what describes a run, what people wrote. The rest is made by this package, and is not searched for secrets: what
# looks like one in a hash, a date or a file's name is none.
_FREE_TEXT = ("task", "options")
# Of longer arrays in `info` the record holds only type and shape.
_MAX_ARRAY = 1000
_MAX_DEPTH = 40
_MAX_INT_BITS = 1024


def encode_png(image: Image) -> bytes:
    """Return an RGB image as a PNG file, losslessly.

    Fixed "up" row filters and the fastest compression: 40 ms for a 1920x1080 screen where Pillow, which tries all
    five filters on every row, takes 90 ms for a file of the same size.
    """
    height, width = image.shape[:2]
    rows = np.empty((height, width * 3 + 1), np.uint8)
    rows[:, 0] = 2  # the "up" filter: the difference from the row above
    pixels = image.reshape(height, -1)
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits per channel, RGB
    body = zlib.compress(rows.data, level=1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def plain(value: Any) -> Any:
    """Return a value as JSON types; an `info` dictionary may contain anything, and no value raises an error."""
    return _plain(value, ())


def _plain(value: Any, outer: tuple[int, ...]) -> Any:
    """Return a value as JSON types; ``outer`` holds the ids of the containers around it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        # Python refuses to write much longer ones in decimal digits, and JSON knows no others.
        return value if value.bit_length() <= _MAX_INT_BITS else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if id(value) in outer or len(outer) >= _MAX_DEPTH:
        problem = "that contains itself" if id(value) in outer else f"more than {_MAX_DEPTH} levels deep"
        return f"{type(value).__name__} {problem}"
    inside = (*outer, id(value))
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else _words(key, str): _plain(item, inside) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, inside) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item(), inside)
    if isinstance(value, np.ndarray):
        short = value.size <= _MAX_ARRAY
        return _plain(value.tolist(), inside) if short else f"array of {value.dtype}, shape {value.shape}"
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name, None), inside) for field in fields(value)}
    return _words(value, repr)


def _words(value: Any, form: Callable[[Any], str]) -> str:
    try:
        return form(value)
    # Every exception: the object's own code runs here.
    except Exception as error:
        return f"{type(value).__name__} that cannot be written: {type(error).__name__}"


def _json(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent)
    # A reply may hold half a surrogate pair; its escape is JSON too.
    return text.encode("utf-8", "backslashreplace")


def default_folder(instruction: str, root: str | Path = "trajectories") -> Path:
    """Return ``trajectories/20250131-184500-click-the-save-button``: a name by the second, for ``or_beside``."""
    slug = re.sub(r"[^a-z0-9]+", "-", instruction.lower()).strip("-")[:40].rstrip("-") or "task"
    return Path(root) / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{slug}"


def _versions() -> dict[str, str]:
    """Return the versions that matter for reproducing a run; heavy packages only if the run has loaded them."""
    modules = {
        name: sys.modules[name] for name in ("molmo_agent", "numpy", "torch", "transformers") if name in sys.modules
    }
    versions = {name: str(getattr(module, "__version__", "unknown")) for name, module in modules.items()}
    return versions | {"python": platform.python_version(), "platform": platform.platform()}


class Recorder:
    """Writes one episode into one new folder.

    Args:
        folder: must not exist yet; its parents are created.
        or_beside: if it exists, by ``start`` at the latest, take the next free name: ``folder-2``, ``folder-3``.

    Raises:
        UsageError: the folder exists.
    """

    def __init__(self, folder: str | Path, *, or_beside: bool = False) -> None:
        self.folder, self._or_beside = Path(folder), or_beside
        if self.folder.exists() and not or_beside:
            raise UsageError(f"{self.folder} exists already and is not overwritten: name another folder")
        self._problem = ""
        self._scrub: Callable[[Any], Any] = lambda value: value
        self._encoder: ThreadPoolExecutor | None = None
        self._last_image: Image | None = None
        self._image_record: Future[dict[str, Any]] | None = None
        self._baseline: Image | None = None
        self._count = 0
        # Two threads finish the record of a run whose own thread hangs.
        self._finishing = threading.Lock()

    @property
    def problem(self) -> str:
        """Why the record is not complete, the first reason; empty if it is."""
        return self._problem

    def start(self, run: Mapping[str, Any], scrub: Callable[[Any], Any]) -> None:
        """Create the folder and write ``meta.json``.

        Args:
            run: the task, the names of env and policy, seed and guards.
            scrub: takes secrets out of the free text that is written: tasks, replies, typed text, what envs report.

        Raises:
            UsageError: the folder cannot be created.
            EnvError: it cannot be written to.
        """
        self._scrub = scrub
        try:
            self._make_folder()
        except FileExistsError as error:
            raise UsageError(f"{self.folder} exists already and is not overwritten: name another folder") from error
        except OSError as error:
            raise UsageError(f"cannot create the trajectory folder {self.folder}: {error.strerror}") from error
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        start_time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "created": start_time}
        described = {name: self._free(value) if name in _FREE_TEXT else plain(value) for name, value in run.items()}
        self._write("meta.json", _json({**head, **described, "versions": _versions()}, indent=2))
        self._append(b"")

    def _make_folder(self) -> None:
        """Create the folder, which another run may do at the same moment."""
        first, number = self.folder, 1
        while True:
            try:
                return self.folder.mkdir(parents=True)
            except FileExistsError:
                if not (self._or_beside and self.folder.parent.is_dir()):
                    raise
                number += 1
                self.folder = first.with_name(f"{first.name}-{number}")

    def cover_changes_since(self, before: Image) -> None:
        """Cover all later images wherever they differ from ``before``; called before a secret is typed."""
        if self._baseline is None:
            self._baseline = before

    def observe(self, index: int, observation: Observation) -> None:
        """Start to store the observation that the policy decides on next."""
        assert self._encoder is not None, "start() comes first"
        image = observation.image
        if self._image_record is not None and self._last_image is not None and np.array_equal(self._last_image, image):
            return
        self._last_image, self._image_record = image, None
        with self._noting():
            self._image_record = self._encoder.submit(self._encode, f"{index:06d}.png", image, self._baseline)

    def write(self, step: Step) -> None:
        """Append a step, once its image is stored; without the image if that failed."""
        with self._noting():
            self._append(_json(self._line(step)) + b"\n")
        self._count += 1

    def _line(self, step: Step) -> dict[str, Any]:
        observation, result = step.observation, step.decision.result
        width, height = observation.size
        return {
            "index": step.index,
            "observation": {
                **(self._stored_image() or {"file": None, "width": width, "height": height}),
                "transform": observation.transform.to_dict(),
                "info": self._free(observation.info),
            },
            "instruction": self._free(step.decision.instruction),
            "result": None if result is None else plain(asdict(self._scrub(result))),
            "action": plain(action_to_dict(self._scrub(step.action))),
            "effect": step.effect,
            "refused": self._free(str(step.refused or "")),
            "refusal_kind": step.refused.kind if step.refused else None,
            "dry_run": step.dry_run,
            "plan": None if step.decision.plan is None else plain(asdict(self._scrub(step.decision.plan))),
            "reward": step.reward,
            "terminated": step.terminated,
            "truncated": step.truncated,
            "info": self._free(step.info),
            "times_s": {part: round(seconds, 6) for part, seconds in step.times_s.items()},
        }

    def _stored_image(self) -> dict[str, Any] | None:
        """Wait until the last observed image is stored; None if that failed: then the next one is tried again."""
        with self._noting():
            if self._image_record is not None:
                return self._image_record.result()
        self._last_image = None
        return None

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Note a failure and go on."""
        try:
            yield
        # Every exception: whatever fails here, the run matters more than its record.
        except Exception as error:
            own = isinstance(error, MolmoAgentError)
            problem = self._scrub(str(error) if own else f"{type(error).__name__}: {error}")
            # The first problem is the cause of the later ones.
            self._problem = self._problem or problem

    def finish(self, final: Observation | None, *, success: bool | None, ended: str) -> None:
        """Write ``result.json`` with the last image; nothing if the episode never started or is finished already."""
        if self._encoder is None or not self._finishing.acquire(blocking=False):
            return
        try:
            image = None
            if final is not None:
                self.observe(self._count, final)
                image = self._stored_image()
            with self._noting():
                result = {"success": success, "ended": self._free(ended), "steps": self._count, "final": image}
                self._write("result.json", _json(result, indent=2))
        finally:
            self._encoder.shutdown()
            self._encoder = None

    def _encode(self, name: str, image: Image, baseline: Image | None) -> dict[str, Any]:
        covered_share = 0.0
        if baseline is not None:
            cells = changed_cells(baseline, image)
            image, covered_share = cover(image, cells), 1.0 if cells is None else round(float(cells.mean()), 4)
        data = encode_png(np.ascontiguousarray(image))
        self._write(name, data)
        height, width = image.shape[:2]
        digest = hashlib.sha256(data).hexdigest()
        return {"file": name, "sha256": digest, "width": width, "height": height, "covered": covered_share}

    def _free(self, value: Any) -> Any:
        """Return free text as JSON types without secrets."""
        return self._scrub(plain(value))

    def _write(self, name: str, data: bytes) -> None:
        """Write a complete file or none, even if the process is killed."""
        part = self.folder / f".{name}.part"
        try:
            part.write_bytes(data)
            os.replace(part, self.folder / name)
        except OSError as error:
            # On a full disk, the steps need the room of an image that did not fit.
            with contextlib.suppress(OSError):
                part.unlink()
            raise EnvError(f"cannot write {self.folder / name}: {error.strerror}") from error

    def _append(self, data: bytes) -> None:
        """Append all of the data or nothing: half a line would hide the lines after it."""
        path, size = self.folder / "steps.jsonl", None
        try:
            with path.open("ab", buffering=0) as file:
                size = file.tell()
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
        except OSError as error:
            if size is not None:
                with contextlib.suppress(OSError):
                    os.truncate(path, size)
            raise EnvError(f"cannot write {path}: {error.strerror}") from error
