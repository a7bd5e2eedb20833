# `make demo` and `make test` install all they need, at the first call, into .venv and the lab's cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-openstack test-boundaries lint faults bench clean
.DEFAULT_GOAL := test

$(READY): setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# CLOUD=local or CLOUD=openstack (two real OpenStack clouds on this machine)
CLOUD ?= local

demo: $(READY)
	CLOUD=$(CLOUD) $(BIN)/python -m lab.demo

# The tests on the real OpenStack (twenty minutes more, and 3 GB of memory) are a target of their own for now.
OPENSTACK := tests/openstack tests/openstack_stand
# So are the kills at every effect of a real pass: they want a machine that does nothing else.
BOUNDARIES := tests/real/test_boundaries.py

test: $(READY)
	$(BIN)/python -m pytest -n 4 --dist load $(OPENSTACK:%=--ignore=%) $(BOUNDARIES:%=--ignore=%)

test-boundaries: $(READY)
	$(BIN)/python -m pytest $(BOUNDARIES)

test-openstack: $(READY)
	$(BIN)/python -m pytest -n 2 --dist load $(OPENSTACK)

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# Breaks ehoslite on purpose, for half an hour and more, and writes what came of it into docs/reliability.md.
faults: $(READY)
	$(BIN)/python -m faults all

bench: $(READY)
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
