# `make demo` and `make test` do everything, on a machine with Python ≥ 3.11, make and a network.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: help setup demo test test-all test-cluster lint format bench contracts clean anew

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# A folder that was moved, or a system with another Python: the programs in .venv/bin begin with a path that is gone. What
# lies in .venv/installed says where and for which Python it was made.
WHERE := $(BIN)/python -ISc 'import sys; print(sys.executable, *sys.version_info[:2])'
MADE := $(shell cat .venv/installed 2>/dev/null)
ifneq ($(MADE),)
ifneq ($(MADE),$(shell $(WHERE) 2>/dev/null))
ANEW := --clear
.venv/installed: anew
endif
endif

setup: .venv/installed ## Make .venv with the `andon` command in it.

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Andon needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12'; exit 1; }
	$(if $(ANEW),@echo 'The folder was moved or its Python has gone: .venv is made anew.')
	$(PYTHON) -m venv $(ANEW) .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "The folder .venv is of another Python: remove it, then again: make $(MAKECMDGOALS)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@echo 'Installing (torch brings several GB; a few minutes the first time) …'
	@# uv takes half a minute where pip takes several; pip goes where only pip is configured for the local mirror.
	@# Compiled once, here: importing torch and ray from source takes half a minute in every process that needs them.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[test]' || \
	  $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@$(WHERE) > $@

demo: setup ## Run the whole factory on this machine; options in ARGS="--frames 100", see `.venv/bin/andon demo --help`.
	$(BIN)/andon demo $(ARGS)

# Three at a time, on two cores: they wait for a broker, a browser or a clock most of the time; four took no less.
# tests/conftest.py says which tests stay together, and has these begin first; reordered by number, others would.
# ARGS='-n 0': one after the other.
# Bytecode is kept, whatever the shell says: tests start some hundred processes, and each would compile all of Andon.
test: export PYTHONDONTWRITEBYTECODE :=
test: setup ## Run the tests, but for the slow ones.
	$(BIN)/python -m pytest -m 'not slow' -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

test-all: setup ## Run all tests.
	$(BIN)/python -m pytest $(ARGS)

test-cluster: setup ## Send the charts to a real Kubernetes API server; needs CRDs and Go, and says where they are missing.
	$(BIN)/python -m pytest -rs -m cluster tests/deploy $(ARGS)

lint: setup ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Mend what the linter can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure speed and memory, as ratios within one run.
	$(BIN)/python -m benchmarks $(ARGS)

contracts: setup ## Write the JSON Schemas of the events anew.
	$(BIN)/andon contracts

clean: ## Remove .venv, the demo's data and its report.
	@# Refused while its services run; a program whose Python has gone (126, 127) refuses nothing.
	test ! -x $(BIN)/andon || $(BIN)/andon local clean || test $$? -ge 126
	rm -rf .venv report
