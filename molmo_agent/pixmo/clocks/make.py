"""Makes shards of PixMo-Clocks: a table of times, and the images that its reader looks up by ``example_id``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from molmo_agent.files import whole_file
from molmo_agent.pixmo.clocks.design import BODIES, Body, Clock, plain, sample_clock
from molmo_agent.pixmo.clocks.draw import SIDE, draw_clock, draw_close
from molmo_agent.pixmo.shards import Shard, Written, write_rows

_QUALITY = 92


def clock_row(clock: Clock) -> dict[str, Any]:
    """Return the row of a clock, in the columns of the reader."""
    return {
        "example_id": f"{clock.body.name}/{clock.seed:09d}",
        "hour_visible": clock.time.hour,
        "minute_visible": clock.time.minute,
        "second_visible": clock.time.second if clock.face.seconds != "none" else 0,
        "text": clock.text,
    }


def make_clocks(
    shard: Shard, *, side: int = SIDE, close: bool = False, easy: bool = False, bodies: Sequence[Body] = BODIES
) -> Written:
    """Draw the clocks of a shard and write its table.

    Args:
        shard: the file and its seeds.
        side: width and height of the images in pixels.
        close: whether the images are cut to the clocks; see :func:`draw_close`.
        easy: whether all that makes a clock hard to read is left out; see :func:`plain`.
        bodies: to draw.
    """
    images = Path(shard.path).parents[1] / "images"
    rows = []
    for seed in shard.seeds:
        clock = sample_clock(seed, bodies)
        clock = plain(clock) if easy else clock
        row = clock_row(clock)
        path = images / f"{row['example_id']}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            draw = draw_close if close else draw_clock
            PIL.Image.fromarray(draw(clock, side)).save(part, "JPEG", quality=_QUALITY)
        rows.append(row)
    write_rows(shard.path, rows)
    return Written(shard, len(rows), ())
