# Needs Python 3.11 or newer and pip. Everything else goes into .venv in this folder.
#
#   make test PYTHON=python3.12        another interpreter (remove .venv first)
#   make test ARGS="-k memory"         more arguments for pytest
#   make demo ARGS="--synthetic"       more arguments for `tfsasm demo`
#   make demo CPU=1                    PyTorch without CUDA, 4 GB less, from its index for CPUs

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
KERNELS := src/tfsasm/motrv2/fast
PIP := $(BIN)/python -m pip install --disable-pip-version-check
CPU_TORCH ?= --index-url https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs bench-quality clean

help:
	@echo "make demo    track a short clip of real people, into ./tfsasm-demo"
	@echo "make test    lint, then the default test suite"
	@echo "make lint    ruff and mypy"
	@echo "make docs    this project's site, into ./site"
	@echo "make bench-quality ARGS=...  how good the appearance tracker is (docs/results.md)"
	@echo "make setup   only the environment in $(VENV); the others do this by themselves"
	@echo "make clean   remove $(VENV), caches and build files"

setup: $(INSTALLED)-dev

# What developers need is not needed for it, but where it is there that is enough.
demo: $(firstword $(wildcard $(INSTALLED)-dev) $(INSTALLED))
	$(BIN)/tfsasm demo $(ARGS)

# Many processes start; the first to compile a module does so for all. Three at once keep two
# processors busy: a test now and then waits for something.
test: lint
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
	  $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

bench-quality: $(INSTALLED)-dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.quality all $(ARGS)

lint: $(INSTALLED)-dev
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(INSTALLED)-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html; search needs a server: $(BIN)/python -m http.server -d site"

# Done again only when what is to be installed has changed, the C++ kernels among it, which it
# compiles where a compiler is. An environment that is there is kept. The name of a stamp ends in
# the extra that it is for.
# Some systems ship venv without the pip inside; then the system's own pip puts it there.
$(INSTALLED) $(INSTALLED)-dev $(INSTALLED)-docs: \
    pyproject.toml constraints.txt hatch_build.py $(wildcard $(KERNELS)/*.cpp $(KERNELS)/*.h)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	  echo "tfsasm needs Python 3.11 or newer, and '$(PYTHON)' is not; name one with" \
	    "make PYTHON=/path/to/python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "setting up $(VENV), once; the downloads take some minutes"; \
	  $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install pip; }; }
	$(if $(CPU),$(PIP) $(CPU_TORCH) $$(grep '^torch' constraints.txt))
	$(PIP) -c constraints.txt -e ".$(patsubst -%,[%],$(@:$(INSTALLED)%=%))"
	@touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f $(KERNELS)/libkernels.so
	find src tests fuzz -name __pycache__ -type d -prune -exec rm -rf {} +
