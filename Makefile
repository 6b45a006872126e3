# Every target makes its own .venv from the hashed lock, with nothing but python3, venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MEMORY := $(shell test -w /dev/shm && echo /dev/shm || echo $${TMPDIR:-/tmp})
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test sweep check bench fleet lock docs clean

demo: $(READY)
	$(BIN)/keyturn demo

# Every journal write is forced to disk; where there is a folder in memory the tests work there, and are twice as fast.
test: $(READY)
	TMPDIR=$(MEMORY) $(BIN)/python -m pytest -n 2 -m "not sweep"

# A fault at each of many points: kill -9 at every journal write, sinks in every kind of trouble.
sweep: $(READY)
	TMPDIR=$(MEMORY) $(BIN)/python -m pytest -n 2 -m sweep

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m tests.bench

# 1,000 secrets due at once, three runners on one PostgreSQL journal, one of them killed. About five minutes.
fleet: $(READY)
	PYTHONPATH=tests TMPDIR=$(MEMORY) $(BIN)/python -m fleet

# The pages and the schema that are written from the code; a test fails when they are stale.
docs: $(READY)
	$(BIN)/python -m tests.reference

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  requirements/dev.in -o requirements/dev.txt

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
