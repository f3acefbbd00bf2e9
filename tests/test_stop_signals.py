"""A run that is told to end saves first: Ctrl-C, kill, a closed terminal; afterwards all signals are as they were."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from tiny_training import small_run

from molmo_agent.errors import RunStopped, UsageError
from molmo_agent.interrupts import kept_handlers
from molmo_agent.train import on_ray
from molmo_agent.train.launch import run_here, run_workers, stop_signals
from molmo_agent.train.on_ray import STOP_FILE, run_on_ray

# Those of this platform.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
pytest_plugins = ("quick_ranks",)
pytestmark = [
    pytest.mark.usefixtures("quick_ranks"),
    pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at a signal from another one"),
]


@pytest.fixture(autouse=True)
def handlers_stay() -> Any:
    """Every test leaves the handlers that it found. These tests may have been started by nohup."""
    found = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    after = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in found.items():
        signal.signal(number, handler)
    assert after == before


def tell(number: int, step: int = 2) -> Any:
    """Return a callback that sends this process a signal after a step."""

    def on_step(record: dict[str, Any]) -> None:
        if record["step"] == step:
            os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_in_this_process_saves_at_every_signal(number: int, tmp_path: Path) -> None:
    config = small_run(tmp_path, checkpoint_every=100)
    with pytest.raises(RunStopped, match="stopped after step 2; the same command resumes"):
        run_here(config, tmp_path / "run", tell(number))
    assert (tmp_path / "run" / "latest").read_text().strip() == "step-000002"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_save_when_the_process_that_started_them_is_told_to_end(tmp_path: Path) -> None:
    # Its terminal was closed, and nobody told the workers.
    config = small_run(tmp_path, checkpoint_every=100, steps=2000)
    with pytest.raises(RunStopped, match=r"stopped after step \d+; the same command resumes"):
        run_workers(config, tmp_path / "run", 2, tell(signal.SIGHUP), threads=1)
    assert (tmp_path / "run" / "latest").read_text().startswith("step-")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop(), "as nohup asks"
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_only_a_second_ctrl_c_stops_at_once() -> None:
    calls: list[None] = []
    with stop_signals(lambda: calls.append(None)) as stop:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert stop()
        assert len(calls) == 4
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_of_the_main_thread_a_run_leaves_signals_alone(tmp_path: Path) -> None:
    steps: list[int] = []
    config = small_run(tmp_path, steps=1)
    thread = threading.Thread(target=lambda: steps.append(run_here(config, tmp_path / "run")))
    thread.start()
    thread.join(120)
    assert steps == [1]


def test_what_others_do_with_signals_is_undone() -> None:
    with kept_handlers() as handlers:
        assert set(handlers) >= set(SIGNALS)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
    # handlers_stay looks.


class FakeTrainer:
    """Stands for Ray's: it steps when told, and ends when the folder says so."""

    def __init__(self, folder: Path, steps: int, number: int | None) -> None:
        self.folder, self.steps, self.number = folder, steps, number

    def fit(self) -> str:
        assert threading.current_thread() is not threading.main_thread(), "there, Ray would answer Ctrl-C"
        if self.number is not None:
            os.kill(os.getpid(), self.number)
            while not (self.folder / STOP_FILE).exists():
                pass
        lines = "".join(f'{{"step": {step}, "loss": 1.0}}\n' for step in range(1, self.steps + 1))
        (self.folder / "metrics.jsonl").write_text(lines)
        return "done"


@pytest.mark.parametrize("number", SIGNALS)
def test_workers_on_ray_are_told_through_the_folder(number: int, tmp_path: Path) -> None:
    config = small_run(tmp_path)
    folder = tmp_path / "run"
    with pytest.raises(RunStopped, match="stopped after step 3"):
        on_ray._fit_on_ray(FakeTrainer(folder, 3, number), config, folder, None)
    assert not (folder / STOP_FILE).exists(), "or the next start would stop"
    (folder / STOP_FILE).touch()
    (folder / "metrics.jsonl").unlink()
    assert on_ray._fit_on_ray(FakeTrainer(folder, config.steps, None), config, folder, None) == "done"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_that_a_run_started_ends_with_it_and_takes_its_handlers_along(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra 'train'")
    if ray.is_initialized():
        pytest.skip("this process is connected to the tests' cluster")
    with pytest.raises(UsageError, match=r"expected a (CPU|GPU) for each of 100000 workers"):
        run_on_ray(small_run(tmp_path), tmp_path / "run", 100_000, None)
    assert not ray.is_initialized()
