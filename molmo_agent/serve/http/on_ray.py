"""The same application under Ray Serve: replicas on the machines of a cluster, more of them while requests wait.

Each replica is a whole server with its own models and queue. A request whose replica is lost is answered with status
500 or 503 by Ray's proxy: nothing is lost silently, and clients such as :class:`molmo_agent.pointers.remote` ask
again. Questions change nothing, so that asking twice does no harm.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from molmo_agent.errors import EnvError, MissingExtraError, UsageError
from molmo_agent.interrupts import interrupting, kept_handlers
from molmo_agent.serve.http.address import read_token
from molmo_agent.serve.http.app import create_app
from molmo_agent.serve.http.limits import Limits
from molmo_agent.serve.http.served_model import load_served

APP = "molmo-agent"
"""The application's name in Ray Serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What runs on the cluster."""

    models: tuple[str, ...] = ("auto",)
    # That clients need; None: they need none.
    token: str | None = None
    # Whether only requests for names of the proxy's own machine are answered.
    is_local: bool = False
    replicas: int = 1
    # None: always `replicas`.
    max_replicas: int | None = None
    # 0: CPUs alone.
    gpus_per_replica: float = 0.0
    # Of each replica.
    limits: Limits = field(default_factory=Limits)

    def options(self) -> dict[str, Any]:
        """Return the options of Ray's deployment.

        Raises:
            UsageError: fewer replicas at most than at least.
        """
        limits = self.limits
        options: dict[str, Any] = {
            "max_ongoing_requests": limits.max_queue + limits.max_batch,
            "ray_actor_options": {"num_cpus": 1, "num_gpus": self.gpus_per_replica},
            "graceful_shutdown_timeout_s": limits.drain_s,
            "health_check_period_s": 5,
        }
        if self.max_replicas is None:
            return {**options, "num_replicas": self.replicas}
        if self.max_replicas < self.replicas:
            raise UsageError(
                f"expected --max-replicas of at least {self.replicas}, as --replicas, got {self.max_replicas}"
            )
        # A replica works best with a batch or so in its queue.
        scaling = {
            "min_replicas": self.replicas,
            "max_replicas": self.max_replicas,
            "target_ongoing_requests": limits.max_batch,
        }
        return {**options, "autoscaling_config": scaling}


def application(deployment: Deployment) -> Any:
    """Return the application to be run by Ray Serve.

    Raises:
        UsageError: the numbers of replicas do not fit.
        MissingExtraError: Ray Serve is not installed.
    """
    serve = _ray_serve()

    # Runs in the replica: models are loaded where they answer.
    def build() -> Any:
        return create_app(
            [load_served(name) for name in deployment.models],
            token=deployment.token,
            is_local=deployment.is_local,
            limits=deployment.limits,
        )

    ingress = serve.ingress(build)()
    return serve.deployment(name=APP, **deployment.options())(ingress).bind()


def app(arguments: Mapping[str, Any]) -> Any:
    """Return the application for a configuration file of Ray Serve, such as deploy/kuberay_serve.yaml.

    The token is in the variable MOLMO_API_KEY of the machine that builds it.

    Args:
        arguments: fields of :class:`Deployment`; ``models`` may be one name.

    Raises:
        UsageError: an unknown field, or no token.
    """
    known = [one.name for one in fields(Deployment) if one.name not in ("token", "is_local", "limits")]
    if unknown := [name for name in arguments if name not in known]:
        raise UsageError(f"expected arguments from {', '.join(known)}, got {unknown[0]!r}")
    values = dict(arguments)
    models = values.pop("models", "auto")
    token = read_token(None)
    if token is None:
        raise UsageError(
            "expected the token of the clients in MOLMO_API_KEY, got none: put it in a secret of the cluster"
        )
    names = (models,) if isinstance(models, str) else tuple(models)
    return application(Deployment(models=names, token=token, **values))


def run_on_ray(
    deployment: Deployment, host: str, port: int, address: str | None, on_start: Callable[[str], object]
) -> None:
    """Run the application on a cluster until the process is told to end, then take it off the cluster.

    Args:
        deployment: what runs.
        host: that Ray's proxies listen on.
        port: of the proxies.
        address: of a cluster; None starts one on this machine, and ends it.
        on_start: called with the URL when the replicas accept requests.

    Raises:
        UsageError: the numbers of replicas do not fit.
        EnvError: the cluster cannot be reached, or the application does not start there.
        MissingExtraError: Ray Serve is not installed.
    """
    serve = _ray_serve()
    import ray

    bound = application(deployment)
    is_ours, is_running = not ray.is_initialized(), False
    try:
        with interrupting():
            # Ray's own handlers print a stack and abort.
            with kept_handlers():
                if is_ours:
                    ray.init(address or "local", log_to_driver=False)
                serve.start(proxy_location="EveryNode", http_options={"host": host, "port": port})
                serve.run(bound, name=APP, route_prefix="/")
            is_running = True
            on_start(f"http://{host}:{port}")
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        raise EnvError(f"the application did not start on Ray, or was lost there: {reason}") from error
    finally:
        if is_running:
            serve.delete(APP)
        if is_ours:
            ray.shutdown()


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError("agent serve --ray", "serve-ray") from error
    return serve
