"""The house rules on size: functions that fit on a screen, and signatures that a caller can remember."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import molmo_agent

PACKAGE = Path(molmo_agent.__file__).parent
MAX_LINES, MAX_PARAMETERS = 80, 8
TYPER = "a typer command: its parameters are the options of the command line"
TRANSFORMERS = "the shape that transformers gives it: its callers are generate, the Trainer and the pipelines"
# Function -> why it may have more parameters.
MANY_PARAMETERS = {
    "cli.app.run": TYPER,
    "cli.app.rollout": TYPER,
    "cli.training.command.train": TYPER,
    "cli.data.fetch": TYPER,
    "cli.evaluation.benchmarks.evaluate": TYPER,
    "cli.evaluation.comparing.human": TYPER,
    "cli.mcp.mcp": TYPER,
    "cli.training.start_model.start": TYPER,
    "cli.serve.serve": TYPER,
    "cli.pixmo.docs": TYPER,
    "cli.pixmo_collect.collect": TYPER,
    "cli.data.show": TYPER,
    "model.image_processor.MolmoImageProcessor.__init__": TRANSFORMERS,
    "model.modeling.MolmoModel.forward": TRANSFORMERS,
    "model.modeling.MolmoForConditionalGeneration.forward": TRANSFORMERS,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    """Yield every function of a syntax tree with its dotted name, nested ones and methods included."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{prefix}.{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from functions_of(child, name)
        else:
            yield from functions_of(child, prefix)


def num_lines(function: Function) -> int:
    """Return the lines from ``def`` to the end, docstring included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def num_parameters(function: Function) -> int:
    """Return the number of parameters without ``self`` and ``cls``; ``*args`` and ``**kwargs`` count as one each."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    own = len(names) - (names[:1] in (["self"], ["cls"]))
    return own + len(arguments.kwonlyargs) + (arguments.vararg is not None) + (arguments.kwarg is not None)


@cache
def functions() -> dict[str, Function]:
    """Return every function of the package by its dotted name; the last of several with one name, as in Python."""
    named: dict[str, Function] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        named.update(functions_of(ast.parse(path.read_text(encoding="utf-8"), str(path)), module))
    return named


def test_every_function_fits_on_a_screen():
    lengths = {name: num_lines(function) for name, function in functions().items()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_function_has_more_parameters_than_a_caller_can_remember():
    counts = {name: num_parameters(function) for name, function in functions().items()}
    long = {name: count for name, count in counts.items() if count > MAX_PARAMETERS and name not in MANY_PARAMETERS}
    assert long == {}, "group them in a frozen dataclass"


def test_every_exception_is_still_one():
    counts = {name: num_parameters(functions()[name]) for name in MANY_PARAMETERS if name in functions()}
    assert counts.keys() == MANY_PARAMETERS.keys()
    assert {name for name, count in counts.items() if count <= MAX_PARAMETERS} == set()


@pytest.mark.parametrize(
    ("code", "lines", "parameters"),
    [
        ("def f(): ...", 1, 0),
        ("def f(self, a, /, b, *, c): ...", 1, 3),
        ("@decorated\nasync def f(\n    a,\n    *args,\n    **kwargs,\n): ...", 5, 3),
    ],
)
def test_lines_and_parameters_are_counted_as_the_rule_says(code: str, lines: int, parameters: int):
    ((name, function),) = functions_of(ast.parse(code), "module")
    assert (name, num_lines(function), num_parameters(function)) == ("module.f", lines, parameters)


def test_methods_and_nested_functions_are_held_to_it_too():
    code = "class A:\n    def f(self):\n        if self:\n            def g(): ..."
    assert [name for name, _ in functions_of(ast.parse(code), "module")] == ["module.A.f", "module.A.f.g"]
