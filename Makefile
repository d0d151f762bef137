# Everything starts here: `make` alone lists what there is.

PYTHON ?= python3
WORKERS ?= 2
WORLDS ?= 20000
KILLS ?= 200
SEED ?= 1
FUZZ_SECONDS ?= 60

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BENCHMARKS := $(filter-out $(addprefix benchmarks/,report.py crowd.py simulated.py usage_topic.py worker_baselines.py),$(sort $(wildcard benchmarks/[a-z]*.py)))

export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help setup compiled demo test worlds fuzz check bench bench-smoke torture format lint types contracts lock

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/project.stamp ## make .venv with everything pinned; quick when nothing changed

demo: setup ## simulate, rate and explain an evening of 20,000 households
	@$(BIN)/ratecast demo

compiled: setup
	@scratch=$$(mktemp -d) && $(BIN)/ratecast demo --households 50 --hours 0.5 --folder $$scratch/demo >$$scratch/said 2>&1 \
		|| { cat $$scratch/said >&2; exit 1; }; rm -rf $$scratch

test: compiled ## run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) -q

worlds: setup ## hold the core against the reference rater on many random worlds; WORLDS=20000
	@$(BIN)/python tests/property/test_core_agrees.py 0 $(WORLDS)

fuzz: setup ## throw spoiled input at every door, a minute each; FUZZ_SECONDS=3600, FUZZ=name, SEED=
	@$(BIN)/python tests/fuzz/run.py $(FUZZ) --seconds $(FUZZ_SECONDS) --seed $(SEED)

check: setup ## all that must hold before a change lands; what continuous integration runs
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted; run 'make format'." >&2; exit 1; }
	@$(MAKE) --no-print-directory lint types contracts bench-smoke
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

lock: setup ## pin the newest versions that pyproject.toml allows
	@$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url \
		--no-emit-find-links --output-file=requirements.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url \
		--no-emit-find-links --extra=dev --constraint=requirements.txt --output-file=requirements-dev.txt pyproject.toml

$(VENV)/packages.stamp: requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)'; install Debian's package python3, or name yours: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ratecast needs Python 3.11 or newer and '$(PYTHON)' is older; install Debian's package python3 (bookworm or later), or name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make a virtual environment; install Debian's package python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) (a minute or two, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@touch $@

$(VENV)/project.stamp: $(VENV)/packages.stamp pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
