# Each target makes what it needs: the virtual environment first of all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-long check benchmark benchmark-smoke soak format clean

help:            ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/  /'

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

demo: $(VENV)/installed       ## Train on the digits shipped with rnnjob, in one process
	$(BIN)/rnnjob submit --local --dataset mnist-sample --epochs 20

test: $(VENV)/installed       ## Pass the tests
	$(BIN)/python -m pytest

test-long: $(VENV)/installed  ## Pass those that take minutes each: faults on real Ray nodes
	$(BIN)/python -m pytest -m long

check: $(VENV)/installed      ## Lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed     ## Format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/installed  ## Beside plain PyTorch and plain Ray; needs idx files: RNNJOB_DATA_DIR
	$(BIN)/python benchmarks/single_process.py
	$(BIN)/python benchmarks/checkpoint_cost.py
	$(BIN)/python benchmarks/startup.py

benchmark-smoke: $(VENV)/installed  ## The same, small enough for CI
	$(BIN)/python benchmarks/single_process.py --smoke
	$(BIN)/python benchmarks/checkpoint_cost.py --smoke
	$(BIN)/python benchmarks/startup.py --smoke

soak: $(VENV)/installed       ## Many drills, for hours; goes on where soak.jsonl ends
	$(BIN)/python benchmarks/soak.py

clean:           ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
