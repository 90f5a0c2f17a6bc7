# Every target sets up what it needs in .venv and does so once: the stamps in .venv remember it,
# so the second time works offline. `make demo PYTHON=python3.12` picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test core lint format bench env-test clean

help:
	@echo "make demo    train a network on handwritten digits and show the result"
	@echo "make test    run the tests"
	@echo "make core    run those that are soon done"
	@echo "make lint    check format, lint and types"
	@echo "make format  put the sources into the house format"
	@echo "make bench   compare with PyTorch and JAX on this machine"
	@echo "make clean   remove the environment and all build products"

demo: $(VENV)/.stamp-base
	$(BIN)/cotangent demo

test: env-test
	$(BIN)/python -m pytest -n auto --dist worksteal --doctest-modules src tests

core: env-test
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not wide" --doctest-modules src tests

env-test: $(VENV)/.stamp-test

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.stamp-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.stamp-bench
	$(BIN)/python benchmarks/run.py

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Cotangent needs Python 3.11 or later, and $(PYTHON) is not (or is missing)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-base: $(VENV)/.stamp-venv pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-base
	$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-test
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.stamp-bench: $(VENV)/.stamp-base
	$(PIP) --editable '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
