# Every target makes the virtual environment it needs; `make help` lists the targets.
#
#   SYSTEM_PYTHON    the Python (3.11 or newer) that makes .venv; default python3
#   TORCH_INDEX_URL  one more package index to look for torch wheels in; default none

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SYSTEM_PYTHON ?= python3
TORCH_INDEX_URL ?=
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.stamp

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(SYSTEM_PYTHON) is " + sys.version)'
	@test -x $(PYTHON) || $(SYSTEM_PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time takes some minutes)"
	@test -t 1 && quiet= || quiet=-qq; $(PYTHON) -m pip install $$quiet --no-input \
		$(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) \
		--constraint constraints.txt --editable '.[cpu,dev]'
	@touch $@

.PHONY: demo
demo: $(STAMP) ## Start the service, post a depth PNG, print the joints, save the picture
	@$(PYTHON) examples/demo.py

.PHONY: serve
serve: $(STAMP) ## Serve REST on port 8000 and gRPC on port 50051
	@$(PYTHON) -m v2vpose serve

.PHONY: test
test: check ## Run the checks, then all tests but those marked gpu or slow
	@$(PYTHON) -m pytest -q -m "not gpu and not slow" --durations=10

.PHONY: check
check: $(STAMP) ## Lint, format check, types, layers: what the hooks and CI run
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

.PHONY: train-hand
train-hand: $(STAMP) ## Train a hand model by the bundled recipe into runs/store (2 h on two cores)
	@$(PYTHON) -m v2vpose train --dataset hand --recipe compact --run-dir runs/hand --out runs/store/hand/1
	@$(PYTHON) tools/publish.py --version runs/store/hand/1 --epochs 5 6 7 8 9

.PHONY: train-body
train-body: $(STAMP) ## Train a body model by the bundled recipe into runs/store (1 h 30 min on two cores)
	@$(PYTHON) -m v2vpose train --dataset body --recipe compact --limit 2400 --run-dir runs/body --out runs/store/body/1
	@$(PYTHON) tools/publish.py --version runs/store/body/1 --epochs 5 6 7 8 9 --frames 500

.PHONY: bench
bench: $(STAMP) ## Measure voxelization, the loader, serving overhead, and the port's way beside ours
	@for name in voxelize loader serving_overhead port_pipeline; do \
		echo "== $$name"; $(PYTHON) "benchmarks/$$name.py"; \
	done

.PHONY: lock
lock: ## Write the locks of the image after pyproject.toml or constraints.txt changed (20 s)
	@PYTHON=$(SYSTEM_PYTHON) deploy/image/lock.sh

.PHONY: compose
compose: $(STAMP) ## Build the image, bring docker-compose.yml up, test it; needs root on Debian (7 min)
	@RESULTS=benchmarks/results/compose tools/compose_ci.sh

.PHONY: loadtest
loadtest: $(STAMP) ## The same, then 50, 80 and 200 % of what the service takes (15 min)
	@tools/compose_ci.sh $(PYTHON) tools/three_loads.py

.PHONY: bench-peers
bench-peers: $(STAMP) ## Measure ours beside other servers, and how each fails (QUICK=1: ten minutes)
	@$(PYTHON) -m benchmarks.peers $(if $(QUICK),--quick)
	@$(PYTHON) -m benchmarks.peers.failures $(if $(QUICK),--quick)

.PHONY: clean
clean: ## Remove the virtual environment, caches and build output
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find service tests tools benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
