"""``agent serve``: models over HTTP, on this machine or on a Ray cluster."""

import socket
from pathlib import Path
from typing import Annotated

import typer

from molmo_agent.console import say, warn
from molmo_agent.errors import UsageError
from molmo_agent.serve.http.limits import Limits


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="auto, reader, nano, a checkpoint folder, or a hub name. Repeatable. Default: auto."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine's own need a token.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients need. Default: the variable MOLMO_API_KEY.")
    ] = None,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Questions about one image that are answered together.")
    ] = Limits().max_batch,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Questions that may wait for a model; the next one is answered with 429.")
    ] = Limits().max_queue,
    ray: Annotated[bool, typer.Option("--ray", help="Serve with Ray Serve, which replaces failed replicas.")] = False,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, such as auto or ray://head:10001.")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="With --ray: number of replicas.")] = 1,
    max_replicas: Annotated[
        int | None, typer.Option(min=1, help="With --ray: add replicas up to this number while requests wait.")
    ] = None,
    gpus_per_replica: Annotated[
        float, typer.Option(min=0, help="With --ray: GPUs of a replica, such as 1 or 0.25. 0: CPUs alone.")
    ] = 0.0,
) -> None:
    """Serve models over HTTP: OpenAI's chat completions with points, /v1/point, and a page to try them.

    Ctrl-C or SIGTERM ends it after the questions that wait are answered.
    """
    from molmo_agent.pointers.served.listening import open_socket
    from molmo_agent.serve.http.address import check_reachable, read_token

    names = model or ["auto"]
    token = read_token(token_file)
    is_local = check_reachable(host, token)
    limits = Limits(max_batch=max_batch, max_queue=max_queue)
    if ray:
        from molmo_agent.serve.http.on_ray import Deployment, run_on_ray

        deployment = Deployment(
            models=tuple(names),
            token=token,
            is_local=is_local,
            replicas=replicas,
            max_replicas=max_replicas,
            gpus_per_replica=gpus_per_replica,
            limits=limits,
        )
        run_on_ray(deployment, host, port, address, on_start=lambda url: say(_greeting(names, url)))
        return
    if (address, replicas, max_replicas, gpus_per_replica) != (None, 1, None, 0.0):
        raise UsageError("--address, --replicas, --max-replicas and --gpus-per-replica go with --ray")
    # A port that is taken is reported before a model is loaded.
    _serve_here(names, open_socket(host, port), token, limits, is_local=is_local)


def _serve_here(
    names: list[str], listening: socket.socket, token: str | None, limits: Limits, *, is_local: bool
) -> None:
    from molmo_agent.cli.run import loading
    from molmo_agent.serve.http.app import create_app
    from molmo_agent.serve.http.served_model import load_served
    from molmo_agent.serve.http.server import run_server

    with listening:
        with loading(", ".join(names), quiet=False):
            models = [load_served(name) for name in names]
        for one in models:
            if one.remark:
                warn(one.remark)
        app = create_app(models, token=token, is_local=is_local, limits=limits)
        host, port = listening.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        run_server(app, listening, limits, on_start=lambda end: say(_greeting([one.name for one in models], url)))
    say("ended")


def _greeting(names: list[str], url: str) -> str:
    return f"serving {', '.join(names)} at {url} (a page to try it: {url}/; API: {url}/v1; Ctrl-C ends)"
