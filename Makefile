# `make help` lists the targets. Every target sets up the programs that it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
# The local cluster's name. CONTEXT=… selects an existing cluster instead, and REGISTRY=… the registry for its images.
CLUSTER ?= diffusion
export CLUSTER

# Images of containers set this. Every process would compile all modules that it imports again: seconds of each start.
unexport PYTHONDONTWRITEBYTECODE

UV := .uv/bin/uv
VENV := .venv
BIN := $(VENV)/bin
SUPPORT := PYTHONPATH=tests/support
# With two tiers at the same time, each line of output begins with its tier.
label = $(if $(LABELLED),| sed --unbuffered 's/^/$(@:test-%=%)  /')
# mypy's cache is keyed by content: a fresh clone checks in seconds the files that another clone has checked.
export MYPY_CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/diffusion-operator/mypy

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## A cluster, a served model, its pictures in demo/ and a load test, from nothing
	@$(PYTHON) deploy/room.py
	@$(MAKE) --no-print-directory .venv-demo/done
	.venv-demo/bin/python examples/demo.py

test: test-unit ## Every tier of tests
	@# The operator's tests wait half of their time; the contract tier's tests compute.
	@$(MAKE) --no-print-directory --jobs=2 --keep-going LABELLED=yes test-operator test-contract
	@$(MAKE) --no-print-directory test-e2e

test-unit: $(VENV)/done ## Pure functions and single classes, in seconds
	$(BIN)/pytest tests/unit --numprocesses 2

test-operator: $(VENV)/done test-programs ## The operator against a real control plane
	$(BIN)/pytest tests/operator --numprocesses 4 --dist worksteal $(label)

test-contract: $(VENV)/done chromium test-programs ## Each program over its own boundary: HTTP, documents, processes
	$(BIN)/pytest tests/contract --numprocesses 3 --dist loadscope --no-loadscope-reorder $(label)

test-terraform: $(VENV)/done test-programs ## Terraform, workflows and GitOps alone (part of test-contract)
	$(BIN)/pytest tests/contract/terraform tests/contract/workflows tests/contract/gitops

test-e2e: $(VENV)/done test-programs ## Everything together: real kubelet, images, Locust
	$(BIN)/pytest tests/e2e --timeout 900 --numprocesses 4 --dist loadscope --no-loadscope-reorder

test-full: $(VENV)/done ## Tests that take hours: soaks, 2,000 specs, 20 kills, series of comparisons
	$(BIN)/pytest tests -m full --timeout 3600

full-size: $(VENV)/done ## Each backend with SD 1.4 in its real size and random weights (minutes an image)
	$(BIN)/pytest tests/contract/serving/test_full_size.py -m full --timeout 3600

# WHEELS=folder: for a machine that has Python with torch and reaches no registry, with the wheels of gpu-wheels.
gpu-check: $(if $(WHEELS),.gpu-packages/done,$(VENV)/done) ## On a machine with one NVIDIA GPU: what works there and how fast, in one table
	PYTHONPATH=serving$(if $(WHEELS),:.gpu-packages) $(if $(WHEELS),$(PYTHON),$(BIN)/python) -m diffusion_serving.gpu_check $(FLAGS)

gpu-wheels: $(VENV)/done ## The packages of gpu-check for another machine with Python 3.12 and torch, in the folder WHEELS
	@test -n "$(WHEELS)" || { echo 'name the folder: make gpu-wheels WHEELS=folder' >&2; exit 1; }
	$(BIN)/python -m diffusion_serving.gpu_check.packages 3.12 | .uv/bin/pip download --quiet --disable-pip-version-check --no-deps \
	  --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
	  --requirement /dev/stdin --dest $(WHEELS)

.gpu-packages/done: $(wildcard $(WHEELS)/*.whl)
	rm -rf .gpu-packages
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target .gpu-packages $(WHEELS)/*.whl
	@touch $@

bench: $(VENV)/done ## All measurements, as a table and as bench/results.json
	PYTHONPATH=.:tests/support $(BIN)/python bench

lint: $(VENV)/done shellcheck ## Format, lint, strict types, imports, language, generated files, shell, chart
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy operator/diffusion_operator cli/kubectl_diffusion images serving loadtest/diffusion_loadtest localcluster deploy examples lint
	$(SUPPORT) $(BIN)/mypy tests bench
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m lint.language
	made=$$(mktemp -d) && trap 'rm -r "$$made"' EXIT && $(BIN)/python -m diffusion_operator.api.crd "$$made" \
	  && diff -r crds "$$made" # otherwise: make crds
	$(BIN)/python -m diffusion_loadtest --schema | diff loadtest/report.schema.json -
	shellcheck .ci/run
	"$$($(PYTHON) -m localcluster tool helm)" lint --quiet deploy/chart

crds: $(VENV)/done ## Write the CustomResourceDefinitions from the operator's models
	$(BIN)/python -m diffusion_operator.api.crd crds

test-programs: $(VENV)/done # programs that the tests run; the first build takes longer than a test's time limit
	$(PYTHON) -m localcluster tool kubectl >/dev/null
	$(PYTHON) -m localcluster tool helm >/dev/null
	$(PYTHON) -m localcluster tidy
	$(SUPPORT) $(BIN)/python -m checkers

kustomize: ## Write the kustomize base from the chart
	"$$($(PYTHON) -m localcluster tool helm)" template diffusion-operator deploy/chart --namespace diffusion-system \
	  --set crds.install=false > deploy/kustomize/base/operator.yaml

lock: $(UV) ## Lock the newest versions that pyproject.toml allows
	$(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --all-extras \
	  --group test --group lint --group demo --upgrade --quiet --output-file requirements.lock

demo-model: $(VENV)/done ## Train the demo model again (about an hour on two cores)
	PYTHONPATH=images $(BIN)/python -m demo_model.train --out images/demo_model/weights

images: ## Build the images that changed
	$(PYTHON) images/build.py

cluster-up: ## Start the local cluster and install the operator
	@$(PYTHON) deploy/room.py
	$(PYTHON) deploy/install.py --name $(CLUSTER)

cluster-down: ## Remove the local cluster
	$(PYTHON) -m localcluster down --name $(CLUSTER)

chromium:
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium) >/dev/null

shellcheck:
	@command -v shellcheck >/dev/null || (apt-get update -qq && apt-get install -y -qq shellcheck) >/dev/null

$(UV): images/tools.lock
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r images/tools.lock
	@touch $@

$(VENV)/done: requirements.lock pyproject.toml $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --python $(VENV) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(VENV) --no-deps --editable .
	@touch $@

.venv-demo/done: requirements.lock pyproject.toml $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-demo
	$(UV) pip install --quiet --python .venv-demo --require-hashes --constraint requirements.lock --group demo
	@touch $@

.PHONY: help demo test test-unit test-operator test-contract test-programs test-terraform test-e2e test-full full-size gpu-check gpu-wheels bench lint crds kustomize \
  lock demo-model \
  images cluster-up cluster-down chromium shellcheck
