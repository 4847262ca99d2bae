# Everything that a person or the CI does here is a target of this file. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# PYTHON=/path/to/python3.12 make install: the interpreter of a new environment, read by requirements/environment.sh
RUN := $(BIN)/python
INSTALLED := $(VENV)/.installed
COMMAND := $(BIN)/substra-ray
STATE ?= .substra-ray
ORGS ?= 2
PORT ?= 8000
JOBS ?= 4
IMAGE ?= substra-ray:dev
ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(if $(shell command -v $(engine)),$(engine))) docker)
SIDE_BY_SIDE = --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
SOURCES := backend bench cli kuberay network orchestrator protos ray_jobs tests

.PHONY: help
help:  ## List these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# ---- installation

.PHONY: install
install: $(INSTALLED)  ## Make the virtual environment .venv with everything in it

$(INSTALLED): requirements/all.txt requirements/uv.txt pyproject.toml requirements/environment.sh
	@bash requirements/environment.sh $(VENV)
	@touch $@

.PHONY: lock
lock: $(INSTALLED)  ## Compile the pinned, hashed requirements again from pyproject.toml
	@bash requirements/lock.sh $(BIN)/uv

# ---- running

.PHONY: demo
demo: $(INSTALLED)  ## Two organizations train together: starts the network if none runs
	@$(COMMAND) demo --state $(STATE)

.PHONY: up
up: $(INSTALLED)  ## Start the embedded network (ORGS=2 PORT=8000 STATE=.substra-ray)
	@$(COMMAND) up --state $(STATE) --orgs $(ORGS) --port $(PORT)

.PHONY: down
down: $(INSTALLED)  ## Stop it; its state stays
	@$(COMMAND) down --state $(STATE)

.PHONY: status
status: $(INSTALLED)  ## Show its organizations and processes
	@$(COMMAND) status --state $(STATE)

.PHONY: db
db: $(INSTALLED)  ## A PostgreSQL for development and tests that stays until Ctrl-C
	@$(RUN) -m tests.database

# ---- tests

.PHONY: test
test: $(INSTALLED)  ## Run all tests: unit, integration, end to end
	@$(RUN) -m pytest $(SIDE_BY_SIDE) tests/integration tests/unit
	@$(RUN) -m pytest tests/e2e

.PHONY: test-unit
test-unit: $(INSTALLED)  ## Only the unit tests
	@$(RUN) -m pytest $(SIDE_BY_SIDE) tests/unit

.PHONY: test-integration
test-integration: $(INSTALLED)  ## Only those with a real PostgreSQL and a real ledger
	@$(RUN) -m pytest $(SIDE_BY_SIDE) tests/integration

.PHONY: test-e2e
test-e2e: $(INSTALLED)  ## Only those with the real SDK on a running network
	@$(RUN) -m pytest tests/e2e

.PHONY: cluster-test
cluster-test: $(INSTALLED)  ## In the Kubernetes of KUBECONFIG, with KubeRay and a registry; prints the times of steps
	@$(RUN) -m pytest -s tests/cluster

.PHONY: cluster-up
cluster-up: $(INSTALLED)  ## There too: the ledger and two organizations to play with
	@$(RUN) -m tests.cluster.up

.PHONY: cluster-demo
cluster-demo: $(INSTALLED)  ## The demo on that network
	@$(RUN) -m tests.cluster.up --demo

.PHONY: cluster-down
cluster-down: $(INSTALLED)  ## Remove that network
	@$(RUN) -m tests.cluster.up --down

.PHONY: browser-test
browser-test: $(INSTALLED)  ## A real Chromium logs in and reads; needs one on this machine
	@$(RUN) -m pytest tests/e2e/front_end/browser.py

.PHONY: fuzz
fuzz: $(INSTALLED)  ## Half an hour of made-up requests against the API: none may get a 500 (MINUTES=30)
	@SUBSTRA_RAY_FUZZ_MINUTES=$${MINUTES:-30} $(RUN) -m pytest tests/integration/backend/network_of_two/test_fuzz.py

.PHONY: chaos
chaos: $(INSTALLED)  ## Processes die at every durable step, then at random; then half an hour of made-up requests
	@$(RUN) -m tests.chaos --long 10
	@$(MAKE) --no-print-directory fuzz

.PHONY: chaos-short
chaos-short: $(INSTALLED)  ## Deaths after durable steps, within ten minutes: crash points and their outcomes
	@$(RUN) -m tests.chaos --short

.PHONY: coverage
coverage: $(INSTALLED)  ## Unit and integration tests with coverage: text here, HTML in htmlcov/
	@$(RUN) -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term --cov-report=html tests/integration tests/unit

.PHONY: bench
bench: $(INSTALLED)  ## Measure against the SDK's own subprocess mode; writes bench/results/
	@$(RUN) -m bench

.PHONY: bench-long
bench-long: $(INSTALLED)  ## The same for a plan of 10,000 tasks: the last thousand beside the first
	@$(RUN) -m bench.long_plan

# ---- container image

.PHONY: images
images:  ## Build the container image (IMAGE=name:tag ENGINE=docker|podman|buildah PLATFORMS=linux/amd64,linux/arm64 PUSH=1)
ifeq ($(PLATFORMS),)
	@$(ENGINE) build $(BUILD_OPTIONS) --tag $(IMAGE) .
	@$(if $(PUSH),$(ENGINE) push $(PUSH_OPTIONS) $(IMAGE))
else ifeq ($(notdir $(ENGINE)),docker)
	@$(ENGINE) buildx build $(BUILD_OPTIONS) --platform $(PLATFORMS) $(if $(PUSH),--push $(PUSH_OPTIONS)) --tag $(IMAGE) .
else
	@$(ENGINE) build $(BUILD_OPTIONS) --platform $(PLATFORMS) --manifest $(IMAGE) .
	@$(if $(PUSH),$(ENGINE) manifest push --all $(PUSH_OPTIONS) $(IMAGE) docker://$(IMAGE))
endif

.PHONY: sbom
sbom:  ## What the image holds, as CycloneDX: sbom.json
	@python3 requirements/sbom.py > sbom.json

# ---- quality

.PHONY: check
check: $(INSTALLED)  ## Format, lint, types, imports, house rules, links, charts; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(SOURCES)
	@$(RUN) docs/check_links.py
	@$(RUN) -m pytest tests/unit/test_imports.py tests/unit/test_rules.py tests/unit/helm
	@$(MAKE) --no-print-directory charts

# A helm on PATH, else one compiled by a Go of this machine, once; without both the charts are not rendered.
HELM_VERSION := v3.22.0
HELM_PATH = $(if $(shell command -v helm),,$(if $(shell command -v go),$(BIN)/helm))

$(BIN)/helm: $(INSTALLED)
	@GOBIN=$(abspath $(BIN)) CGO_ENABLED=0 go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)

.PHONY: charts
charts: $(INSTALLED) $(HELM_PATH)  ## Lint the charts, render each variant and profile, hold the objects against their schemas
	@export PATH="$(abspath $(BIN)):$$PATH"; if command -v helm > /dev/null; then \
	  helm lint --strict --quiet helm/substra-orchestrator --values helm/values/ledger.yaml; \
	  helm lint --strict --quiet helm/substra-backend --values helm/values/org-1.yaml; \
	  $(RUN) -m pytest tests/charts; \
	else echo "neither helm nor go: the charts are not rendered"; fi

.PHONY: format
format: $(INSTALLED)  ## Format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: protos
protos: $(INSTALLED)  ## Generate the stubs of protos/ again
	@$(RUN) -m protos.generate

.PHONY: api
api: $(INSTALLED)  ## Print docs/api.md again from the declared schema
	@$(RUN) -m backend.schema > docs/api.md.new && mv docs/api.md.new docs/api.md

.PHONY: values
values:  ## Print docs/values.md again from the charts' values
	@python3 docs/values_table.py > docs/values.md.new && mv docs/values.md.new docs/values.md

.PHONY: clean
clean:  ## Remove caches and the coverage report, keep .venv and the network's state
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov build dist
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
