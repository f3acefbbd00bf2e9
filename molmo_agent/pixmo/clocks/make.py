"""Makes shards of PixMo-Clocks: a table of times, and the images that its reader looks up by ``example_id``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from molmo_agent.files import whole_file
from molmo_agent.pixmo.clocks.design import BODIES, Body, Clock, plain, sample_clock
from molmo_agent.pixmo.clocks.draw import draw_clock, draw_close
from molmo_agent.pixmo.shards import Shard, Written, write_rows

FORMS = ("whole", "close", "plain")
"""Photos; cut to the clock and small; and of plain clocks alone."""
CLOSE_SIDE = 96
"""Width and height of images that are cut to the clock."""
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


def make_clocks(shard: Shard, *, form: str = "whole", bodies: Sequence[Body] = BODIES) -> Written:
    """Draw the clocks of a shard and write its table.

    Args:
        shard: the file and its seeds.
        form: one of :data:`FORMS`.
        bodies: to draw.
    """
    images = Path(shard.path).parents[1] / "images"
    rows = []
    for seed in shard.seeds:
        clock = sample_clock(seed, bodies)
        clock = plain(clock) if form == "plain" else clock
        row = clock_row(clock)
        path = images / f"{row['example_id']}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            image = draw_clock(clock) if form == "whole" else draw_close(clock, CLOSE_SIDE)
            PIL.Image.fromarray(image).save(part, "JPEG", quality=_QUALITY)
        rows.append(row)
    write_rows(shard.path, rows)
    return Written(shard, len(rows), ())
