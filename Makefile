# Two commands on a fresh machine: `make demo` and `make test`. Needs Python >= 3.11, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A stamp that is older than pyproject.toml installs again.
STAMP := $(VENV)/.installed
# The CPU build of torch, where the index offers it under this version, is several gigabytes smaller than the default.
TORCH ?= torch==2.13.0

.PHONY: setup system demo test check fix bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 11) else "molmo_agent needs Python 3.11 or newer; $(PYTHON) is " + v + ". Name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

# Programs that no Python package brings: an X server, a window manager, real applications for the tests.
system:
	@sh tests/install_system_packages.sh

demo: setup
	@$(BIN)/agent demo

test: setup system
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" -q

fix: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup
	@for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit $$?; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache runs
