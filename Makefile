# Everything starts here: `make` alone lists what there is.

PYTHON ?= python3
WORKERS ?= 2
WORLDS ?= 20000
KILLS ?= 200
SEED ?= 1
FUZZ_SECONDS ?= 60

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Install what a file pins, by hash, and say what comes over the network.
install = $(PIP) install --no-input --progress-bar off --require-hashes --only-binary :all: --requirement $(1) \
	| awk '/^ *(Downloading|Using cached).*MB\)/ {split($$NF == "MB)" ? $$(NF - 2) : $$2, part, "-"); print "  " part[1], part[2], $$(NF - 1), $$NF} \
		/^Installing/ {print "  installing"} {fflush()}'
BENCHMARKS := $(filter-out $(addprefix benchmarks/,report.py crowd.py simulated.py usage_topic.py worker_baselines.py),$(sort $(wildcard benchmarks/[a-z]*.py)))

export PIP_ROOT_USER_ACTION := ignore

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help setup compiled demo test worlds fuzz check bench bench-smoke torture format lint types contracts audit lock

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/development.stamp ## make .venv with everything pinned; quick when nothing changed

demo: $(VENV)/project.stamp ## simulate, rate and explain an evening of 20,000 households
	@$(BIN)/ratecast demo

compiled: setup
	@scratch=$$(mktemp -d) && $(BIN)/ratecast demo --households 50 --hours 0.5 --folder $$scratch/demo >$$scratch/said 2>&1 \
		|| { cat $$scratch/said >&2; exit 1; }; rm -rf $$scratch

test: compiled ## run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) -q

worlds: setup ## hold the core against the reference rater on many random worlds; WORLDS=20000
	@$(BIN)/python tests/property/test_core_agrees.py 0 $(WORLDS)

fuzz: setup ## throw spoiled input at every door, a minute each; FUZZ_SECONDS=3600, FUZZ=name, SEED=
	@$(BIN)/python tests/fuzz/run.py $(FUZZ) --seconds $(FUZZ_SECONDS) --seed $(SEED) --jobs $(WORKERS)

check: setup ## all that must hold before a change lands; what continuous integration runs
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted; run 'make format'." >&2; exit 1; }
	@$(MAKE) --no-print-directory lint types contracts audit bench-smoke fuzz
	@$(MAKE) --no-print-directory test

bench: setup ## measure the speed of each part, with its baselines
	@for file in $(BENCHMARKS); do \
		echo "== $$file"; \
		kept=$$(grep -q '^from report import' $$file && echo '--results benchmarks/results'); \
		$(BIN)/python $$file $$kept || exit 1; \
	done

bench-smoke: setup ## run every benchmark in a small size, so that none rots
	@for file in $(BENCHMARKS); do echo "== $$file --smoke"; $(BIN)/python $$file --smoke || exit 1; done

torture: setup ## kill, freeze, cut and fill workers, broker and database, 200 kills; KILLS= or FAULTS=, SEED=
	@$(BIN)/python tests/torture.py $(if $(FAULTS),--faults $(FAULTS),--kills $(KILLS)) --seed $(SEED)

format: setup ## format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: setup ## look for mistakes and bad habits
	@$(BIN)/ruff check --quiet .

types: setup ## check the types
	@$(BIN)/mypy

contracts: setup ## check who imports whom
	@$(BIN)/lint-imports

audit: setup ## look for pinned versions, and lower bounds, with known holes
	@$(BIN)/python deploy/audit.py

lock: setup ## pin the newest versions that pyproject.toml allows
	@$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url \
		--no-emit-find-links --output-file=requirements.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url \
		--no-emit-find-links --all-build-deps --only-build-deps --constraint=requirements.txt --output-file=requirements-build.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url \
		--no-emit-find-links --extra=dev --constraint=requirements.txt --output-file=requirements-dev.txt pyproject.toml

# What rating needs, and no more: some 210 MB of wheels, none of which asks for a compiler.
$(VENV)/runtime.stamp: requirements.txt requirements-build.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)'; install Debian's package python3, or name yours: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ratecast needs Python 3.11 or newer and '$(PYTHON)' is older; install Debian's package python3 (bookworm or later), or name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make a virtual environment; install Debian's package python3-venv" >&2; exit 1; }
	@echo "Making $(VENV): some 210 MB of packages are downloaded once, which takes a minute or two"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(call install,requirements-build.txt)
	@$(call install,requirements.txt)
	@touch $@

$(VENV)/project.stamp: $(VENV)/runtime.stamp pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# What building and testing need besides.
$(VENV)/development.stamp: $(VENV)/project.stamp requirements-dev.txt
	@echo "Adding to $(VENV) what tests need"
	@$(call install,requirements-dev.txt)
	@touch $@
