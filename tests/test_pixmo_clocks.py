"""Clocks: every body and face at any time, drawn the same for the same seed, read back by the reader."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_data import opened, turns

from molmo_agent.errors import UsageError
from molmo_agent.pixmo.clocks.design import BODIES, HANDS, INDICES, NUMERALS, Clock, Time, sample_clock
from molmo_agent.pixmo.clocks.draw import draw_clock
from molmo_agent.pixmo.clocks.make import clock_row, make_clocks
from molmo_agent.pixmo.shards import make_shards, shards_of


def plain(seed: int, time: Time) -> Clock:
    """Return a clock that stands upright in even light, at a time."""
    clock = sample_clock(seed)
    photo = replace(clock.photo, turn_degrees=0.0, tilt=(0.0, 0.0), dx=0.0, dy=0.0, reflection=0.0, blur=0.0, noise=0.0)
    return replace(clock, photo=photo, time=time, face=replace(clock.face, sub_dials=(), seconds="none", date=False))


def test_there_are_at_least_fifty_bodies_and_each_is_drawn_differently() -> None:
    assert len({*BODIES}) >= 50
    base = plain(3, Time(10, 10, 0))
    images = {draw_clock(replace(base, body=body), 64).tobytes() for body in BODIES}
    # Round watches and round wall clocks of one finish differ by their strap.
    assert len(images) == len(BODIES)


def test_samples_cover_all_designs_and_times() -> None:
    clocks = [sample_clock(seed) for seed in range(3000)]
    assert {clock.body for clock in clocks} == {*BODIES}
    assert {clock.face.numerals for clock in clocks} == {*NUMERALS}
    assert {clock.face.indices for clock in clocks} == {*INDICES}
    assert {clock.face.hands for clock in clocks} == {*HANDS}
    assert {clock.face.seconds for clock in clocks} == {"none", "centre", "sub"}
    assert {clock.time.hour for clock in clocks} == {*range(1, 13)}
    assert {clock.time.minute for clock in clocks} == {*range(60)}
    assert {clock.time.second for clock in clocks} == {*range(60)}
    assert len({repr(clock.face) for clock in clocks}) == 3000


def hand_angle(first: np.ndarray, second: np.ndarray, centre: float) -> float:
    """Return where two images differ, as degrees clockwise from 12 around the centre."""
    y, x = np.nonzero(np.abs(first.astype(int) - second.astype(int)).max(axis=2) > 40)
    far = np.hypot(x - centre, y - centre) > 8
    return float(np.degrees(np.arctan2(np.mean(x[far] - centre), -np.mean(y[far] - centre))) % 360)


@pytest.mark.parametrize("seed", [1, 5, 11, 40])
def test_the_hands_point_where_the_time_says(seed: int) -> None:
    # The hour hand stays within half a degree for a minute: two images differ by the minute hand alone.
    clock = plain(seed, Time(12, 0, 0))
    face = replace(clock.face, hand=(255, 0, 255), dial=(250, 250, 250), brand="", hand_width=0.05)
    for minute in (10, 20, 35, 50):
        pictures = []
        for color in ((255, 0, 255), (0, 0, 0)):
            one = replace(clock, time=Time(12, minute, 0), face=replace(face, hand=color, hour_length=0.1))
            pictures.append(draw_clock(one, 200))
        turned = abs(hand_angle(*pictures, 100.0) - minute * 6)
        assert min(turned, 360 - turned) < 6, f"minute {minute}"


def test_the_same_seed_gives_the_same_picture_and_others_another_one() -> None:
    first, again, other = (draw_clock(sample_clock(seed)) for seed in (7, 7, 8))
    assert first.shape == (320, 320, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_seconds_are_in_the_text_if_a_hand_shows_them() -> None:
    clock = sample_clock(0)
    texts = [
        replace(clock, time=Time(3, 5, 9), face=replace(clock.face, seconds=seconds)).text
        for seconds in ("none", "centre", "sub")
    ]
    assert texts == ["3:05", "3:05:09", "3:05:09"]
    assert clock_row(replace(clock, face=replace(clock.face, seconds="none")))["second_visible"] == 0


def test_the_reader_of_clocks_reads_them_back(tmp_path: Path) -> None:
    list(make_shards(make_clocks, shards_of(tmp_path, "train", 5, 12, 5)))
    data = opened("pixmo-clocks", tmp_path)
    assert data.problems.entries == []
    assert len(data) == 12
    answers = {turns(data, number)[0][1] for number in range(12)}
    assert answers == {f"The time shown is {sample_clock(seed).text}" for seed in range(5, 17)}
    image = data.row(0, 0).image
    assert image is not None
    assert image().shape == (320, 320, 3)


def test_a_stopped_run_is_resumed_and_ends_with_the_same_files(tmp_path: Path) -> None:
    whole, stopped = (shards_of(tmp_path / name, "train", 0, 9, 3) for name in ("whole", "stopped"))
    list(make_shards(make_clocks, whole))
    next(make_shards(make_clocks, stopped))
    made = [done.shard.seeds.start for done in make_shards(make_clocks, stopped)]
    assert made == [3, 6]
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.*")) for n in ("whole", "stopped")]
    assert files[0] == files[1]
    assert all((tmp_path / "whole" / p).read_bytes() == (tmp_path / "stopped" / p).read_bytes() for p in files[0])


def test_a_run_without_rows_is_refused(tmp_path: Path) -> None:
    for first, count, rows in ((0, 0, 1), (0, 1, 0), (-1, 1, 1)):
        with pytest.raises(UsageError, match="expected at least 1 row"):
            shards_of(tmp_path, "train", first, count, rows)
