"""Makes shards of PixMo-Clocks: a table of times, and the images that its reader looks up by ``example_id``."""

from pathlib import Path
from typing import Any

import PIL.Image

from molmo_agent.files import whole_file
from molmo_agent.pixmo.clocks.design import Clock, sample_clock
from molmo_agent.pixmo.clocks.draw import SIDE, draw_clock
from molmo_agent.pixmo.shards import Shard, Written, write_rows

_QUALITY = 92


def clock_row(clock: Clock) -> dict[str, Any]:
    """Return the row of a clock, in the columns of the reader."""
    body = clock.body
    return {
        "example_id": f"{body.silhouette}-{body.finish}/{clock.seed:09d}",
        "hour_visible": clock.time.hour,
        "minute_visible": clock.time.minute,
        "second_visible": clock.time.second if clock.face.seconds != "none" else 0,
        "text": clock.text,
    }


def make_clocks(shard: Shard, *, side: int = SIDE) -> Written:
    """Draw the clocks of a shard and write its table."""
    images = Path(shard.path).parents[1] / "images"
    rows = []
    for seed in shard.seeds:
        clock = sample_clock(seed)
        row = clock_row(clock)
        path = images / f"{row['example_id']}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            PIL.Image.fromarray(draw_clock(clock, side)).save(part, "JPEG", quality=_QUALITY)
        rows.append(row)
    write_rows(shard.path, rows)
    return Written(shard, len(rows), ())
