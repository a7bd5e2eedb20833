# `make demo` and `make test` install all they need, at the first call, into .venv and the lab's cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests start thousands of passes; where it is set, as in many container images, each would compile ehoslite anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint faults bench clean
.DEFAULT_GOAL := test

$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# CLOUD=local or CLOUD=openstack (two real OpenStack clouds on this machine)
CLOUD ?= local

demo: $(READY)
	CLOUD=$(CLOUD) $(BIN)/python -m lab.demo

# More workers than cores: the tests on real daemons mostly wait for them.
test: $(READY)
	$(BIN)/python -m pytest -n 4 --dist load

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# Breaks ehoslite on purpose, for half an hour, and writes what came of it into docs/reliability.md.
faults: $(READY)
	$(BIN)/python -m faults all

# BENCH=million: the queue of a million jobs, half an hour
bench: $(READY)
	$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
