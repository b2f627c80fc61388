# Every target makes the environments that it needs (see tools/environment.py) and uses them again as long as the
# pins in requirements/ stay the same. PYTHON=/path/to/python chooses another interpreter than the newest installed.

PYTHON3 ?= python3
WORKERS ?= 2
IN := $(PYTHON3) tools/environment.py
TESTS := -m pytest -n $(WORKERS)
# What depends on JAX's internals.
SECOND := $(wildcard tests/core tests/graph)

# The comparisons with Keras run it on JAX.
export KERAS_BACKEND := jax

# Two targets at once would make the same environment twice.
.NOTPARALLEL:
.PHONY: help demo test test-second test-all lint format bench bench-layers wheel clean

help:
	@echo "make demo         train the example model, and write a page about it"
	@echo "make test         run the tests"
	@echo "make test-second  run the tests of core and graph on the other pair of Python and JAX"
	@echo "make test-all     run all tests, slow ones too, on both pairs"
	@echo "make lint         check style, types and the order of imports"
	@echo "make format       put the code in the form that lint expects"
	@echo "make bench        compare speed with JAX by hand, Keras and PyTorch"
	@echo "make bench-layers compare the speed of single layers"
	@echo "make wheel        build the wheel, install it in a fresh environment, run the demo there"
	@echo "make clean        remove environments, builds and caches"

demo:
	$(IN) demo examples/wide_and_deep.py

# Most of the time of a test goes into compiling tiny programs. `make test-all` compiles them as users do.
test test-second: export JAX_DISABLE_MOST_OPTIMIZATIONS = 1

test:
	$(IN) test $(TESTS)

test-second:
	$(IN) second $(TESTS) $(SECOND)

test-all:
	$(IN) test $(TESTS) -m ""
	$(IN) second $(TESTS) -m ""

lint:
	$(IN) test -m ruff check .
	$(IN) test -m ruff format --check .
	$(IN) test -m mypy
	.venv-test/bin/lint-imports --no-logo

format:
	$(IN) test -m ruff check --fix .
	$(IN) test -m ruff format .

# Every process compiles for itself.
bench bench-layers: export PELLUCID_COMPILATION_CACHE = off

bench:
	$(IN) test -m benchmarks --results benchmarks/RESULTS.md
	$(IN) test -m benchmarks.start
	$(IN) test -m benchmarks.dispatch
	$(IN) test -m benchmarks.streaming
	$(IN) test -m benchmarks.glassbox
	$(IN) test -m benchmarks.scaling

bench-layers:
	$(IN) test -m benchmarks.layers

# The example runs from another folder, so that it cannot import this tree instead of the wheel.
wheel:
	rm -rf dist build/elsewhere
	mkdir -p build/elsewhere
	$(IN) test -m build --wheel --no-isolation
	cp examples/wide_and_deep.py build/elsewhere
	cd build/elsewhere && $(PYTHON3) ../../tools/environment.py wheel wide_and_deep.py

clean:
	rm -rf .venv .venv-test .venv-second .venv-wheel build dist
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
