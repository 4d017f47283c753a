# Needs Python 3.11 or newer and pip. Everything else goes into .venv in this folder.
#
#   make test PYTHON=python3.12        another interpreter (remove .venv first)
#   make test ARGS="-k memory"         more arguments for pytest
#   make demo ARGS="--synthetic"       more arguments for `tfsasm demo`

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
KERNELS := src/tfsasm/motrv2/fast/kernels

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench-quality clean

help:
	@echo "make demo    track a short clip of real people, into ./tfsasm-demo"
	@echo "make test    lint, then the default test suite"
	@echo "make lint    ruff and mypy"
	@echo "make bench-quality ARGS=...  how good the appearance tracker is (docs/results.md)"
	@echo "make setup   only the environment in $(VENV); the others do this by themselves"
	@echo "make clean   remove $(VENV), caches and build files"

setup: $(STAMP)

demo: $(STAMP)
	$(BIN)/tfsasm demo $(ARGS)

test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 $(ARGS)

bench-quality: $(STAMP)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.quality all $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/mypy

# Done again only when what is to be installed has changed, the C++ kernels among it, which it
# compiles where a compiler is. An environment that is there is kept.
# Some systems ship venv without the pip inside; then the system's own pip puts it there.
$(STAMP): pyproject.toml constraints.txt hatch_build.py $(KERNELS).cpp
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	  echo "tfsasm needs Python 3.11 or newer, and '$(PYTHON)' is not; name one with" \
	    "make PYTHON=/path/to/python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "setting up $(VENV), once; the downloads take some minutes"; \
	  $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install pip; }; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f $(dir $(KERNELS))libkernels.so
	find src tests fuzz -name __pycache__ -type d -prune -exec rm -rf {} +
