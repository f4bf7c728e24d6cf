# Everything that a user or CI runs. Each target sets up what it needs, once, under .venv and .cache.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/dev.txt
STAMP := $(VENV)/.stamp-$(shell cat $(LOCK) pyproject.toml 2>/dev/null | sha256sum | cut -c1-16)
CODE := environments policies reconciler loadtests components stacks examples tests .ci/namespaced_wheel.py
PYTEST ?= $(BIN)/python -m pytest
WORKERS ?= 4
MUTANTS ?= 300
SEED ?= 1
# Compiled modules are kept: a command that compiles all that it imports takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE

NEW := new-platform new-gate new-policy new-metric-source

.PHONY: help install demo demo-triton demo-kubernetes test mutate lint format reference docs $(NEW) bench bench-judge bench-load bench-detection bench-plan engines packages vllm triton clean

help: ## Show this page
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 19

install: $(STAMP) ## Make .venv with everything that is locked in requirements/dev.txt

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Sluice needs Python 3.11 or newer; set PYTHON=…")'
	@echo "installing the locked packages into $(VENV) (about 1.5 GB, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.stamp-*; touch $@

packages: ## Install the Debian packages that some tests need (only as root; says what is missing otherwise)
	@.ci/packages

engines: install ## Build Pulumi, Kubernetes and the others from Go modules into .cache/engines
	@$(BIN)/python -m tests.builds.build

vllm: install ## Install vLLM for CPU into .cache/vllm
	@$(BIN)/python -c 'from pathlib import Path; from reconciler.demo.engines import ensure_vllm; ensure_vllm(Path(".cache").absolute(), print)'

triton: install ## Install Triton for CPU into .cache/triton
	@$(BIN)/python -c 'from pathlib import Path; from reconciler.demo.triton_engine import ensure_triton; ensure_triton(Path(".cache").absolute(), print)'

demo: install ## Watch a good release pass three gates, and each gate stop one that is bad, on real servers
	@$(BIN)/sluice demo

demo-triton: install ## The same on Triton, small: a release that is promoted and one that is rolled back
	@$(BIN)/python -m reconciler.demo.triton_tour

demo-kubernetes: install ## The same on a Kubernetes control plane with a real gateway and servers that stand in for vLLM (needs Go)
	@$(BIN)/python -m tests.support.kubernetes.rig.tour

test: install packages engines vllm triton ## Run every test; what fails beside others has to pass alone
	@$(PYTEST) -n $(WORKERS) --dist loadgroup tests || { code=$$?; [ $$code = 1 ] || exit $$code; \
	  echo "Some tests failed while others kept this machine busy. Each has to pass alone, now:"; \
	  $(PYTEST) --last-failed --last-failed-no-failures none tests; }

mutate: install ## Change the core in small ways and see that tests notice (about ten minutes; MUTANTS=all for hours)
	@$(BIN)/python -m tests.mutation --mutants $(MUTANTS) --seed $(SEED) --workers $(WORKERS)

lint: install ## Check style, types and layers
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports

format: install ## Put every file into the one format
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

reference: install ## Write the pages of docs/ that are generated from the code
	@$(BIN)/python -m tests.docs

new-platform: ## Scaffold a platform: NAME=x (docs/adding/platform.md)
new-gate: ## Scaffold a gate: NAME=x (docs/adding/gate.md)
new-policy: ## Scaffold a policy: NAME=x (docs/adding/policy.md)
new-metric-source: ## Scaffold a metric source: NAME=x (docs/adding/metric-source.md)
$(NEW): new-%: install
	@$(BIN)/python -m tests.docs.scaffold $* "$(NAME)"

docs: install ## Build the site of docs/ into .cache/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo "open .cache/site/index.html"

bench: install ## Measure what the product promises, beside its peers where there are any
	@$(BIN)/python -m tests.bench.cli
	@$(BIN)/python -m tests.bench.weights
	@$(BIN)/python -m tests.bench.preview
	@$(BIN)/python -m tests.bench.bill
	@$(BIN)/python -m tests.bench.gateway
	@$(BIN)/python -m tests.bench.first_plan

bench-judge: install ## Measure the canary judge beside its peers (about half an hour on two quiet cores, kept by pieces; QUICK=1 for a look)
	@$(BIN)/python -m tests.bench.judge $(if $(QUICK),--quick)

bench-load: install ## Measure the load engine beside its peers
	@$(BIN)/python -m tests.bench.load $(if $(QUICK),--quick)

bench-detection: install ## Measure how long a failing release keeps its traffic on a cluster (about ten minutes; needs Go)
	@$(BIN)/python -m tests.bench.detection

bench-plan: install ## Measure plans that read clusters, 1,000 endpoints and the shipped production (needs what `make engines` builds)
	@$(BIN)/python -m tests.bench.cluster_plan

clean: ## Delete what was built and installed; .sluice, the state of environments, stays
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
