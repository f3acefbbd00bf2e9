"""A Ray cluster of several machines on this one.

A head without processors, a machine with 4, and two machines that count as having a GPU each, and nothing else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# The head asks the machines often whether they live, so that the loss of one is known in a second.
OFTEN = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
MEMORY = 100 * 2**20
# Ray would start a worker for every processor before anybody asks for one.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# Ray Train looks after its workers every two seconds otherwise.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


class RayCluster:
    """The cluster, and this process's connection to it."""

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = ray
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": OFTEN}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.cluster.add_node(num_cpus=4, object_store_memory=2 * MEMORY)
        self.gpu_machines: list[Any] = []
        self.complete()

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self.cluster.address)

    def connect(self) -> None:
        """Connect this process, unless it is."""
        if not self._ray.is_initialized():
            self._ray.init(self.address, log_to_driver=False)

    def complete(self) -> None:
        """Add the machines with GPUs that were lost."""
        while len(self.gpu_machines) < 2:
            self.gpu_machines.append(self.cluster.add_node(num_cpus=0, num_gpus=1, object_store_memory=MEMORY))

    def lose_one(self) -> None:
        """End one of the machines with GPUs as if by a power cut."""
        self.cluster.remove_node(self.gpu_machines.pop(), allow_graceful=False)

    def disconnect(self) -> None:
        """Leave it running: some tests start a cluster of their own."""
        self._ray.shutdown()

    def shutdown(self) -> None:
        """End it."""
        self.disconnect()
        self.cluster.shutdown()


@contextmanager
def running_cluster() -> Iterator[RayCluster]:
    """Start the cluster, and end it."""
    cluster = RayCluster()
    try:
        yield cluster
    finally:
        cluster.shutdown()
