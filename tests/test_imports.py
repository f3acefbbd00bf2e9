"""The import directions of the architecture, held by walking every syntax tree of the package."""

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import molmo_agent

PACKAGE = Path(molmo_agent.__file__).parent
LAYERS = ("envs", "policies", "train", "model")
# What each layer may import of ours besides itself; "nouns" are the modules directly in the package.
MAY_IMPORT = {
    "nouns": set(),
    "model": {"nouns"},
    "envs": {"nouns"},
    "policies": {"nouns", "model"},
    "train": {"nouns", "model", "envs", "policies"},
}
# They load everything else by name, when it is asked for.
FRONT_DOORS = ("cli", "registry")
HEAVY = ("torch", "transformers", "ray", "mss", "pyautogui", "gymnasium", "typer")


def layer_of(module: str) -> str:
    """Return the layer of a module's dotted name inside of the package, "policies.pointing" for example."""
    first = module.split(".")[0]
    return first if first in LAYERS else "nouns"


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Parse a file, once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path, *, at_load: bool = False) -> set[str]:
    """Return the absolute dotted names that a file imports; ``at_load`` leaves out what functions import later."""
    found = set()

    def visit(node: ast.AST) -> None:
        if at_load and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import; imports are absolute"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        # What only a type checker reads is not imported.
        type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in node.orelse if type_checking else ast.iter_child_nodes(node):
            visit(child)

    visit(syntax_tree(path))
    return found


FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "__pycache__" not in path.parts
}


def test_a_module_imports_only_what_its_layer_may():
    wrong = []
    for module, path in FILES.items():
        layer = layer_of(module)
        front_door = layer == "nouns" and module.split("_")[0] in FRONT_DOORS
        allowed = {layer, *MAY_IMPORT[layer]}
        for name in imports_of(path, at_load=front_door):
            if name.startswith("molmo_agent.") and layer_of(name.removeprefix("molmo_agent.")) not in allowed:
                wrong.append(f"{module} imports {name}; {layer} may import {', '.join(sorted(allowed))}")
    assert wrong == []


def test_nothing_imports_through_the_links_at_the_top():
    wrong = [
        f"{module} imports {name}; write molmo_agent.{name}"
        for module, path in FILES.items()
        for name in imports_of(path)
        if name.split(".")[0] in LAYERS
    ]
    assert wrong == []


def test_nouns_and_envs_know_no_torch():
    wrong = [
        f"{module} imports {name}"
        for module, path in FILES.items()
        for name in imports_of(path)
        if layer_of(module) in ("nouns", "envs") and name.split(".")[0] in ("torch", "transformers")
    ]
    assert wrong == []


# Training runs on Ray through the first, pictures are fetched with it through the second, episodes are run with it
# through the third; all of them when they are called.
ON_RAY = ("train.launch", "train.data.fetch_ray", "rollout_ray")


def test_only_what_runs_on_ray_imports_it():
    importers = {module for module, path in FILES.items() if any(n.split(".")[0] == "ray" for n in imports_of(path))}
    assert importers == set(ON_RAY)


def test_the_tests_import_no_links_either():
    for path in Path(__file__).parent.glob("*.py"):
        for name in imports_of(path):
            assert name.split(".")[0] not in LAYERS, f"{path.name} imports {name}; write molmo_agent.{name}"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import molmo_agent; "
        "print(time.perf_counter() - start, *(name for name in sys.modules))"
    )
    seconds = []
    for _ in range(3):
        took, *modules = run_python(code).split()
        seconds.append(float(took))
        assert not {name.split(".")[0] for name in modules} & {*HEAVY, *LAYERS}
    assert min(seconds) < 0.3


def test_nouns_and_weightless_policies_load_nothing_heavy():
    code = (
        "import sys, molmo_agent.policies.pointing, molmo_agent.pointers.baselines, molmo_agent.rollout.loop; "
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    assert run_python(code) == ""


def test_public_names_are_sorted():
    assert sorted(molmo_agent._EXPORTS) == molmo_agent.__all__
    assert list(molmo_agent._EXPORTS) == sorted(molmo_agent._EXPORTS)
    assert set(molmo_agent.__all__) <= set(dir(molmo_agent))


@pytest.mark.xfail(not (PACKAGE / "registry.py").exists(), raises=ModuleNotFoundError, reason="no registry yet")
def test_every_public_name_resolves_to_what_its_module_defines():
    for name, module in molmo_agent._EXPORTS.items():
        defined = importlib.import_module(f"molmo_agent.{module}")
        assert getattr(molmo_agent, name) is getattr(defined, name)


def test_an_unknown_public_name_is_answered_with_the_known_ones():
    with pytest.raises(
        AttributeError, match="module 'molmo_agent' has no attribute 'Clock'; public names: Action, Box"
    ):
        molmo_agent.Clock  # noqa: B018
