# Every target works alone on a machine with Python >= 3.11, make and a network.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= simulated
PROFILE ?= study
# Checkpoints to make, e.g. NAMES="nagao6 lr"; all of them when empty.
NAMES ?=
BENCH ?=
# How many broken files are read, and which.
N = 10000
SEED = 0
# Not taken from the environment, where some shells keep another HOST.
HOST = 127.0.0.1
PORT = 7860
NAME =
# Address of PyTorch's own package index, to get its small CPU build instead of the CUDA one (see docs/install.md).
TORCH_INDEX ?=
export OMP_NUM_THREADS ?= 1

.PHONY: help study smoke book app check test lint format bench fuzz checkpoints evidence clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

study: .venv/.installed  ## rebuild the study (DATA=<folder or manifest>: your own cells; FRESH=1: anew, beside the record)
	$(BIN)/cellcycle study --profile $(PROFILE) --data "$(DATA)" $(if $(FRESH),--fresh)

smoke: .venv/.installed  ## run every notebook on few images, in minutes
	$(BIN)/cellcycle study --profile smoke --data "$(DATA)"

book: .venv/.installed  ## make the book in build/book of notebooks and docs as they are, running none of them
	$(BIN)/python -m sphinx -W --keep-going -q -E -a -c docs . build/book
	@echo "build/book/index.html"

app: .venv/.installed  ## serve the website on this computer (HOST=0.0.0.0 NAME=<this computer> for a lab, see docs/how_to/serve.md)
	@$(BIN)/python -c 'import starlette, uvicorn, python_multipart' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[app]'
	$(BIN)/cellcycle app --host $(HOST) --port $(PORT) $(if $(NAME),--allowed-host "$(NAME)")

check: .venv/.installed lint  ## run style, doctests and the quick tests, in a minute or two
	rm -rf build/check
	CELLCYCLE_OUTPUT="$(CURDIR)/build/check" PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -p no:nbval -n 2 \
	  --dist loadscope -m "not slow" --durations=0 --durations-min=2

test: .venv/.installed lint  ## run every check, notebooks and browser included
	rm -rf build/test
	CELLCYCLE_OUTPUT="$(CURDIR)/build/test" PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadscope \
	  --no-loadscope-reorder --hypothesis-profile more --nbval-lax --nbval-current-env cellcycle tests notebooks/00*

lint: .venv/.installed  ## check style of library, tests and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.installed  ## put style right where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed  ## time training and prediction, and measure memory (BENCH=--with-rival beside the study's package)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python -m benchmarks.speed $(BENCH)

fuzz: .venv/.installed  ## read N=10000 broken and hostile files within limits (SEED=0; FUZZ=--record keeps the table)
	$(BIN)/python -m benchmarks.fuzz --number $(N) --seed $(SEED) $(FUZZ)

checkpoints: .venv/.installed  ## train, export and score the shipped models (real cells: CELLCYCLE_REAL_DATA=<folder>)
	$(BIN)/python -m cellcycle.study.shipped $(NAMES)

evidence: .venv/.installed  ## hold the shipped models against real cells (CELLCYCLE_REAL_DATA=<folder>; FRESH=1: anew)
	$(BIN)/python -m cellcycle.study.evidence $(if $(FRESH),--fresh)

clean:  ## remove the environment and everything made under build/
	rm -rf .venv build

# Installing again happens only when the requirements change.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv, once (the torch for Linux of the Python Package Index brings about 5 GB of CUDA libraries)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@if [ -n "$(TORCH_INDEX)" ]; then \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --index-url "$(TORCH_INDEX)" torch torchvision; fi
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
