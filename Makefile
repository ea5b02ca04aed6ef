# Needs GNU make, git and Python >= 3.11; everything else is installed into .venv by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests run in so many processes, each with servers of its own. In one, for a debugger: JOBS=0.
JOBS ?= 2
PARALLEL := -n $(JOBS) --dist worksteal
# Tests start hundreds of interpreters: without compiled modules each of them compiles all anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup check fix test unit contract faults-long soak mutants demo bench bench-peers clean simulate simulate-redis

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv and install vecna and its tools into it

$(STAMP): pyproject.toml examples/sqlite_adapter/pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "vecna needs Python 3.11 or newer: '$(PYTHON)' was not found. Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vecna needs Python 3.11 or newer: '$(PYTHON)' is $$($(PYTHON) -c 'import platform; print(platform.python_version())'). Name a newer one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable examples/sqlite_adapter
	@touch $@

check: $(STAMP) ## Lint, formatting, types and architecture: ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy vecna tests $(wildcard examples benchmarks)
	$(BIN)/lint-imports --no-cache

fix: $(STAMP) ## Format, and repair what ruff can repair by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: $(STAMP) ## Run all tests, on memory and on real Redis and Valkey servers (ARGS='-k name -x', JOBS=2)
	$(BIN)/pytest $(PARALLEL) $(ARGS)

unit: $(STAMP) ## Run the fast unit tests only
	$(BIN)/pytest $(PARALLEL) tests/unit -m 'not slow' $(ARGS)

contract: $(STAMP) ## Run the contract suites of all adapters on all servers
	$(BIN)/pytest $(PARALLEL) tests/contract $(ARGS)

faults-long: $(STAMP) ## Run the fault tests that take long, on every kind of server
	VECNA_TEST_KILLING=60 $(BIN)/pytest tests/faults tests/soak -m 'long or slow' $(ARGS)

MINUTES ?= 60
soak: $(STAMP) ## Mixed work while everything is killed at random, a checker, a report of leaks (MINUTES=60)
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

mutants: $(STAMP) ## Break adapters, engine and scripts on purpose: each break has to turn a test red (ARGS='memory lua')
	$(BIN)/python -m tests.mutants $(ARGS)

simulate: $(STAMP) ## Play a million histories of dying processes on memory (SEEDS=, START=, WORLD=)
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000000) --start $(or $(START),0) --world $(or $(WORLD),all)

simulate-redis: $(STAMP) ## The same over a real server, slower (SEEDS=, START=, WORLD=, ON=redis8)
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation --on $(or $(ON),redis8) --seeds $(or $(SEEDS),1000) --start $(or $(START),0) --world $(or $(WORLD),all)

# make puts variables of its command line into the environment: that is how DEMO_PATH and REDIS arrive.
demo: $(STAMP) ## Run the example on real input (DEMO_PATH=folder, REDIS=redis://localhost:6379/0)
	@$(BIN)/python -m examples.demo

bench: $(STAMP) ## Measure sending, draining and latency
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(STAMP) ## Measure vecna beside other task queues, some 25 minutes (ARGS='--quick', '--peers huey', '--help')
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean: ## Remove .venv, caches and build output
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
