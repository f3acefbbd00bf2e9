"""Scores for reading the time of a clock."""

import re

from molmo_agent.evaluation.metrics.reference import ReferenceFailure

_TIME = re.compile(r"([0-9]{1,2})\s*:\s*([0-9]{1,2})(?:\s*:\s*([0-9]{1,2}))?(?:\s*([ap])\.?m\b)?", re.IGNORECASE)


def clock(
    reply: str, hour: int, minute: int, second: int = -1, *, bench: bool, reference_quirks: bool = False
) -> dict[str, bool]:
    """Return the scores that apply to a reply, by the reference's names for them.

    ``hour_correct``, ``minute_correct``, ``minute_close``; ``second_correct`` and ``second_close`` where the clock has
    seconds; ``all_correct`` and ``all_close``, which are also ``overall_exact`` and ``overall_close``. A clock without
    a time has ``correctly_declines_to_answer`` and the overall ones: right is a reply without a colon.

    Close is within 1 minute on the benchmark, else within 3 (and 3 seconds), across full hours too.

    Args:
        reply: the model's text.
        hour: 0 to 23; on the benchmark the dial alone counts, so 12 is 0 and 15 is 3. -1 for a clock without a time.
        minute: 0 to 59, and 60 is 0; -1 as above.
        second: 0 to 59; -1 where the clock has none.
        bench: score as the benchmark (12 hours, tolerance 1) instead of a training set.
        reference_quirks: 59 minutes apart is close in the same hour, one minute apart is not across a full hour except
            from 12:00 to 11:59, 12 PM is 24 o'clock, and a full stop hides the number before it.

    Raises:
        ReferenceFailure: with ``reference_quirks``, the hour or the minute is unreadable on the benchmark.
    """
    if max(hour, minute, second) < 0:
        declines = ":" not in reply
        return {"correctly_declines_to_answer": declines} | dict.fromkeys(("overall_close", "overall_exact"), declines)
    if bench:
        hour, minute = (0 if hour == 12 else hour), (0 if minute == 60 else minute)
    scores = (_reference_scores if reference_quirks else _scores)(reply, hour, minute, second, bench)
    return scores | {"overall_exact": scores["all_correct"], "overall_close": scores["all_close"]}


def _apart(first: int, second: int, around: int) -> int:
    """Return the distance of two numbers on a dial."""
    return min((first - second) % around, (second - first) % around)


def _scores(reply: str, hour: int, minute: int, second: int, bench: bool) -> dict[str, bool]:
    seconds = () if second < 0 else ("second_correct", "second_close")
    time = _TIME.search(reply)
    if time is None:
        names = ("hour_correct", "minute_correct", "minute_close", *seconds, "all_correct", "all_close")
        return dict.fromkeys(names, False)
    hours, tolerance = (12, 1) if bench else (24, 3)
    found_hour, found_minute, found_second = int(time[1]), int(time[2]), -1 if time[3] is None else int(time[3])
    if time[4]:
        found_hour = found_hour % 12 + 12 * (time[4] in "pP")
    elif found_hour == 12 and hour == 0:
        found_hour = 0
    minutes_apart = _apart(found_hour * 60 + found_minute, hour * 60 + minute, hours * 60)
    scores = {
        "hour_correct": found_hour % hours == hour % hours,
        "minute_correct": found_minute % 60 == minute % 60,
        "minute_close": _apart(found_minute, minute, 60) <= tolerance,
        "all_correct": minutes_apart == 0,
        "all_close": minutes_apart <= tolerance,
    }
    if seconds:
        correct = found_second == second
        close = found_second >= 0 and _apart(found_second, second, 60) <= tolerance
        scores |= {"second_correct": correct, "second_close": close}
        scores["all_correct"] &= correct
        scores["all_close"] &= close
    return scores


def _reference_scores(reply: str, hour: int, minute: int, second: int, bench: bool) -> dict[str, bool]:
    tolerance = 1 if bench else 3
    parts = reply.split(":")
    found_hour, found_minute, found_second = _word(parts, 0, -1), _word(parts, 1, 0), _word(parts, 2, 0)
    if found_hour is not None:
        found_hour += 12 * ("PM" in reply and not bench)
        found_hour -= 12 * (found_hour >= 12 and bench)
    if found_minute == 60 and bench:
        found_minute = 0
    off = None if found_minute is None else abs(found_minute - minute)
    hour_correct = found_hour == hour or (hour == 0 and found_hour == 12)
    minute_correct, minute_close = off == 0, off is not None and (off <= tolerance or (bench and off == 59))
    scores = {"hour_correct": hour_correct, "minute_correct": minute_correct, "minute_close": minute_close}
    correct, close = hour_correct and minute_correct, hour_correct and minute_close
    if second != -1:
        second_close = found_second is not None and abs(found_second - second) <= tolerance
        scores |= {"second_correct": found_second == second, "second_close": second_close}
        correct, close = correct and found_second == second, close and second_close
    elif bench and not close:
        if found_hour is None or found_minute is None:
            raise ReferenceFailure("UnboundLocalError", "the hour or the minute is unreadable")
        close = abs(hour * 60 + minute - found_hour * 60 - found_minute) == 719
    return scores | {"all_correct": correct, "all_close": close}


def _word(parts: list[str], part: int, word: int) -> int | None:
    try:
        return int(parts[part].split()[word])
    except (ValueError, IndexError):
        return None
