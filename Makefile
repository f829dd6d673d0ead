# Each target makes what it needs, beginning with the virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-fast test-long test-release test-gpu check benchmark benchmark-smoke
.PHONY: bench bench-gpu soak crowd matrix docs format clean

help:            ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/  /'

# Of sktime, only its data are used. With all that it depends on, it would want an older pandas.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps sktime --constraint constraints.txt
	touch $@

demo: $(VENV)/installed       ## Train on the digits shipped with rnnjob, in one process
	$(BIN)/rnnjob submit --local --dataset mnist-sample --epochs 20

test: $(VENV)/installed       ## Run all tests but the long ones
	$(BIN)/python -m pytest tests/unit -n auto
	$(BIN)/python -m pytest tests/integration tests/e2e tests/gpu -n 2 --dist loadfile

test-fast: $(VENV)/installed  ## Run only the unit tests: no Ray, under a minute
	$(BIN)/python -m pytest tests/unit -n auto -m 'not slow'

test-long: $(VENV)/installed  ## Run the tests that take minutes: faults on real Ray nodes
	$(BIN)/python -m pytest -m long

test-release: $(VENV)/installed  ## Run the tests for a release: the docs word by word, the wheel, more clusters
	$(BIN)/python -m pytest -m release

test-gpu: $(VENV)/installed   ## Run the tests that need an NVIDIA GPU; without one they are skipped
	$(BIN)/python -m pytest tests/gpu

check: $(VENV)/installed      ## Check lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed     ## Format, sort imports, and write the schema and docs/api.md anew
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/make_schema.py
	$(BIN)/python scripts/make_api_docs.py

benchmark: $(VENV)/installed  ## Measure checkpoints, startup, predictions, lists and the exchange; RNNJOB_DATA_DIR has the idx files
	$(BIN)/python benchmarks/checkpoint_cost.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/predict_million.py
	$(BIN)/python benchmarks/many_runs.py
	$(BIN)/python -m benchmarks.exchange

benchmark-smoke: $(VENV)/installed  ## Run benchmarks, small enough for CI
	$(BIN)/python -m benchmarks.bench --smoke
	$(BIN)/python benchmarks/checkpoint_cost.py --smoke
	$(BIN)/python benchmarks/startup.py --smoke
	$(BIN)/python benchmarks/predict_million.py --smoke
	$(BIN)/python benchmarks/many_runs.py --smoke
	$(BIN)/python benchmarks/processes.py

bench: $(VENV)/installed      ## Compare with PyTorch, torchrun, Ray Train, Keras: benchmarks/RESULTS.md; hours
	$(BIN)/python -m benchmarks.bench

bench-gpu: $(VENV)/installed  ## Compare with plain PyTorch and cuDNN on an NVIDIA GPU
	$(BIN)/python benchmarks/gpu.py

docs: $(VENV)/docs             ## Build the docs as a site, build/site/index.html; fails on a dead link
	$(BIN)/mkdocs build --strict --quiet

$(VENV)/docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]' --constraint constraints.txt
	touch $@

soak: $(VENV)/installed       ## Run many drills, for hours; continues where soak.jsonl ends
	$(BIN)/python benchmarks/soak.py

matrix: $(VENV)/installed     ## Do to runs what can happen to them, ask every verb, write the table
	$(BIN)/python -m benchmarks.matrix

crowd: $(VENV)/installed      ## Let ten clients use the same runs at once, and kill half of 200 runs
	$(BIN)/python benchmarks/crowd.py

clean:           ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info .import_linter_cache
