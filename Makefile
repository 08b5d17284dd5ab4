# skytool. `make` alone says what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo demo-real test lint format docs bench fixtures wheel minimum clean

VENV := $(or $(SKYTOOL_VENV),.venv)
PY := $(VENV)/bin/python
SKYTOOL := $(PY) -m skytool
DEMO ?= demo
DATA ?= ../shared/data
JOBS ?= 2
NIGHT := data/fixtures

# The first Python on this machine that is new enough and can make environments.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
endif
OLDEST ?= python3.11

help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/:.*  ## /\t/' | expand -t 12

# What users need, and on top of it what developers need; made again when the requirements change.
$(VENV)/.for-use: pyproject.toml
	@test -n "$(PYTHON)" || { echo "skytool needs Python 3.11 or newer with its venv module." \
		"Install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making the Python environment $(VENV) (about a minute, once)"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --upgrade 'pip>=25.1'
	$(PY) -m pip install -q -e '.[plot]'
	$(PY) -m compileall -q skytool  # for who lets Python write no bytecode: it starts 0.2 s sooner
	@touch $@

$(VENV)/.for-development: pyproject.toml $(VENV)/.for-use
	$(PY) -m pip install -q -e '.[plot,cluster]' --group dev
	@touch $@

demo: $(VENV)/.for-use  ## Reduce the small night of data/fixtures, up to a difference image (the first thing to try)
	@$(MAKE) --no-print-directory -f examples/reduce.mk -j $(JOBS) SKYTOOL='$(SKYTOOL)' REDUCED=$(DEMO)
	@echo
	@$(PY) examples/summary.py $(DEMO)/sources/v105.fits $(NIGHT)/truth.fits
	@echo
	@echo "Pictures to look at:"
	@echo "  $(DEMO)/pictures/sky.png         the pattern of both detectors' response to the night sky"
	@echo "  $(DEMO)/pictures/psf.png         the PSF of a detector, and the stars that tell it"
	@echo "  $(DEMO)/pictures/warps.png       six visits on one grid, sky and backgrounds corrected"
	@echo "  $(DEMO)/pictures/coadd.png       five of them added"
	@echo "  $(DEMO)/pictures/dcr-model.png   the five as a model of colours"
	@echo "  $(DEMO)/pictures/difference.png  the sixth, its template, and the difference: a star beside the large galaxy is new"
	@echo "  $(DEMO)/pictures/quality.png     how good it is: pixels of a good difference scatter like the Gaussian"

demo-real: $(VENV)/.for-use  ## Find a variable star in real exposures: make demo-real DATA=FOLDER
	@$(MAKE) --no-print-directory -f examples/variable.mk -j $(JOBS) SKYTOOL='$(SKYTOOL)' REDUCED=$(DEMO)/real DATA=$(DATA)
	@echo
	@$(PY) examples/summary.py $(DEMO)/real/sources.fits
	@echo
	@echo "Pictures to look at: $(DEMO)/real/warps.png, and $(DEMO)/real/difference.png, in which one star is left"

lint: $(VENV)/.for-development  ## Check format, rules and types of the code
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

test: lint  ## Check the code and run all tests
	$(PY) -m pytest -n auto -m 'not bench'

format: $(VENV)/.for-development  ## Rewrite the code in its format
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(VENV)/.for-use  ## Write the pages of the commands to docs/commands, man pages to build/man
	$(PY) -m skytool.cli.manual --markdown docs/commands --man build/man

bench: $(VENV)/.for-development  ## Measure time and memory against other programs
	$(PY) -m pytest -m bench -s

fixtures: $(VENV)/.for-use  ## Make data/fixtures anew; its bytes do not change
	$(PY) -m tests.simulate $(NIGHT)
	git diff --exit-code --stat -- $(NIGHT)

wheel:  ## Build the wheel and run it from an environment of its own
	rm -rf build/wheel
	$(PYTHON) -m venv --clear build/wheel-venv
	build/wheel-venv/bin/python -m pip install -q --upgrade 'pip>=25.1'
	build/wheel-venv/bin/python -m pip wheel -q --no-deps -w build/wheel .
	build/wheel-venv/bin/python -m pip install -q build/wheel/skytool-*.whl
	test -f build/wheel-venv/share/man/man1/skytool-warp.1
	cd build && wheel-venv/bin/skytool --version && wheel-venv/bin/skytool info ../$(NIGHT)/night/v101_d1.fits

# Old libraries warn of what their own newer requirements call deprecated: that is no error here.
minimum:  ## Run the tests with the oldest versions that pyproject.toml admits
	$(OLDEST) -m venv --clear build/minimum
	build/minimum/bin/python -m pip install -q --upgrade 'pip>=25.1'
	build/minimum/bin/python tests/minimum.py > build/minimum.txt
	build/minimum/bin/python -m pip install -q -e '.[plot,cluster]' --group test -c build/minimum.txt
	build/minimum/bin/python -m pytest -n auto -m 'not bench' -W ignore::DeprecationWarning

clean:  ## Remove all that make made, the environment too
	rm -rf .venv build dist demo .pytest_cache .mypy_cache .ruff_cache .coverage .hypothesis
	find skytool tests -name __pycache__ -prune -exec rm -rf {} +
