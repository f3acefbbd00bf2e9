"""Videos of recorded episodes: GIF without extra packages, MP4 where ffmpeg is installed."""

import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from molmo_agent.child_environment import child_environment
from molmo_agent.errors import EnvError, UnknownNameError, UsageError
from molmo_agent.files import whole_file
from molmo_agent.images import write_gif
from molmo_agent.rollout.viewer import GIF_NAME, render_frames

KINDS = ("gif", "mp4")
MP4_NAME = "trajectory.mp4"
_SECONDS_PER_FRAME = 1.2


def find_ffmpeg() -> str:
    """Return the path of ffmpeg: the system's, or the one in the package imageio-ffmpeg.

    Raises:
        UsageError: there is none.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None and importlib.util.find_spec("imageio_ffmpeg") is not None:
        ffmpeg = str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    if ffmpeg is None:
        raise UsageError(
            "--video mp4 needs ffmpeg on PATH or the package imageio-ffmpeg; install one of them, or use --video gif"
        )
    return ffmpeg


def check_kind(kind: str) -> None:
    """Reject a kind of film that cannot be made on this machine, before any episode runs.

    Raises:
        UnknownNameError: there is no such kind.
        UsageError: its program is not installed.
    """
    if kind not in KINDS:
        raise UnknownNameError("video", kind, KINDS)
    if kind == "mp4":
        find_ffmpeg()


def write_film(folder: str | Path, kind: str) -> Path:
    """Write a film of a trajectory folder into it, one frame per step with its points, and return its path.

    Raises:
        UsageError: this is not a trajectory folder, or the film cannot be made or written here.
        EnvError: ffmpeg failed.
    """
    check_kind(kind)
    frames = render_frames(folder)
    path, write = (Path(folder) / GIF_NAME, write_gif) if kind == "gif" else (Path(folder) / MP4_NAME, _write_mp4)
    try:
        with whole_file(path) as part:
            write(frames, part, _SECONDS_PER_FRAME)
    except OSError as error:
        raise UsageError(f"cannot write the film {path}: {error.strerror or error}") from error
    return path


def _write_mp4(frames: Sequence[PIL.Image.Image], path: Path, seconds: float) -> None:
    width, height = frames[0].size
    command = [find_ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", f"{1 / seconds:.6f}", "-i", "-"]
    # Players need even sides and this pixel format.
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-r", "10", "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)]
    pixels = b"".join(np.asarray(frame.convert("RGB")).tobytes() for frame in frames)
    process = subprocess.run(command, input=pixels, capture_output=True, check=False, env=child_environment())
    if process.returncode != 0:
        film = path.with_name(MP4_NAME)  # it is written under another name first
        raise EnvError(f"ffmpeg could not write {film}: {process.stderr.decode(errors='replace').strip()[-400:]}")
