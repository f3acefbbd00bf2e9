"""What workers ask of a cluster's machines fits on them, and a connection to Ray leaves nothing behind."""

import signal
from typing import Any

import pytest

from molmo_agent.interrupts import ENDING_SIGNALS
from molmo_agent.rollout.ray_map import map_on_ray, ray_session, share_of

HEAD = {"CPU": 0.0}
GPU_ONLY = {"GPU": 1.0}
LAPTOP = {"CPU": 8.0}
SERVER = {"CPU": 64.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("machines", "count", "share"),
    [
        ([LAPTOP], 3, (2, 0)),
        ([LAPTOP, LAPTOP], 2, (8, 0)),
        # Half of all processors, but no machine has as many twice.
        ([{"CPU": 5.0}, {"CPU": 3.0}], 2, (3, 0)),
        ([{"CPU": 2.0}], 5, (1, 0)),
        ([HEAD, GPU_ONLY, GPU_ONLY], 2, (0, 1)),
        # The processors are on the machine without GPUs.
        ([LAPTOP, GPU_ONLY], 1, (0, 1)),
        ([SERVER], 4, (16, 1)),
        ([SERVER, {"CPU": 4.0, "GPU": 1.0}], 5, (4, 1)),
        ([SERVER], 5, (12, 0)),
        ([{"CPU": 4.0, "GPU": 0.5}], 1, (4, 0)),
        ([HEAD], 1, (1, 0)),
    ],
)
def test_every_worker_fits_on_a_machine(machines: list[dict[str, float]], count: int, share: tuple[int, int]) -> None:
    assert share_of(machines, count) == share


@pytest.mark.dependencies
@pytest.mark.slow
@pytest.mark.timeout(300)  # Ray starts many processes
def test_a_session_ends_what_it_started_and_restores_signal_handlers() -> None:
    import ray

    before: dict[int, Any] = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    assert map_on_ray(abs, [-3]) == [3]
    assert not ray.is_initialized()
    with ray_session(None):
        with ray_session("an address that nobody needs"):
            pass
        assert ray.is_initialized(), "the inner session did not start it"
    assert not ray.is_initialized()
    assert {number: signal.getsignal(number) for number in ENDING_SIGNALS} == before
