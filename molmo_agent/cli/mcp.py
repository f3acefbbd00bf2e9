"""``agent mcp``: the tools of the Model Context Protocol, over stdin and stdout or over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

STOP_FILE = Path.home() / ".molmo-agent" / "STOP"


def mcp(
    env: Annotated[str, typer.Option(help="desktop, android, sim-desktop, ...: see agent envs.")] = "desktop",
    model: Annotated[str, typer.Option(help="Points at the targets: see agent models.")] = "auto",
    http: Annotated[
        str | None, typer.Option(help="HOST:PORT: serve over HTTP instead of stdin and stdout; the path is /mcp.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Origin of a web page that may send requests over HTTP. Repeatable.")
    ] = None,
    confirm: Annotated[
        str | None,
        typer.Option(
            help="always, risky or never: when the client asks its user before an input. Default: always on a real "
            "desktop or phone, else never."
        ),
    ] = None,
    allow_region: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM as fractions: act only there. Repeatable.")
    ] = None,
    deny_region: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM as fractions: never act there. Repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Allow {{NAME}} in typed text; MOLMO_SECRET_NAME holds its value. Repeatable."),
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Below this confidence: zoom in once, then ask or refuse.")
    ] = None,
    max_actions: Annotated[int, typer.Option(help="Maximum number of requests that act.")] = 200,
    max_seconds: Annotated[float, typer.Option(help="Maximum number of seconds from the first request on.")] = 3600.0,
    record: Annotated[Path | None, typer.Option(help="New folder for the trajectory of each action.")] = None,
    stop_file: Annotated[Path, typer.Option(help="While this file exists, nothing is sent.")] = STOP_FILE,
    virtual_display: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT: start a virtual display.")] = None,
    start: Annotated[str | None, typer.Option(help="Program to start on the display first.")] = None,
    monitor: Annotated[str | None, typer.Option(help="primary, all, a number from 1; phone: a display's id.")] = None,
    region: Annotated[str | None, typer.Option(help="LEFT,TOP,WIDTH,HEIGHT of the desktop, in input units.")] = None,
    window: Annotated[str | None, typer.Option(help="Part of a window's title (X11).")] = None,
    serial: Annotated[str | None, typer.Option(help="Serial number of the phone.")] = None,
    family: Annotated[str | None, typer.Option(help="Family of a simulated env's built-in screens.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated screen.")] = 0,
) -> None:
    """Let an MCP client point, click and type by words; every action is checked and comes with its outcome.

    Give a client the command `agent mcp`. Create the stop file to end the session at once.
    """
    from molmo_agent.cli.mcp_session import serve_mcp
    from molmo_agent.cli.run import Request

    request = Request(
        env="desktop" if virtual_display is not None else env,
        model=model,
        family=family,
        seed=seed,
        virtual_display=virtual_display,
        start=start,
        monitor=monitor,
        region=region,
        window=window,
        serial=serial,
        confirm=confirm,
        allow=tuple(allow_region or ()),
        deny=tuple(deny_region or ()),
        secrets=tuple(secret or ()),
        min_confidence=min_confidence,
        max_steps=max_actions,
        max_seconds=max_seconds,
        out=record,
    )
    serve_mcp(request, stop_file, http, tuple(origin or ()))
