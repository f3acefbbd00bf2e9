"""No file that is read may run code: which calls the package contains, by walking every syntax tree."""

import ast
from pathlib import Path

import molmo_agent

PACKAGE = Path(molmo_agent.__file__).parent
ROOT = PACKAGE.parent
SOURCES = sorted(
    path
    for folder in (PACKAGE, ROOT / "scripts", ROOT / "examples", ROOT / "benchmarks")
    for path in folder.rglob("*.py")
)
# Reads torch's description of a checkpoint with an allow-list of classes.
ALLOWED_PICKLE = {PACKAGE / "train" / "shards.py"}
# Ways to turn data into code. ``copyreg`` and ``code`` have no use here either.
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "joblib",
    "jsonpickle",
    "imp",
    "code",
}
NAMES = {"eval", "exec", "compile", "__import__"}
# Objects whose class method loads a checkpoint, or builds what a config names.
LOADERS = {"from_pretrained", "from_config"}
# Loaders of this package, which check the files and pass the option on.
OWN = {"MolmoPointer", "Molmo2Pointer", "cls"}


def calls_of(tree):
    """Yield each call with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def findings(path, tree):
    """Yield the lines that could run code of a file, with a reason."""
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [str(node.module)]
        for module in modules:
            if module.split(".")[0] in MODULES and path not in ALLOWED_PICKLE:
                yield node.lineno, f"import of {module}"
    for node, name in calls_of(tree):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in NAMES or name in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"):
            yield node.lineno, name
        elif name == "torch.load" and options.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        elif name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            yield node.lineno, "np.load without allow_pickle=False"
        elif name == "pipeline" and options.get("trust_remote_code") != "False":
            yield node.lineno, "pipeline without trust_remote_code=False"
        elif name.split(".")[-1] in LOADERS and not is_safe_loader(name, options):
            yield node.lineno, f"{name} without trust_remote_code=False"
        elif "trust_remote_code" in options and options["trust_remote_code"] != "False":
            yield node.lineno, "trust_remote_code"
        elif name.endswith(("Popen", "subprocess.run", "check_output")) and options.get("shell") not in (None, "False"):
            yield node.lineno, f"{name} with a shell"


def is_safe_loader(name, options):
    """Return whether a loader is told to run no code of the checkpoint."""
    owner = name.split(".")[-2] if "." in name else ""
    if owner in OWN or owner.startswith("super()") or options.get("trust_remote_code") == "False":
        return True
    # Options without a name: places() has trust_remote_code=False.
    return any("places(" in value or value == "options" for key, value in options.items() if key is None)


def scan(source, path=PACKAGE / "x.py"):
    return [reason for _, reason in findings(path, ast.parse(source))]


def test_no_file_of_the_project_can_run_code_of_a_file():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {reason}"
        for path in SOURCES
        for line, reason in findings(path, ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_walk_finds_every_such_call():
    sources = [
        "import pickle", "from pickle import loads", "import marshal", "import shelve", "from joblib import load",
        "import cloudpickle", "eval('1')", "exec(text)", "yaml.load(text, Loader)", "yaml.unsafe_load(text)",
        "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(source)", "AutoConfig.from_config(c)", "pipeline('x')",
        "AutoModel.from_pretrained(source, trust_remote_code=True)", "load(source, trust_remote_code=flag)",
        "subprocess.run(command, shell=True)",
    ]  # fmt: skip
    assert [source for source in sources if not scan(source)] == []
    fine = [
        "yaml.safe_load(text)", "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)",
        "AutoModel.from_pretrained(s, trust_remote_code=False)", "MolmoProcessor.from_pretrained(s, **places(s))",
        "json.loads(text)", "re.compile(text)",
    ]  # fmt: skip
    assert [source for source in fine if scan(source)] == []


def test_the_allow_listed_reader_of_pickles_names_nothing_that_can_be_called_for_harm():
    from molmo_agent.train.shards import _ALLOWED

    modules = {module for module, _ in _ALLOWED}
    assert modules <= {
        "torch", "torch.serialization", "torch.distributed.checkpoint.metadata",
        "torch.distributed.checkpoint.filesystem", "pathlib", "pathlib._local",
    }  # fmt: skip
    assert all(
        isinstance(value, type) or not callable(value) or value.__name__ == "_get_layout" for value in _ALLOWED.values()
    )
