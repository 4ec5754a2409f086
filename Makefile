# RecGauntlet: make demo | make test | make install. Needs Python 3.11 or newer and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
BENCH_TEXT := .venv-bench-text
PIP := -m pip install --quiet --disable-pip-version-check
DEMO := demo
DEMO_TASKS := ecommerce-purchase,news-click,video-watch
DOCS ?= docs
# One thread a worker: more would compete for the same cores. Four workers for two cores: many tests wait for processes.
# Files in order of path: xdist would leave files of few and long tests to the end, where one worker is left alone.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow bench lint types check site docs lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# The stamp is younger than the lock and the project file: nothing is installed twice.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("RecGauntlet needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(VENV)/.installed ## Make .venv from the lock file

# Three tasks, so that it takes three minutes; music-listen has a demo track too: recgauntlet run --track demo --task music-listen
demo: install ## Run the demo track of three tasks and render the leaderboard
	$(BIN)/recgauntlet run --track demo --task $(DEMO_TASKS) --out $(DEMO)
	$(BIN)/recgauntlet site --results $(DEMO) --out $(DEMO)-site
	@echo "the leaderboard: $(CURDIR)/$(DEMO)-site/index.html"

test: install ## Run the suite on two cores, without what is marked slow
	$(PYTEST) -m "not slow"

test-slow: install ## Run the tests that take more than 20 seconds each
	$(PYTEST) -m slow

# Peers are optional: where they cannot be installed, their benchmarks say so and are skipped.
$(BENCH)/.installed: requirements.lock tests/benchmarks/requirements-peers.txt pyproject.toml
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python $(PIP) -r requirements.lock
	$(BENCH)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@if $(BENCH)/bin/python $(PIP) --no-deps -r tests/benchmarks/requirements-peers.txt; then touch $@; fi

$(BENCH_TEXT)/.installed: tests/benchmarks/requirements-peers-text.txt pyproject.toml
	test -x $(BENCH_TEXT)/bin/python || $(PYTHON) -m venv $(BENCH_TEXT)
	@if $(BENCH_TEXT)/bin/python $(PIP) -r tests/benchmarks/requirements-peers-text.txt \
	&& $(BENCH_TEXT)/bin/python $(PIP) --no-deps --no-build-isolation --editable .; then touch $@; fi

bench: $(BENCH)/.installed $(BENCH_TEXT)/.installed ## Race peer libraries and write the ratios to docs/reference/performance.json
	rm -rf .benchmarks
	@failed=0; \
	$(BENCH)/bin/python -m pytest -q tests/benchmarks || failed=1; \
	if test -e $(BENCH_TEXT)/.installed; then \
		$(BENCH_TEXT)/bin/python -m pytest -q tests/benchmarks/test_bench_text_peers.py || failed=1; \
	fi; \
	exit $$failed

lint: install ## Style, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install ## mypy (strict) and basedpyright
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check: lint types test test-slow ## All that CI runs

site: install ## Build site/public, the leaderboard of the current release
	$(BIN)/recgauntlet site --docs "$(DOCS)"

docs: install ## Fill the generated parts of the documentation
	$(BIN)/python docs/generate.py

lock: ## Renew requirements.lock from what is installed in .venv
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/^torch==\([0-9.]*\)+.*/torch==\1/' > requirements.lock

clean: ## Remove what make has made (records stay)
	rm -rf $(VENV) $(BENCH) $(BENCH_TEXT) .benchmarks build dist .pytest_cache .mypy_cache .ruff_cache
