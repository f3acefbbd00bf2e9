"""Names of environments and models -> what makes them, loaded when first asked for. Imports none of it itself."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.interfaces import Env, PointingModel

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
    "nano": ("molmo_agent.pointers.nano:load_nano", "the embedded Molmo: short labels and shapes, offline"),
    "random": ("molmo_agent.pointers.baselines:RandomPointer", "a random point: the floor of every score"),
    "centre": ("molmo_agent.pointers.baselines:CentrePointer", "always the middle"),
    "scripted": ("molmo_agent.pointers.baselines:read_script", "prepared answers from a file: scripted:answers.json"),
    "oracle": ("molmo_agent.pointers.baselines:OraclePointer", "asks the env where things are (simulated envs only)"),
}


# Name of an untrained model -> what makes (model, processor) of a seed.
UNTRAINED: Mapping[str, str] = {"nano-fresh": "molmo_agent.nano.architecture:untrained"}
# Key that only recipes of this kind have -> its RunKind.
RUN_KINDS: Mapping[str, str] = {"stages": "molmo_agent.nano.curriculum:KIND"}


def load_attribute(path: str) -> Any:
    """Return what "module:attribute" names."""
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def load_env(name: str, **options: Any) -> Env:
    """Make an environment by its name.

    Args:
        name: one of :data:`ENVS`; or a pointing gymnasium env: "MolmoAgent/GridNav-v0", or "gymnasium:ID" for others'.
        options: passed to what makes it.

    Raises:
        UnknownNameError: no such env; the nearest names are offered.
        UsageError: a gymnasium env that is not a pointing one; the message says what helps.
        EnvError: it cannot start on this machine.
    """
    if name.startswith("miniwob:"):
        options, name = {**options, "task": name.partition(":")[2]}, "miniwob"
    env: Env
    if is_gymnasium(name):
        env = load_attribute("molmo_agent.envs.gymnasium_api.adapters:load")(name, **options)
    elif name in ENVS:
        env = load_attribute(ENVS[name][0])(**options)
    else:
        raise UnknownNameError("env", name, ENVS)
    return env


def is_gymnasium(name: str) -> bool:
    """Tell whether the name of an env is one of gymnasium's, with a namespace or after ``gymnasium:``."""
    return name.startswith("gymnasium:") or "/" in name


def load_model(name: str, *, env: Env | None = None, **options: Any) -> PointingModel:
    """Make a pointing model by its name, a checkpoint folder, or the name of a checkpoint on the Hugging Face hub.

    A small model reads pictures that are larger than its window in several windows.

    Args:
        name: one of :data:`MODELS` ("scripted" with its file: "scripted:answers.json"), a folder,
            "http://host:8000/v1#model", or "owner/name".
        env: where the oracle looks things up.
        options: passed to the model.

    Raises:
        UnknownNameError: no such model; the nearest names are offered.
        UsageError: the oracle without an env that knows the truth.
        ModelError: the checkpoint cannot be loaded.
    """
    model: PointingModel
    if name == "oracle":
        locate = getattr(env, "locate", None)
        if locate is None:
            raise UsageError(
                "the oracle needs an env that knows where everything is, such as sim-desktop; "
                f"{'no env was given' if env is None else repr(env.name) + ' does not'}"
            )
        model = load_attribute(MODELS[name][0])(locate, **options)
    elif name.startswith(("http://", "https://")):
        remote: Any = load_attribute("molmo_agent.pointers.remote:RemotePointer")
        model = remote.from_address(name, **options)
    elif name.partition(":")[0] == "scripted":
        model = load_attribute(MODELS["scripted"][0])(name.partition(":")[2])
    elif name in MODELS:
        model = load_attribute(MODELS[name][0])(**options)
    elif "/" in name or "\\" in name or Path(name).is_dir():
        model = load_attribute("molmo_agent.pointers.molmo:load_pointer")(name, **options)
    else:
        raise UnknownNameError("model", name, MODELS)
    if window := getattr(model, "window", None):
        model = load_attribute("molmo_agent.pointers.windowed:WindowedPointer")(model, window)
    return model
