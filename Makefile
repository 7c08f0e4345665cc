# The newcomer's two: `make run` and `make test`. Needs Python 3.11+, pip and make.
#
# Everything goes into .venv, from the lock in .requirements/; the stamps in .venv
# make the second call start at once. All paths are relative, so the folder may have
# spaces in its name. A folder that moved needs `make clean` first.

# The first of these that is new enough makes .venv; `make PYTHON=python3.13 run` sets it.
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
VENV := .venv
BIN := $(VENV)/bin
COMPILED := $(VENV)/compiled
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
DATA_PATH_TESTS := tests/exchange tests/conformance tests/wire tests/route tests/policy \
  tests/record tests/e2e tests/soak tests/test_app.py tests/test_compiled.py
COMPILE := $(BIN)/python -m piptools compile --quiet --strip-extras --no-annotate \
  --no-emit-index-url --no-emit-find-links

.DELETE_ON_ERROR:
.PHONY: help run page pictures test test-compiled check format schema docs observability compile bench fuzz soak \
  resources lock install-image clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.run  ## See the demo: a shop that misbehaves, the sidecar before it
	@$(MAKE) --no-print-directory page || echo "note: going on without the page"
	@$(BIN)/sidecar demo

page: $(VENV)/.run  ## Make the page of the admin address anew, if its sources changed
	@$(BIN)/python sidecar/page/backend.py

test: $(VENV)/.dev page  ## Run the whole test suite; ARGS="-k retry" runs a part of it
	$(BIN)/python -m pytest $(ARGS)

# Not from this folder, or the sources here would be imported.
test-compiled: $(COMPILED)/.made  ## Run what concerns the data path on the compiled one
	cp -R tests benchmarks config docs k8s pyproject.toml README.md $(COMPILED)
	cd $(COMPILED) && ../bin/python -m pytest $(DATA_PATH_TESTS) $(ARGS)

check: $(VENV)/.dev  ## Lint, format check, types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.dev  ## Format the tree
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

schema: $(VENV)/.run  ## Make config/schema.json anew
	$(BIN)/sidecar schema > $(VENV)/schema.json
	mv $(VENV)/schema.json config/schema.json

docs: $(VENV)/.run  ## Make docs/faults.md anew
	$(BIN)/python -m sidecar.faults.docs > $(VENV)/faults.md
	mv $(VENV)/faults.md docs/faults.md

pictures: $(VENV)/.dev page  ## Take the pictures of the page that the docs show
	$(BIN)/python -m tests.page.pictures

OBSERVABILITY := k8s/overlays/observability

observability: $(VENV)/.run  ## Make the alert rules and the dashboard in k8s/ anew
	$(BIN)/sidecar alerts -c config/examples/objectives.yaml > $(VENV)/rules.yaml
	mv $(VENV)/rules.yaml $(OBSERVABILITY)/rules.yaml
	$(BIN)/sidecar dashboard > $(VENV)/dashboard.json
	mv $(VENV)/dashboard.json $(OBSERVABILITY)/dashboard.json

compile: $(COMPILED)/.made  ## Make the data path machine code, in .venv/compiled (needs gcc)

bench: $(VENV)/.dev  ## Measure beside nginx, HAProxy, Caddy and aiohttp
	-$(MAKE) compile
	$(BIN)/python -m benchmarks $(ARGS)

resources: $(VENV)/.dev  ## Measure memory and CPU of one sidecar, for requests and limits
	-$(MAKE) compile
	$(BIN)/python -m benchmarks.resources

soak: $(VENV)/.dev  ## Traffic while the origin is killed, paused, reset: make soak MINUTES=5
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),1) $(ARGS)

fuzz: $(VENV)/.fuzz  ## Look for inputs that break a rule: make fuzz SECONDS=600 TARGET=head
	$(BIN)/python -m tests.fuzz $(or $(TARGET),all) --seconds $(or $(SECONDS),60) \
	  --folder $(VENV)/fuzz $(ARGS)

# Made with the oldest Python we support: a newer one may pin what that cannot install.
lock: $(VENV)/.dev  ## Make the lock anew, with the newest versions
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "make lock needs Python 3.11: make clean; make PYTHON=python3.11 lock"; exit 1; }
	$(COMPILE) --upgrade --output-file=.requirements/run.txt pyproject.toml
	$(COMPILE) --upgrade --constraint=.requirements/run.txt --extra=dev \
	  --output-file=.requirements/dev.txt pyproject.toml

install-image:  ## What the image is made of: make install-image DEST=/opt/sidecar
	@.requirements/install-image "$(or $(DEST),$(error DEST is not set))"

clean:  ## Remove what make and the tools made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find sidecar tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Some systems ship Python without the part that puts pip into a new environment;
# then the pip they do ship puts itself there.
$(VENV)/.made:
	@for python in $(PYTHONS); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  rm -rf $(VENV); \
	  echo "making $(VENV) with $$("$$python" --version)"; \
	  if "$$python" -c 'import ensurepip' 2>/dev/null; then \
	    "$$python" -m venv $(VENV); \
	  else \
	    "$$python" -m venv --without-pip $(VENV) \
	      && "$$python" -m pip --python $(BIN)/python install --quiet pip; \
	  fi && touch $@; \
	  exit; \
	done; \
	echo "Python 3.11 or newer is needed; tried: $(PYTHONS)."; \
	echo "Say where one is: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; \
	exit 1

$(VENV)/.run: $(VENV)/.made .requirements/run.txt pyproject.toml
	$(PIP) install --quiet -r .requirements/run.txt
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run .requirements/dev.txt
	$(PIP) install --quiet -r .requirements/dev.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev .requirements/fuzz.txt
	$(PIP) install --quiet --only-binary :all: -r .requirements/fuzz.txt
	@touch $@

# A copy of the sources beside its compiled modules; the sources here stay in use.
$(COMPILED)/.made: $(VENV)/.dev .requirements/compile $(shell find sidecar -name '*.py' 2>/dev/null)
	rm -rf $(COMPILED)
	mkdir -p $(COMPILED)
	cp -R sidecar $(COMPILED)
	$(BIN)/python .requirements/compile $(COMPILED)
	@touch $@
