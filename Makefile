# RecGauntlet: make demo | make test | make install. Needs Python 3.11 or newer and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types check site lock clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# The stamp is younger than the lock and the project file: nothing is installed twice.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("RecGauntlet needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(VENV)/.installed ## Make .venv from the lock file

demo: install ## Run the demo track of all three tasks and render the leaderboard
	$(BIN)/recgauntlet run --track demo --out $(DEMO)
	$(BIN)/recgauntlet site --results $(DEMO) --out $(DEMO)-site
	@echo "the leaderboard: $(CURDIR)/$(DEMO)-site/index.html"

test: install ## Run the whole suite
	$(BIN)/python -m pytest

lint: install ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy (strict) and basedpyright
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check: lint types test ## All that CI runs

site: install ## Render the committed results
	$(BIN)/recgauntlet site --results results/preview --out site/public

lock: ## Renew requirements.lock from what is installed in .venv
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/^torch==\([0-9.]*\)+.*/torch==\1/' > requirements.lock

clean: ## Remove what make has made (records stay)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
