# Podium's commands. `make demo` and `make test` do all their set-up themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER := $(BIN)/python -m tests.cluster
PYTEST := $(BIN)/pytest
STAMP := $(VENV)/.installed
OUTPUT := dist
REGISTRY :=
VALUES :=

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## Install the pinned Python packages into .venv

.PHONY: lint
lint: venv ## ruff, mypy --strict, the import contract; that generated files are up to date, make test-unit checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: test
test: venv ## Everything that CI runs: lint, unit, integration, e2e on a cluster of its own
	$(BIN)/python -m tests.run

.PHONY: test-unit
test-unit: venv ## Pure code, without a cluster
	$(PYTEST) -n 2 tests/unit

.PHONY: test-integration
test-integration: venv ## The operator as a process against a real API server and etcd
	$(PYTEST) tests/integration

.PHONY: test-refusals
test-refusals: venv ## Every write of every scenario refused in seven ways by a real API server; of six of these, make test plays a third
	PODIUM_REFUSALS=1 $(PYTEST) tests/integration/rollouts/test_refused.py

.PHONY: test-counting
test-counting: venv ## What callers saw against what a real Envoy counted; on a machine that does nothing else
	$(PYTEST) tests/integration/metrics

.PHONY: test-e2e
test-e2e: venv ## Real pods on a real cluster
	$(PYTEST) tests/e2e

.PHONY: test-all
test-all: test test-refusals ## make test, then make test-refusals

.PHONY: cluster
cluster: venv ## A local cluster with Podium installed; its kubeconfig is .cluster/kubeconfig
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: venv ## End the local cluster; what was downloaded and built stays
	$(CLUSTER) down

.PHONY: images
images: venv ## Build the container images
	$(CLUSTER) images

.PHONY: demo
demo: venv ## The main job on real models, on a cluster that it starts itself
	$(BIN)/python -m tests.demo

.PHONY: bench
bench: venv ## Figures, as a table
	$(BIN)/python -m tests.bench

.PHONY: bench-serving
bench-serving: venv ## The onnxruntime server beside others and beside a bare answer
	$(BIN)/python -m tests.bench.serving_peers

.PHONY: bench-analysis
bench-analysis: venv ## Thousands of simulated rollouts: how often evidence errs, and how long it takes
	$(BIN)/python -m tests.bench.bench_analysis

.PHONY: soak
soak: venv ## The onnxruntime server under mixed load for ten minutes, then 100 canaries in a row under HTTP and gRPC, then 40 of the model that serves
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.soak.canaries --canaries 100
	$(BIN)/python -m tests.soak.alike --canaries 40

.PHONY: fuzz
fuzz: venv ## The readers of JSON and HTTP under inputs that nobody would write, ten minutes each
	$(BIN)/python -m tests.fuzz

.PHONY: crds
crds: venv ## Generate crds/ from the models
	$(BIN)/python -m podium.api.crd

.PHONY: install-yaml
install-yaml: venv ## Write dist/install.yaml, crds.yaml and runtimes.yaml; REGISTRY=..., VALUES=values.yaml
	helm="$$($(BIN)/python -c 'from tests.cluster import binaries; print(binaries.helm())')"; \
	$(BIN)/python charts/install_yaml.py --helm "$$helm" --output "$(OUTPUT)" \
		$(if $(VALUES),--values "$(VALUES)") $(if $(REGISTRY),--set "image.registry=$(REGISTRY)")

.PHONY: lock
lock: venv ## Pin all packages anew
	$(BIN)/pip install --quiet uv
	UV=$(BIN)/uv requirements/compile.sh
