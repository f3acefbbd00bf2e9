"""Open the screen that `agent mcp` serves, and serve it."""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from molmo_agent.cli.run import REAL, Request, display, env_options_of, parse_box
from molmo_agent.console import warn
from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.interrupts import ending_in_time
from molmo_agent.registry import load_env, load_model
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.serve.desktop_lock import DesktopLock, device_of
from molmo_agent.serve.session import Session

# Simulated screens end an episode after some steps; a session has limits of its own.
_ENDLESS = {"sim-desktop", "sim-phone"}


def serve_mcp(request: Request, stop_file: Path, http: str | None, origins: tuple[str, ...]) -> None:
    """Serve a request's screen until the client goes, or a signal comes.

    Raises:
        UsageError: the options contradict each other, or others reach the address and there is no token.
        EnvError: the address cannot be used.
        MissingExtraError: the SDK of the protocol is not installed.
    """
    try:
        import anyio

        from molmo_agent.serve.mcp import http as over_http
        from molmo_agent.serve.mcp.desk import Desk
        from molmo_agent.serve.mcp.server import build_server
    except ImportError as error:
        raise MissingExtraError("agent mcp", "mcp") from error
    address = over_http.parse_address(http) if http is not None else None
    if origins and address is None:
        raise UsageError("--origin goes with --http")
    desk = Desk(_session_maker(request, stop_file))
    server = build_server(desk)
    with ending_in_time(), display(request), contextlib.closing(desk):
        warn(f"to stop it at once: create the file {stop_file}")
        if address is None:
            anyio.run(server.run_stdio_async)
            return
        host, port = address
        app = over_http.make_app(server, host, os.environ.get(over_http.TOKEN_VARIABLE, ""), origins)

        def ready(port: int) -> None:
            shown = f"[{host}]" if ":" in host else host
            warn(f"serving http://{shown}:{port}{over_http.PATH}")

        anyio.run(over_http.serve, app, host, port, ready)


def _session_maker(request: Request, stop_file: Path) -> Callable[[Any], Session]:
    """Check the options, and return what makes the session of a desk."""
    if request.start is not None and request.env != "desktop":
        raise UsageError(f"--start goes with --env desktop or --virtual-display, got --env {request.env}")
    options = env_options_of(request)
    secrets = Secrets.from_environment(dict.fromkeys(request.secrets))
    is_real = request.env in REAL and request.virtual_display is None
    guards = Guards(
        max_steps=request.max_steps,
        max_seconds=request.max_seconds,
        allow=tuple(map(parse_box, request.allow)),
        deny=tuple(map(parse_box, request.deny)),
        confirm=request.confirm or ("always" if is_real else "never"),  # type: ignore[arg-type]
        ask=lambda decision, observation, why: False,
        min_confidence=request.min_confidence,
        secrets=secrets,
        stop=stop_file.exists,
    )
    if request.env in _ENDLESS:
        options["max_steps"] = 1_000_000

    def open_session(ask: Any) -> Session:
        env = load_env(request.env, **options)
        try:
            device = device_of(request.env, options)
            return Session(
                env,
                load_model(request.model, env=env),
                guards=dataclasses.replace(guards, ask=ask),
                record=request.out,
                claim=DesktopLock(device).acquire if device else str,
                seed=request.seed,
                options={"task": request.family} if request.family else None,
            )
        except BaseException:
            env.close()
            raise

    return open_session
