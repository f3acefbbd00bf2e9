"""The ``agent`` command: its verbs and options. Each command imports heavy packages only when it runs."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from molmo_agent import __version__
from molmo_agent.cli import ask as cli_ask
from molmo_agent.cli import data as cli_data
from molmo_agent.cli import doctor as cli_doctor
from molmo_agent.cli import mcp as cli_mcp
from molmo_agent.cli import pixmo_collect as cli_pixmo_collect
from molmo_agent.cli import serve as cli_serve
from molmo_agent.cli.evaluation import benchmarks as cli_eval
from molmo_agent.cli.training import command as cli_train
from molmo_agent.cli.training import start_model as cli_start
from molmo_agent.console import make_console, plain_text, say, say_json, warn
from molmo_agent.dependencies import dependencies, untested
from molmo_agent.errors import EnvError, ModelError, MolmoAgentError, RunStopped, UsageError

EXIT_OK, EXIT_NOT_ACHIEVED, EXIT_USAGE, EXIT_FAILURE, EXIT_STOPPED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="agent",
    help="Point at things and act on them: an instruction and an image in, a click out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_pixmo_collect.app, name="pixmo")
_STATE: dict[str, bool] = {"debug": False}

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of text for people.")]
Model = Annotated[
    str, typer.Option(help="auto, reader, nano, random, centre, oracle, a checkpoint folder, or a hub name.")
]
Policy = Annotated[
    str | None, typer.Option(help="pointing, waypoints, android-control, ...: see agent policies. Default: what fits.")
]
Planner = Annotated[
    str | None, typer.Option(help="A model that plans the steps of a goal: http://host:8000/v1#name, or rules.")
]
Form = Annotated[str | None, typer.Option(help="android-control: ll, hl_ll, hl or hl_cot.")]
MaxCrops = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of crops per image of a local Molmo. Default: as trained.")
]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Below this confidence: zoom in once, then ask or stop. 0 disables. Default: the checkpoint's.",
    ),
]


def _version(requested: bool) -> None:
    if requested:
        say(f"molmo_agent {__version__}")
        raise typer.Exit


Confirm = Annotated[
    str | None,
    typer.Option(
        help="always, never, or risky: ask unless the words under the point, the keys or the text are known to be "
        "harmless. Default: always on a real desktop or phone, else never."
    ),
]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _STATE["debug"] = debug
    if remark := untested(dependencies()):
        warn(remark)


@app.command()
def run(
    task: Annotated[str | None, typer.Option(help="What to do. Simulated envs also have built-in tasks.")] = None,
    env: Annotated[
        str, typer.Option(help="sim-desktop, sim-phone, desktop, android, ...: see agent envs.")
    ] = "sim-desktop",
    model: Model = "auto",
    family: Annotated[str | None, typer.Option(help="Family of a simulated env's built-in tasks.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated screen.")] = 0,
    virtual_display: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT: start a virtual display and act on it.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Program to start on the display first, e.g. 'xcalc'.")] = None,
    monitor: Annotated[str | None, typer.Option(help="primary, all, a number from 1; phone: a display's id.")] = None,
    region: Annotated[str | None, typer.Option(help="LEFT,TOP,WIDTH,HEIGHT of the desktop, in input units.")] = None,
    window: Annotated[str | None, typer.Option(help="Part of a window's title (X11).")] = None,
    serial: Annotated[str | None, typer.Option(help="Serial of the phone, if `adb devices` lists several.")] = None,
    confirm: Confirm = None,
    dry_run: Annotated[bool, typer.Option(help="Print the actions; send no input.")] = False,
    allow_region: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM as fractions: point only there. Repeatable.")
    ] = None,
    deny_region: Annotated[
        list[str] | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM as fractions: never point there. Repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="Allow {{NAME}} in the task; MOLMO_SECRET_NAME holds its value. Repeatable."),
    ] = None,
    planner: Planner = None,
    policy: Policy = None,
    form: Form = None,
    min_confidence: MinConfidence = None,
    second_opinion: Annotated[
        str | None, typer.Option(help="Another model, such as reader: points that it contradicts are doubtful.")
    ] = None,
    max_crops: MaxCrops = None,
    max_steps: Annotated[int, typer.Option(help="Maximum number of steps.")] = 30,
    max_seconds: Annotated[float, typer.Option(help="Maximum number of seconds.")] = 600.0,
    out: Annotated[Path | None, typer.Option(help="Trajectory folder. Default: trajectories/TIME-TASK.")] = None,
    as_json: Json = False,
) -> None:
    """Do a task: capture the screen, point, act, check the effect, and record every step.

    Exit codes: 0 success, 1 not achieved, 2 usage, 3 environment or model failure, 130 stopped by you.
    """
    from molmo_agent.cli.run import Request, run_request

    raise typer.Exit(
        run_request(
            Request(
                task=task,
                env=env,
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
                dry_run=dry_run,
                allow=tuple(allow_region or ()),
                deny=tuple(deny_region or ()),
                secrets=tuple(secret or ()),
                policy=policy,
                planner=planner,
                form=form,
                min_confidence=min_confidence,
                second_opinion=second_opinion,
                max_crops=max_crops,
                max_steps=max_steps,
                max_seconds=max_seconds,
                out=out,
                as_json=as_json,
            )
        )
    )


@app.command()
def demo(
    model: Model = "auto",
    out: Annotated[Path | None, typer.Option(help="Trajectory folder.")] = None,
) -> None:
    """Do a task on the simulated desktop: no display, GPU, key or download.

    With Xvfb and mousepad or gedit (Linux), also do one in that editor, on a virtual display. This does not change the
    exit code.
    """
    from molmo_agent.cli.demo import demo as show

    raise typer.Exit(show(model, out))


@app.command()
def point(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    instruction: Annotated[str, typer.Argument(help="What to point at: 'the \"Save\" button'.")],
    model: Model = "auto",
    max_crops: MaxCrops = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the image with the points drawn.")] = None,
    as_json: Json = False,
) -> None:
    """Point at something in an image, and write the image with the points drawn."""
    from molmo_agent.cli.point import point_request

    raise typer.Exit(point_request(image, instruction, model, max_crops=max_crops, out=out, as_json=as_json))


app.command()(cli_ask.ask)
app.command()(cli_ask.caption)
app.command()(cli_serve.serve)


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(help="A trajectory folder.")],
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write a trajectory as one offline HTML page."""
    from molmo_agent.rollout.viewer import write_viewer

    page = write_viewer(folder, report=warn)
    say(page)
    if show:
        typer.launch(str(page))


def _list(title: str, rows: dict[str, tuple[str, str]], as_json: bool) -> None:
    if as_json:
        for name, (_, what) in rows.items():
            say_json({"name": name, "what": what})
        return
    table = Table(title, "description", box=None)
    for name, (_, what) in rows.items():
        table.add_row(name, what)
    make_console().print(table)


@app.command()
def envs(as_json: Json = False) -> None:
    """List the environments."""
    import importlib

    from molmo_agent.registry import names

    ids = importlib.import_module("molmo_agent.envs.gymnasium_api.ids").IDS
    _list("env", {**names("env"), **ids}, as_json)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models with a registered name."""
    from molmo_agent.registry import names

    _list("model", names("model"), as_json)


@app.command()
def policies(as_json: Json = False) -> None:
    """List the policies."""
    from molmo_agent.registry import names

    _list("policy", names("policy"), as_json)


app.command()(cli_doctor.doctor)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A checkpoint folder in any layout, or a hub name.")],
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    to: Annotated[
        str, typer.Option(help="own (this package) or official (for servers of the released models).")
    ] = "own",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
) -> None:
    """Write a checkpoint in another layout, bit for bit."""
    from molmo_agent.model.checkpoints.convert import convert as write

    note = write(source, target, to, dtype)  # type: ignore[arg-type]
    make_console().print(plain_text(f"wrote {target}" + (f" ({note})" if note else "")))


app.command()(cli_train.train)
app.command()(cli_start.start)
app.command("eval")(cli_eval.evaluate)
app.command("mcp")(cli_mcp.mcp)


@app.command()
def rollout(
    env: Annotated[str, typer.Option(help="sim-desktop, miniwob:TASK, MolmoAgent/GridNav-v0, ...: see agent envs.")],
    model: Model = "nano",
    episodes: Annotated[int, typer.Option(help="Number of episodes.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the episodes; --num-envs and --workers do not change them.")] = 0,
    family: Annotated[str | None, typer.Option(help="Family of the simulated env's built-in tasks.")] = None,
    policy: Policy = None,
    form: Form = None,
    min_confidence: MinConfidence = None,
    num_envs: Annotated[int, typer.Option(help="Number of envs at a time; their questions form one batch.")] = 1,
    workers: Annotated[int, typer.Option(help="Number of processes on Ray; each runs --num-envs envs.")] = 1,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, such as ray://head:10001.")] = None,
    record: Annotated[Path | None, typer.Option(help="New folder for the trajectory of each episode.")] = None,
    video: Annotated[str | None, typer.Option(help="gif or mp4: write a video of each recorded episode.")] = None,
    lerobot: Annotated[
        Path | None, typer.Option(help="New folder for the recorded episodes as a LeRobot data set.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON of every episode. Default: runs/rollouts/TIME-ENV-...")] = None,
    as_json: Json = False,
) -> None:
    """Run many episodes of an env's built-in tasks, and compare the success with oracle, random and centre."""
    from molmo_agent.cli.rollout import RolloutRequest, rollout_request

    raise typer.Exit(
        rollout_request(
            RolloutRequest(
                env=env,
                model=model,
                episodes=episodes,
                seed=seed,
                family=family,
                policy=policy,
                form=form,
                min_confidence=min_confidence,
                num_envs=num_envs,
                workers=workers,
                address=address,
                record=record,
                video=video,
                lerobot=lerobot,
                out=out,
                as_json=as_json,
            )
        )
    )


def exit_code(error: MolmoAgentError) -> int:
    """Return the exit code for an error."""
    if isinstance(error, RunStopped):
        return EXIT_STOPPED
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_FAILURE if isinstance(error, EnvError | ModelError) else EXIT_NOT_ACHIEVED


def main(command: Callable[..., Any] = app) -> None:
    """Run a command line; print an error as one message and exit with its code."""
    try:
        command()
    except MolmoAgentError as error:
        if _STATE["debug"]:
            raise
        _print_error(str(error))
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        _print_error("stopped")
        sys.exit(EXIT_STOPPED)
    except SystemExit as end:
        # Ctrl-C inside a command: typer exits with this code and prints nothing.
        if end.code == EXIT_STOPPED:
            _print_error("stopped")
        raise
    except Exception as error:
        if _STATE["debug"]:
            raise
        hint = "this is an error of the program; `agent --debug ...` shows where"
        _print_error(f"{type(error).__name__}: {error}\n{hint}")
        sys.exit(EXIT_FAILURE)


def _print_error(message: str) -> None:
    """Print a message on stderr, if anybody is there to read it."""
    # Indent further lines: a quoted reply of a model must not look like a message of ours.
    first, *more = message.split("\n")
    text = Text("\n").join([plain_text(f"agent: {first}"), *(plain_text(f"  {line}") for line in more)])
    with contextlib.suppress(OSError):
        make_console(stderr=True).print(text, style="red", soft_wrap=True)
