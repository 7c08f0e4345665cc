# The newcomer's two: `make run` and `make test`. Needs Python 3.11+, pip, make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test check format schema docs lock bench clean
help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /	/'

run: $(VENV)/.run  ## See the demo: a shop that misbehaves, the sidecar before it
	$(BIN)/sidecar demo

test: $(VENV)/.dev  ## Run the whole test suite
	$(BIN)/python -m pytest

check: $(VENV)/.dev  ## Lint, format check, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## Format the tree
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.run  ## Make config/schema.json anew
	$(BIN)/sidecar schema > config/schema.json

docs: $(VENV)/.run  ## Make docs/faults.md anew
	$(BIN)/python -m sidecar.faults.docs > docs/faults.md

bench: $(VENV)/.dev  ## Measure beside nginx, HAProxy, Caddy and aiohttp
	$(BIN)/python -m benchmarks

lock: $(VENV)/.dev  ## Make the lock files anew
	$(BIN)/pip-compile -q --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-annotate -o .requirements/run.txt pyproject.toml
	$(BIN)/pip-compile -q --upgrade --strip-extras --no-emit-index-url --no-emit-find-links --no-annotate --extra dev -o .requirements/dev.txt pyproject.toml

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python .requirements/run.txt pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -r .requirements/run.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run .requirements/dev.txt
	$(BIN)/pip install -q --disable-pip-version-check -r .requirements/dev.txt
	touch $@

clean:  ## Remove what make made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
