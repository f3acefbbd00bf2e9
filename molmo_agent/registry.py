"""Names of envs, models and policies, with their factories; each is imported at its first use.

Other packages add names through entry points: see :mod:`molmo_agent.plugins`.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_agent.actions import Wait
from molmo_agent.errors import UsageError
from molmo_agent.interfaces import Env, Locator, PointingModel, Policy, env_traits, model_traits, only_points
from molmo_agent.plugins import load_plugin, plugins

# Name -> ("module:attribute", one line for people).
ENVS: Mapping[str, tuple[str, str]] = {
    "android": ("molmo_agent.envs.android.env:Android", "a real phone over adb"),
    "desktop": ("molmo_agent.envs.desktop.env:Desktop", "the real desktop: a monitor, a region or a window"),
    "miniwob": ("molmo_agent.envs.web.miniwob:MiniWob", "web tasks in a real Chromium: miniwob:click-test-2"),
    "sim-desktop": ("molmo_agent.envs.sim_desktop.desktop:SimDesktop", "the simulated desktop: no display needed"),
    "sim-phone": ("molmo_agent.envs.sim_phone.phone:SimPhone", "the simulated phone: no phone needed"),
    "toy": ("molmo_agent.testing:ToyEnv", "one coloured square, for trying things out"),
}
MODELS: Mapping[str, tuple[str, str]] = {
    "auto": ("molmo_agent.pointers.auto:AutoPointer", "the default: reads words, recognizes icons, asks nano; offline"),
    "reader": ("molmo_agent.pointers.reading.pointer:ReadingPointer", "points by words alone, with a text reader"),
    "nano": ("molmo_agent.pointers.nano:load_nano", "the embedded Molmo: short labels and shapes, offline"),
    "random": ("molmo_agent.pointers.baselines:RandomPointer", "a random point: the floor of every score"),
    "centre": ("molmo_agent.pointers.baselines:CentrePointer", "always the middle"),
    "scripted": ("molmo_agent.pointers.baselines:read_script", "prepared answers from a file: scripted:answers.json"),
    "oracle": ("molmo_agent.pointers.baselines:OraclePointer", "asks the env where things are (simulated envs only)"),
}
POLICIES: Mapping[str, tuple[str, str]] = {
    "pointing": (
        "molmo_agent.policies.pointing:PointingPolicy",
        'splits the instruction into steps: click X, type "Y" into Z, then press Enter',
    ),
    "waypoints": (
        "molmo_agent.policies.waypoints:WaypointPolicy",
        "points at the whole instruction at every step: for envs where every action is a point",
    ),
    "planner": (
        "molmo_agent.policies.planner.policy:load",
        "a language model proposes the next step of a goal, the pointing model finds it: see --planner",
    ),
    "native": (
        "molmo_agent.policies.native.policy:load",
        "a model on a server acts in its own words: UI-TARS, Qwen-VL (computer and mobile use), MolmoWeb",
    ),
    "android-control": (
        "molmo_agent.policies.android_control:load",
        "asks for the next action in AndroidControl's words: for models trained on it; --form ll, hl_ll, hl or hl_cot",
    ),
}
_BUILT_IN = {"env": ENVS, "model": MODELS, "policy": POLICIES}


# Name of an untrained model -> function from a seed to (model, processor).
UNTRAINED: Mapping[str, str] = {
    "nano-fresh": "molmo_agent.nano.architecture:untrained",
    "clocks-fresh": "molmo_agent.nano.clock_reader:untrained",
}
# Key that only recipes of this kind have -> its RunKind.
RUN_KINDS: Mapping[str, str] = {"stages": "molmo_agent.nano.curriculum:KIND"}


def load_attribute(path: str) -> Any:
    """Import and return the attribute of a "module:attribute" path."""
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def names(kind: str) -> dict[str, tuple[str, str]]:
    """Return the names of a kind, built-in ones first, each with its "module:attribute" path and a description.

    Args:
        kind: "env", "model" or "policy".
    """
    built_in = _BUILT_IN[kind]
    from_plugins = plugins(kind, built_in)
    return {**built_in, **{name: (plugin.entry.value, plugin.what) for name, plugin in from_plugins.items()}}


def _maker(kind: str, name: str) -> Any:
    """Return the factory of an env, model or policy."""
    built_in = _BUILT_IN[kind]
    return load_attribute(built_in[name][0]) if name in built_in else load_plugin(kind, name, built_in)


def load_env(name: str, **options: Any) -> Env:
    """Make an environment by its name.

    Args:
        name: one of ``names("env")``; or a pointing gymnasium env: "MolmoAgent/GridNav-v0", or "gymnasium:ID" for those
            of others.
        options: passed to its factory.

    Raises:
        UnknownNameError: no such env; the message suggests similar names.
        UsageError: a gymnasium env that is not a pointing one, or a package that cannot be imported.
        EnvError: it cannot start on this machine.
    """
    if name.startswith("miniwob:"):
        options, name = {**options, "task": name.partition(":")[2]}, "miniwob"
    gymnasium = "molmo_agent.envs.gymnasium_api.adapters:load"
    env: Env = load_attribute(gymnasium)(name, **options) if is_gymnasium(name) else _maker("env", name)(**options)
    return env


def register_gymnasium_envs() -> None:
    """Make this package's ids known to gymnasium. Importing molmo_agent does so, before or after gymnasium's import."""
    load_attribute("molmo_agent.envs.gymnasium_api.ids:register_envs")()


# A scheme, or "user:password@"; the file of scripted answers may have any name.
_ADDRESS = re.compile(r"(?!scripted:)(?:https?:|[a-z]*:?//|[^/]*:[^#]*@)", re.IGNORECASE)


def is_gymnasium(name: str) -> bool:
    """Return whether an env name belongs to gymnasium, with a namespace or after ``gymnasium:``."""
    return name.startswith("gymnasium:") or "/" in name


def load_model(name: str, *, env: Env | None = None, **options: Any) -> PointingModel:
    """Make a pointing model by its name, a checkpoint folder, or the name of a checkpoint on the Hugging Face hub.

    A small model reads images that are larger than its window in several windows.

    Args:
        name: one of ``names("model")`` ("scripted" with its file: "scripted:answers.json"), a folder,
            "http://host:8000/v1#model", or "owner/name".
        env: the env that the oracle asks.
        options: passed to the model.

    Raises:
        UnknownNameError: no such model; the message suggests similar names.
        UsageError: the oracle without an env that knows the truth, or a package that cannot be imported.
        ModelError: the checkpoint cannot be loaded.
    """
    model: PointingModel
    if name == "oracle":
        if not isinstance(env, Locator):
            raise UsageError(
                "the oracle needs an env that knows where everything is, such as sim-desktop; "
                f"{'no env was given' if env is None else repr(env.name) + ' does not'}"
            )
        model = load_attribute(MODELS[name][0])(env.locate, **options)
    elif is_address(name):
        remote: Any = load_attribute("molmo_agent.pointers.remote:RemotePointer")
        model = remote.from_address(name, **options)
    elif name.partition(":")[0] == "scripted":
        model = load_attribute(MODELS["scripted"][0])(name.partition(":")[2])
    elif name not in MODELS and is_checkpoint(name):
        model = load_attribute("molmo_agent.pointers.molmo:load_pointer")(name, **options)
    else:
        model = _maker("model", name)(**options)
    model = load_attribute("molmo_agent.pointers.careful:in_windows")(model)
    return model


def is_address(name: str) -> bool:
    """Return whether a model name is the address of a server, or was meant to be one.

    A mistyped one may hold a password too, and must not be taken for a folder, whose name errors and records quote.
    """
    return bool(_ADDRESS.match(name))


def is_checkpoint(name: str) -> bool:
    """Return whether a model name is a folder or a checkpoint on the Hugging Face hub."""
    return not is_address(name) and ("/" in name or "\\" in name or Path(name).is_dir())


def load_policy(
    name: str | None = None,
    model: str | PointingModel = "auto",
    env: Env | None = None,
    *,
    min_confidence: float | None = None,
    second_opinion: str | PointingModel | None = None,
    **options: Any,
) -> Policy:
    """Make a policy that acts with a model.

    The model is prepared for acting: it reads images of any size and zooms in below its confidence threshold. The
    policy passes the threshold on to :func:`molmo_agent.rollout`, whose guards stop at points below it.

    Args:
        name: one of ``names("policy")``; None: the one that the checkpoint was trained for, else "waypoints" where
            every action of the env is a point, else "pointing".
        model: a model, or the name of one for :func:`load_model`.
        env: the env to act in; decides the policy where neither name nor checkpoint does, and answers the oracle. If
            its traits say that it is ``live``, a policy with ``patience_s`` waits some seconds for targets and effects,
            and one with ``reader`` reads whether typed text arrived.
        min_confidence: replaces the model's threshold; 0 disables it.
        second_opinion: another model, or its name, such as "reader": where it is sure of another place, the point
            becomes doubtful.
        options: passed to the policy, such as ``form="hl"`` for "android-control".

    Raises:
        UnknownNameError: no such policy or model; the message suggests similar names.
        UsageError: an option that the policy does not have, a model without a required ability, or a threshold outside
            [0, 1].
        ModelError: the checkpoint cannot be loaded.
    """
    if isinstance(model, str):
        model = load_model(model, env=env)
    traits = model_traits(model)
    trained_for = traits.policy.replace("_", "-") if traits.policy else None
    name = name or trained_for or ("waypoints" if env is not None and only_points(env) else "pointing")
    if traits.form is not None and name == trained_for:
        options = {"form": traits.form, **options}
    make = _maker("policy", name)
    parameters = inspect.signature(make).parameters
    for option in options:
        if option not in parameters and not any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
        ):
            raise UsageError(f"the policy {name!r} has no option {option!r}")
    if "patience_s" in parameters and env is not None and env_traits(env).live and Wait in env.capabilities:
        options = {"patience_s": load_attribute("molmo_agent.policies.pointing:PATIENCE_S"), **options}
        if "reader" in parameters:
            options = {"reader": load_attribute("molmo_agent.ocr.reader:LazyReader")(), **options}
    if "capabilities" in parameters and env is not None:
        options = {"capabilities": env.capabilities, **options}
    if second_opinion is not None:
        other = load_model(second_opinion, env=env) if isinstance(second_opinion, str) else second_opinion
        model = load_attribute("molmo_agent.pointers.second_opinion:SecondOpinion")(model, other)
    model = load_attribute("molmo_agent.pointers.careful:careful")(model, min_confidence)
    policy: Policy = make(model, **options)
    return policy
