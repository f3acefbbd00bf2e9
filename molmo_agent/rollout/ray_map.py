"""A connection to a Ray cluster, and a function mapped over items there; ``agent rollout --workers`` uses it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from molmo_agent.errors import EnvError, MissingExtraError, ModelError, MolmoAgentError, RunStopped, UsageError
from molmo_agent.interrupts import kept_handlers

# A worker's error is raised again as the first of these that it is an instance of. They decide the exit code.
_TRANSFERABLE = (UsageError, EnvError, ModelError, RunStopped, MolmoAgentError)

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine; end what was started, and leave no signal handlers.

    A process that is connected already stays so, and ``address`` is ignored.
    """
    import ray

    with kept_handlers():
        is_ours = not ray.is_initialized()
        if is_ours:
            ray.init(address or "local", log_to_driver=False)
        try:
            yield
        finally:
            if is_ours:
                ray.shutdown()


def share_of(machines: Sequence[Mapping[str, float]], count: int) -> tuple[int, int]:
    """Return how many processors and GPUs each of ``count`` workers asks for, so that all have a machine.

    A GPU where there is one for each; as many processors as every worker can have on its machine, at least one without
    a GPU. Machines may have GPUs and no processors to give.

    Args:
        machines: resources of each machine, under Ray's names.
        count: number of workers.
    """
    cpus = [int(machine.get("CPU", 0)) for machine in machines]
    gpus = [int(machine.get("GPU", 0)) for machine in machines]
    on_gpu = sum(gpus) >= count
    for share in range(max(cpus, default=0), 0, -1):
        rooms = [own // share for own in cpus]
        if sum(map(min, rooms, gpus) if on_gpu else rooms) >= count:
            return share, int(on_gpu)
    return (0, 1) if on_gpu else (1, 0)


def map_on_ray(
    function: Callable[[Item], Result], items: Sequence[Item], *, address: str | None = None
) -> list[Result]:
    """Call a function with each item, each call in a worker of its own, and return the results in order.

    What a worker asks for is decided by :func:`share_of`.

    Args:
        function: importable by the workers.
        items: one per worker.
        address: of a cluster; None starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        EnvError: a worker died.
        MolmoAgentError: a call raised it.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("more workers than one", "train") from error

    def call(item: Item) -> tuple[Result | None, tuple[type[MolmoAgentError], str] | None]:
        try:
            return function(item), None
        except MolmoAgentError as error:
            # Ray cannot carry errors that are made from more than their message.
            return None, (next(kind for kind in _TRANSFERABLE if isinstance(error, kind)), str(error))

    with ray_session(address):
        cpus, gpus = share_of([node["Resources"] for node in ray.nodes() if node["Alive"]], len(items))
        # Ray limits the threads of numerical libraries to the processors that a worker asked for.
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(call)
        try:
            answers = ray.get([remote.remote(item) for item in items])
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
            raise EnvError(f"a worker died (out of memory?): {error}; use fewer workers than {len(items)}") from error
    for _, failure in answers:
        if failure is not None:
            raise failure[0](failure[1])
    return [result for result, _ in answers]
