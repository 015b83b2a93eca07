# Both commands make what they need in .venv, from a fresh clone, with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n 2 --no-loadscope-reorder

.PHONY: demo test check lint format docs bench training clean

demo: $(VENV)/.installed
	$(BIN)/fvcli extract sample_images -o features || test $$? -eq 3
	@echo
	@echo "The vectors are in features/data/, what failed and why in features/failures/, the summary in features/manifest.json."

# make test ARGS="-k name" runs some of them, ARGS="-n 0" one after another.
test: $(VENV)/.installed-test
	$(PYTEST) $(ARGS)

# What to run before every commit: under a minute.
check: lint
	$(PYTEST) -m "not slow and not ray and not browser" --ignore=tests/training $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

# The guide's tables of options, from the commands.
docs: $(VENV)/.installed
	$(BIN)/python -m docs.tables

# make bench ARGS=--quick takes a minute on a quiet machine.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.speed $(ARGS)

# PyTorch, for training/ and its tests, which are skipped without it.
training: $(VENV)/.installed-training

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/.installed-training: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,training]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	touch $@

clean:
	rm -rf features build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
