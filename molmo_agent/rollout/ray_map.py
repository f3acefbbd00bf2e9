"""Map a function over items on Ray workers; ``agent rollout --workers`` uses it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from molmo_agent.errors import EnvError, MissingExtraError, ModelError, MolmoAgentError, RunStopped, UsageError

# A worker's error is raised again as the first of these that it is an instance of. They decide the exit code.
_TRANSFERABLE = (UsageError, EnvError, ModelError, RunStopped, MolmoAgentError)

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_ray(
    function: Callable[[Item], Result], items: Sequence[Item], *, address: str | None = None
) -> list[Result]:
    """Call a function with each item, each call in a worker of its own, and return the results in order.

    A worker gets its share of the processors and a GPU where there is one for each.

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
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(address or "local", log_to_driver=False)
    try:
        share = max(int(ray.cluster_resources().get("CPU", 1)) // len(items), 1)
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= len(items) else 0

        def call(item: Item) -> tuple[Result | None, tuple[type[MolmoAgentError], str] | None]:
            try:
                return function(item), None
            except MolmoAgentError as error:
                # Ray cannot carry errors that are made from more than their message.
                return None, (next(kind for kind in _TRANSFERABLE if isinstance(error, kind)), str(error))

        # Ray limits the threads of numerical libraries to the processors that a worker asked for.
        remote = ray.remote(num_cpus=share, num_gpus=gpus, max_retries=0)(call)
        answers = ray.get([remote.remote(item) for item in items])
    except ray.exceptions.WorkerCrashedError as error:
        raise EnvError(f"a worker died (out of memory?): {error}; use fewer workers than {len(items)}") from error
    finally:
        if is_ours:
            ray.shutdown()
    for _, failure in answers:
        if failure is not None:
            raise failure[0](failure[1])
    return [result for result, _ in answers]
