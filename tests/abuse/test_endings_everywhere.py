"""The endings of tests/test_endings.py, in every combination."""

import pytest
from desktop_screen import needs
from ending_runs import STREAMS, TASKS, check_lost_displays, check_streams


@needs("Xvfb", "ps")
@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hung"])
@pytest.mark.parametrize("turn", range(4))
def test_a_run_ends_in_order_whatever_it_does_when_its_display_is_lost(tmp_path, hangs, turn):
    kinds = sorted(TASKS)
    check_lost_displays(tmp_path / "a", kinds[:3], hangs=hangs)
    check_lost_displays(tmp_path / "b", kinds[3:], hangs=hangs)


@needs("bash")
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_no_stream_that_is_closed_or_narrow_crashes_a_run(tmp_path, options):
    check_streams(tmp_path, STREAMS, *options)
