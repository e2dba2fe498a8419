# Needs only Python >= 3.11 and make. Each purpose has its own virtual environment, made once from pyproject.toml; while its
# stamp is newer than pyproject.toml, pip is not called at all, so the second run starts at once and works offline.

PYTHON ?= python3
ROW ?=

.PHONY: help demo test test-all mutate mutate-all check format reproduce bench clean
.PRECIOUS: .venv-%/stamp

help:
	@echo "make demo        train seven models on embedded real data; pictures in runs/, a table on the screen (a minute)"
	@echo "make test        the test suite"
	@echo "make test-all    the slow tests too, and many more examples per property"
	@echo "make mutate      plant faults in every derivative rule, and see the tests notice them"
	@echo "make mutate-all  plant a sample of faults in the whole package (an hour and more)"
	@echo "make check       format, lint, types and tests: what a change must pass"
	@echo "make format      let ruff rewrite the source"
	@echo "make reproduce   the published numbers on MNIST, beside floor and baseline (hours; one row: make reproduce ROW=vae);"
	@echo "                 stopped, it goes on with the same command; ROW='vae --again' begins anew"
	@echo "make bench       training steps timed against PyTorch"
	@echo "make clean       remove environments, caches and runs/"

demo: .venv-demo/stamp
	.venv-demo/bin/python examples/demo.py

test: .venv-test/stamp
	.venv-test/bin/python -m pytest -n 2

test-all: .venv-test/stamp
	TINYGEN_HYPOTHESIS=deep .venv-test/bin/python -m pytest -n 2 -m "slow or not slow"

mutate: .venv-test/stamp
	.venv-test/bin/python -m tests.mutation.mutate

mutate-all: .venv-dev/stamp
	.venv-dev/bin/python -m tests.mutation.whole record
	.venv-dev/bin/python -m tests.mutation.whole sample

check: .venv-dev/stamp
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/ruff check .
	.venv-dev/bin/mypy
	.venv-dev/bin/python -m tests.type_share
	.venv-dev/bin/python -m pytest -m slow tests/test_types.py
	.venv-dev/bin/python -m pytest -n 2

format: .venv-dev/stamp
	.venv-dev/bin/ruff format .
	.venv-dev/bin/ruff check --fix .

reproduce: .venv-demo/stamp
	.venv-demo/bin/python examples/reproduce.py $(ROW)

bench: .venv-bench/stamp
	.venv-bench/bin/python benchmarks/vs_torch.py

clean:
	rm -rf .venv-demo .venv-test .venv-dev .venv-bench runs build dist .hypothesis .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What each environment installs, as pip's arguments.
PACKAGES_demo  = -e ".[all]"
PACKAGES_test  = -e ".[test]"
PACKAGES_dev   = -e ".[dev]"
PACKAGES_bench = -e ".[all]" torch

define REQUIRE_PYTHON
import sys
if sys.version_info < (3, 11):
    sys.exit("tinygen needs Python 3.11 or newer, and $(PYTHON) is %d.%d.\n"
             "Name a newer one:  make PYTHON=python3.12 ..." % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) has no venv module, which some systems package separately.\n"
             "On Debian and Ubuntu:  sudo apt install python%d.%d-venv" % sys.version_info[:2])
endef
export REQUIRE_PYTHON

.venv-%/stamp: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) found. Install Python 3.11 or newer, or name one:  make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c "$$REQUIRE_PYTHON"
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES_$*)
	@touch $@
