# The front door. `make` alone explains it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # stages follow one another, also with -j

# Each variable has its explanation in the line above it; `make help` shows both.
## which numbers: tiny, workstation, or auto, which takes what this machine can do
PRESET ?= auto
## your own clips, of any kind (data/README.md); empty: the simulator makes a data set
DATA ?=
## name of the run; everything it makes lies in data/artifacts/RUN
RUN ?= default
## decides every random number
SEED ?= 0
## number of devices to train on, or auto
DEVICES ?= auto
## CSV file with the columns patient and part (train, val or test); empty: shares of the patients
SPLIT ?=
## none: every patient trains, nobody is tested; empty: as SPLIT says
TEST ?=
## labels to use: a share, e.g. 0.25; names of clips, with commas; or a file of names; empty: all of your clips'
LABELLED ?=
## seeds of the segmentation comparison, e.g. "0 1 2"; empty: SEED alone
SEEDS ?=
## name of the study (make study); it lies in data/artifacts/STUDY
STUDY ?= study
## whom a study holds out, one run each, e.g. "p02 p03,p04" (commas: at once); empty: each patient with labels
PATIENTS ?=
## numbers of labelled clips of a study
LABELS ?= 2 4 8 all
## what the segmenters of a study learn from beside real, e.g. "paste synthetic"; empty: the preset's
ARMS ?=
## any further settings, e.g. "--scene.trainer.max_steps 100"
ARGS ?=
## Python that the virtual environment is made with, 3.11 or newer
PYTHON ?= python3
## folder of the virtual environment
VENV ?= .venv
## processes that run the tests
JOBS ?= 2

# Quotes one word for the shell, so that paths may hold spaces.
quote = '$(subst ','\'',$(1))'
BIN = $(VENV)/bin
SFVD = $(call quote,$(BIN)/sfvd)
# exec: the shell that make starts would keep the signals that make passes on to itself.
RUN_SFVD = exec $(SFVD) run
SETTINGS = --run $(call quote,$(RUN)) --preset $(call quote,$(PRESET)) --seed $(call quote,$(SEED)) \
	--devices $(call quote,$(DEVICES)) $(if $(DATA),--data $(call quote,$(DATA))) \
	$(if $(SPLIT),--split $(call quote,$(SPLIT))) $(if $(TEST),--test $(call quote,$(TEST))) \
	$(if $(LABELLED),--labelled $(call quote,$(LABELLED))) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

.PHONY: help install stage1 stage2 augment segment all rollout study report test lint types imports check bench clean clean-run

help:  ## this text
	@echo "SF-VD, reconstructed: labelled synthetic fluoroscopy for guidewire segmentation."
	@echo
	@echo "  make stage1 stage2 augment segment          the whole chain"
	@echo "  make stage1 DATA=/path/to/clips RUN=mine    the same on your own clips"
	@echo
	@echo "targets"
	@awk -F ':.*## *' '/^[a-z0-9-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "variables (default)"
	@awk '/^## / {text = substr($$0, 4); next} \
		/^[A-Z]+ \?=/ && text {value = $$0; sub(/^[A-Z]+ \?= */, "", value); \
		printf "  %-9s %s (%s)\n", $$1, text, value == "" ? "empty" : value} {text = ""}' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed  ## make the virtual environment and install the package with pinned versions

stage1: $(VENV)/.installed  ## data set and its quality control, scene model, generated first frames
	$(RUN_SFVD) stage1 $(SETTINGS)

stage2: $(VENV)/.installed  ## motion model, clips that follow from those frames
	$(RUN_SFVD) stage2 $(SETTINGS)

augment: $(VENV)/.installed  ## guide and gate segmenters; guided, gated, labelled synthetic clips
	$(RUN_SFVD) augment $(SETTINGS)

segment: $(VENV)/.installed  ## wire segmenters with and without synthetic clips, measures, report
	$(RUN_SFVD) segment $(SETTINGS)

all: $(VENV)/.installed  ## the four stages in one go
	$(RUN_SFVD) stage1 stage2 augment segment $(SETTINGS)

rollout: $(VENV)/.installed  ## long clips of RUN's models, and what they keep and lose on the way
	$(SFVD) run rollout $(SETTINGS)

study: $(VENV)/.installed  ## label-efficiency curve: arms over numbers of labelled clips, patients held out in turn
	exec $(SFVD) study --study $(call quote,$(STUDY)) --preset $(call quote,$(PRESET)) --devices $(call quote,$(DEVICES)) \
		$(if $(DATA),--data $(call quote,$(DATA))) --labels $(LABELS) $(if $(PATIENTS),--patients $(PATIENTS)) \
		$(if $(ARMS),--arms $(ARMS)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

report: $(VENV)/.installed  ## measure what RUN has so far and write its report anew; trains nothing
	$(SFVD) report $(call quote,$(RUN))

test: $(VENV)/.installed-dev  ## run the tests
	OMP_NUM_THREADS=1 $(call quote,$(BIN)/python) -m pytest -n $(JOBS) --dist loadfile -q

lint: $(VENV)/.installed-dev  ## ruff
	$(call quote,$(BIN)/ruff) check .

types: $(VENV)/.installed-dev  ## mypy --strict
	$(call quote,$(BIN)/mypy) --strict src

imports: $(VENV)/.installed-dev  ## import-linter: imports point downward
	$(call quote,$(BIN)/lint-imports) --no-logo

check: test lint types imports  ## all of these four

bench: $(VENV)/.installed-dev  ## measure the speed of this machine
	@set -e; for file in tests/bench/bench_*.py; do name=$${file%.py}; \
		echo "== $$name"; $(call quote,$(BIN)/python) -m "$$(echo "$$name" | tr / .)"; done

clean:  ## remove caches and builds; data and the virtual environment stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

clean-run:  ## remove everything that the run RUN has made
	@case $(call quote,$(RUN)) in ''|.|..|*/*) echo "RUN must be the plain name of a run, not '$(RUN)'" >&2; exit 1;; esac
	rm -rf $(call quote,data/artifacts/$(RUN))

# -- installation ---------------------------------------------------------------------------------------------

$(VENV)/bin/python:
	@command -v $(call quote,$(PYTHON)) >/dev/null 2>&1 || { echo "There is no '$(PYTHON)' here. Install Python 3.11\
	 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(call quote,$(PYTHON)) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is\
	 needed, but '$(PYTHON)' is $$($(call quote,$(PYTHON)) --version 2>&1). Name another one:\
	 make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making the virtual environment $(VENV)"
	@$(call quote,$(PYTHON)) -m venv $(call quote,$(VENV)) || { rm -f $(call quote,$@); echo "No virtual\
	 environment could be made. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call quote,$(BIN)/python) -m pip install -q -c constraints.txt -e '.[ingest,metrics]'
	@touch $(call quote,$@)

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(call quote,$(BIN)/python) -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $(call quote,$(VENV)/.installed) $(call quote,$@)
