# Two commands on a fresh machine: `make demo` and `make test`. Needs Python >= 3.11, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched after a complete installation; older than pyproject.toml or the lock: install again.
STAMP := $(VENV)/.installed
# There while pip works: an environment that still has it was left half-installed, and is made anew.
UNFINISHED := $(VENV)/.installing
# The CPU build of torch, where the index offers it under this version, is several gigabytes smaller than the default.
TORCH ?= torch==2.13.0
# The lock, for what is installed and for what builds it. A relative path: pip splits these variables at blanks.
LOCKED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
PIP := python -m pip install --quiet --disable-pip-version-check
# One process more than cores (tests/conftest.py says why), and at most eight: each loads torch.
PYTEST := python -m pytest --numprocesses auto --maxprocesses 8
NEEDS_NETWORK = { echo "make $@: pip could not install the packages, see above. This step needs the package index (PyPI or a mirror that pip is configured for); nothing after it needs a network. Run the same command again once it is reached." >&2; exit 1; }

.PHONY: setup system demo test abuse check fix bench docs lock newest oldest clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 11) else "molmo_agent needs Python 3.11 or newer; $(PYTHON) is " + v + ". Name another with: make PYTHON=python3.12 ...")'
	@if [ -e $(UNFINISHED) ]; then echo "$(VENV) was left half-installed: making it anew"; rm -rf $(VENV); fi
	$(PYTHON) -m venv $(VENV)
	@touch $(UNFINISHED)
	@rm -f $@
	@$(LOCKED) $(BIN)/$(PIP) "$(TORCH)" && $(LOCKED) $(BIN)/$(PIP) -e ".[dev]" || $(NEEDS_NETWORK)
	@rm $(UNFINISHED)
	@touch $@

# Programs that no Python package brings: an X server, a window manager, real applications for the tests.
system:
	@sh tests/install_system_packages.sh

demo: setup
	@$(BIN)/agent demo

test: setup system
	$(BIN)/$(PYTEST) --durations=20

# Kills, hostile replies and the like in numbers: up to twenty minutes on two cores. MUTATION_SEED=7 makes other inputs.
abuse: setup system
	$(BIN)/$(PYTEST) --dist worksteal --durations=20 tests/abuse

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/$(PYTEST) -m "not slow" -q

fix: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup
	@for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit $$?; done

# The documentation site in build/site; a warning is an error. Only the first run needs a network.
docs: setup
	@$(BIN)/python -c 'import griffe, material, mkdocs' 2>/dev/null || $(LOCKED) $(BIN)/$(PIP) -e ".[docs]" || $(NEEDS_NETWORK)
	@$(BIN)/python docs/make_site.py

# Write constraints.txt: the newest versions within the ranges of pyproject.toml, for every platform. Needs a network.
lock: setup
	@$(BIN)/$(PIP) uv || $(NEEDS_NETWORK)
	@{ echo "# Written by \`make lock\`: what \`make demo\` and \`make test\` install, on any platform."; \
	  printf '%s\n' "$(TORCH)" setuptools wheel | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --extra dev --no-header --no-annotate --upgrade pyproject.toml -; } > constraints.new
	@mv constraints.new constraints.txt

# The tests that touch dependencies, with the newest published versions (upper ends ignored) and the lowest allowed ones.
newest oldest: system
	rm -rf .venv-$@ && $(PYTHON) -m venv .venv-$@
	@.venv-$@/bin/$(PIP) packaging "$(TORCH)" || $(NEEDS_NETWORK)
	@.venv-$@/bin/python scripts/requirements.py $@ "$(TORCH)" > .venv-$@/requirements.txt
	@.venv-$@/bin/$(PIP) -r .venv-$@/requirements.txt && .venv-$@/bin/$(PIP) --no-deps -e . || $(NEEDS_NETWORK)
	@.venv-$@/bin/python -m pip list --disable-pip-version-check --exclude-editable --format freeze
	MOLMO_AGENT_ANY_VERSION=1 .venv-$@/bin/$(PYTEST) -q -m "not slow or dependencies"

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache runs
