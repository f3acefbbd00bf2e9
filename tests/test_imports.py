"""The import directions of the architecture, held by walking every syntax tree of the package."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import molmo_agent

PACKAGE = Path(molmo_agent.__file__).parent
# From the ground up: a room may import itself and the rooms before it. "nouns" are the modules directly in the package.
ROOMS = (
    *("nouns", "sandbox", "images", "camera", "point_text", "model", "ocr", "pointers", "risk", "policies", "envs"),
    *("rollout", "synthetic", "data", "train", "evaluation", "nano", "pixmo", "serve", "cli"),
)
MAY_IMPORT = {room: {*ROOMS[: number + 1]} for number, room in enumerate(ROOMS)}
# A loop runs any policy, and a policy is run by any loop: neither knows the other. Envs need no model.
MAY_IMPORT["rollout"] -= {"policies"}
MAY_IMPORT["envs"] = {"nouns", "images", "camera", "envs"}
# Modules directly in the package that are no nouns, with the room that they stand above.
ABOVE = {
    "__main__": "cli",  # the front door
    "testing": "point_text",  # what users test theirs with; nothing here imports it
}
LINKS = ("envs", "policies", "train")
HEAVY = ("torch", "transformers", "ray", "mss", "pyautogui", "gymnasium", "typer")


def room_of(module: str) -> str:
    """Return the room of a module's dotted name inside of the package, "policies" of "policies.pointing"."""
    first = module.split(".")[0]
    return first if first in ROOMS else "nouns"


# They list modules of all rooms by name, for whoever asks.
CATALOGUES = (PACKAGE / "registry.py", PACKAGE / "envs" / "gymnasium_api" / "ids.py")


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Parse a file, once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path) -> set[str]:
    """Return the absolute dotted names that a file imports, when it is loaded or later."""
    names = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import; imports are absolute"
            names.add(str(node.module))
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and path not in CATALOGUES:
            # Imports by name.
            names.update(re.findall(r"^molmo_agent(?:\.\w+)+", str(node.value)))
        # What only a type checker reads is not imported.
        type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in node.orelse if type_checking else ast.iter_child_nodes(node):
            visit(child)

    visit(syntax_tree(path))
    return names


FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "__pycache__" not in path.parts
}


def test_a_module_imports_only_rooms_below_its_own():
    wrong = []
    for module, path in FILES.items():
        allowed = MAY_IMPORT[ABOVE.get(module, room_of(module))]
        for name in imports_of(path):
            if name.startswith("molmo_agent.") and room_of(name.removeprefix("molmo_agent.")) not in allowed:
                wrong.append(f"{module} imports {name}, but may import {', '.join(r for r in ROOMS if r in allowed)}")
    assert wrong == []


def test_every_folder_is_a_room_and_every_room_is_a_folder():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*ROOMS} - {"nouns"}


def test_nothing_imports_what_users_test_with():
    importers = {module for module, path in FILES.items() if "molmo_agent.testing" in imports_of(path)}
    assert importers == set()


def packages_of(name: str) -> str:
    """Return the folder of a module, the package for those directly in it."""
    parts = name.split(".")
    while parts and ".".join(parts) not in FOLDERS:
        parts.pop()
    return ".".join(parts)


FOLDERS = {"", *(module for module, path in FILES.items() if path.name == "__init__.py")}


def test_the_folders_import_each_other_without_a_circle():
    graph: dict[str, set[str]] = {}
    for module, path in FILES.items():
        mine = packages_of(module)
        for name in imports_of(path):
            if name.startswith("molmo_agent."):
                theirs = packages_of(name.removeprefix("molmo_agent."))
                # A folder may use what lies in it, and be used by it.
                related = (
                    not mine or not theirs or f"{mine}.".startswith(f"{theirs}.") or f"{theirs}.".startswith(f"{mine}.")
                )
                if not related:
                    graph.setdefault(mine, set()).add(theirs)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_folder_and_no_file_is_too_large_to_look_through():
    by_folder = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in FILES.values())
    assert {folder: count for folder, count in by_folder.items() if count > 21} == {}
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items()}
    assert {module: length for module, length in lengths.items() if length > 420} == {}


def test_nothing_imports_through_the_links_at_the_top():
    wrong = [
        f"{module} imports {name}; write molmo_agent.{name}"
        for module, path in FILES.items()
        for name in imports_of(path)
        if name.split(".")[0] in LINKS
    ]
    assert wrong == []


def test_nouns_and_envs_know_no_torch():
    wrong = [
        f"{module} imports {name}"
        for module, path in FILES.items()
        for name in imports_of(path)
        if room_of(module) in ("nouns", "envs") and name.split(".")[0] in ("torch", "transformers")
    ]
    assert wrong == []


# Training runs on Ray through the first, images are fetched with it through the second, episodes are run with it
# through the third, data are made with it through the fourth, points are served with it through the fifth; all of them
# when they are called.
ON_RAY = ("train.on_ray", "data.images.fetch_ray", "rollout.ray_map", "pixmo.on_ray", "serve.http.on_ray")


def test_only_what_runs_on_ray_imports_it():
    importers = {module for module, path in FILES.items() if any(n.split(".")[0] == "ray" for n in imports_of(path))}
    assert importers == set(ON_RAY)


def test_the_tests_import_no_links_either():
    for path in Path(__file__).parent.glob("*.py"):
        for name in imports_of(path):
            assert name.split(".")[0] not in LINKS, f"{path.name} imports {name}; write molmo_agent.{name}"


def run_python(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import molmo_agent; "
        "print(time.perf_counter() - start, *(name for name in sys.modules))"
    )
    seconds = []
    for _ in range(3):
        duration, *modules = run_python(code).split()
        seconds.append(float(duration))
        assert not {name.split(".")[0] for name in modules} & {*HEAVY, *LINKS}
    assert min(seconds) < 0.3


def test_nouns_and_weightless_policies_load_nothing_heavy():
    code = (
        "import sys, molmo_agent.policies.pointing, molmo_agent.pointers.baselines, molmo_agent.rollout.loop; "
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    assert run_python(code) == ""


def test_public_names_are_sorted():
    assert sorted([*molmo_agent._EXPORTS, "rollout"]) == molmo_agent.__all__
    assert list(molmo_agent._EXPORTS) == sorted(molmo_agent._EXPORTS)
    assert set(molmo_agent.__all__) <= set(dir(molmo_agent))


def test_every_public_name_resolves_to_what_its_module_defines():
    for name, module in molmo_agent._EXPORTS.items():
        defined = importlib.import_module(f"molmo_agent.{module}")
        assert getattr(molmo_agent, name) is getattr(defined, name)


def test_an_unknown_public_name_is_answered_with_the_known_ones():
    with pytest.raises(
        AttributeError, match="module 'molmo_agent' has no attribute 'Clock'; public names: Action, Box"
    ):
        molmo_agent.Clock  # noqa: B018


@pytest.mark.parametrize(
    "before", ["", "import molmo_agent.rollout", "import molmo_agent.rollout.loop", "from molmo_agent import load_env"]
)
def test_rollout_is_a_function_and_a_folder_in_any_order(before: str):
    code = f"""{before}
from molmo_agent import load_env, load_policy, rollout, Guards
env = load_env("toy")
steps = list(rollout(load_policy(model="oracle", env=env), env, seed=0, guards=Guards(max_steps=3)))
from molmo_agent.rollout import rollout as inner, Rollout, Recorder, Guards as same
import molmo_agent, molmo_agent.rollout.loop as loop
assert inner is loop.rollout and Rollout is loop.Rollout and same is Guards, "lazy names"
assert molmo_agent.rollout is rollout and callable(molmo_agent.rollout) and rollout.loop is loop
print(len(steps), steps[0].terminated)"""
    assert run_python(code) == "1 True"


@pytest.mark.parametrize("room", ["rollout", "point_text"])
def test_the_public_names_of_a_folder_are_lazy_and_complete(room: str):
    folder = importlib.import_module(f"molmo_agent.{room}")
    assert folder.__all__ == sorted(folder.__all__)
    assert {*folder.__all__} <= {*dir(folder)}
    assert all(getattr(folder, name) is not None for name in folder.__all__)
    with pytest.raises(AttributeError, match=f"module 'molmo_agent.{room}' has no attribute 'clock'; public names: "):
        folder.clock  # noqa: B018
    code = f"import sys, molmo_agent.{room}; print(any(n.startswith('molmo_agent.{room}.') for n in sys.modules))"
    assert run_python(code) == "False"


IS_THERE = "'MolmoAgent/GridNav-v0' in gymnasium.registry"


@pytest.mark.parametrize(
    "code",
    [
        f"import molmo_agent, gymnasium; print({IS_THERE})",
        f"import gymnasium, molmo_agent; print({IS_THERE})",
        f"import molmo_agent, gymnasium.spaces; print({IS_THERE})",
        f"import molmo_agent.envs.gymnasium_api.adapters, gymnasium; print({IS_THERE})",
        f"import molmo_agent.envs.gymnasium_api.ids, molmo_agent.envs.gymnasium_api.base, gymnasium; print({IS_THERE})",
        "import gymnasium; print(gymnasium.make('molmo_agent:MolmoAgent/GridNav-v0').spec.name == 'GridNav')",
        "import molmo_agent, gymnasium; print(gymnasium.make('MolmoAgent/GridNav-v0').spec.name == 'GridNav')",
        # It steps aside, and leaves nothing behind.
        "import sys, molmo_agent, gymnasium; waits = [1 for one in sys.meta_path if 'Waiting' in type(one).__name__]; "
        "print(not waits and 'exec_module' not in vars(gymnasium.__loader__))",
    ],
)
def test_gymnasium_knows_the_ids_in_any_order_of_imports(code: str):
    assert run_python(code) == "True"


def test_importing_the_package_does_not_import_gymnasium_and_its_absence_is_no_news():
    code = """import sys, molmo_agent
assert "gymnasium" not in sys.modules
sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
sys.path_importer_cache.clear()
for _ in range(2):
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        print(error)"""
    assert run_python(code).splitlines() == ["No module named 'gymnasium'"] * 2


def test_a_failed_import_of_gymnasium_can_be_repeated(tmp_path: Path):
    (tmp_path / "gymnasium.py").write_text("import sys\nif not sys.tried: sys.tried = True; raise ImportError('once')")
    code = f"""import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.tried = False
from molmo_agent.lazy_imports import when_gymnasium_is_imported
import molmo_agent
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "_Waiting"]
when_gymnasium_is_imported("builtins:print")
try:
    import gymnasium
except ImportError as error:
    print(error)
import gymnasium
print("there")"""
    assert run_python(code).splitlines() == ["once", "", "there"]
