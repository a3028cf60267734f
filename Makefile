# What a developer types. `make help` lists it.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_LINT_VERSION := v2.15.0

# Static, and the same bytes for the same source: the binary's hash names it on the cluster.
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install Ray into .venv (once; PYTHON=... chooses the interpreter) and fetch the Go modules
	@scripts/setup.sh

.PHONY: setup-tests
setup-tests:
	@scripts/setup.sh --tests

.PHONY: build
build: ## Build the static binary bin/seedcore
	@mkdir -p bin
	$(BUILD) -o bin/seedcore ./cmd/seedcore

.PHONY: run
run: setup build ## Start a local Ray (unless RAY_ADDRESS is set) and the organism on it; ARGS=... are passed on
	@bin/seedcore up $(ARGS)

.PHONY: test
test: setup-tests ## Test everything, on a real Ray; PKG=./ray/... chooses packages, ARGS='-run X' is for go test, JOBS=1 runs them one after another
	@scripts/test.sh $(PKG) -- $(ARGS)

# What a drill prints is its timeline, so that all of it is shown.
.PHONY: drills
drills: ## Break a real Ray under load in every way that there is a drill for (half an hour or more); writes bench/drills.md
	@scripts/setup.sh --drills
	@GOPROXY=off go test -count=1 -v -timeout 3h -exec "'$(CURDIR)/scripts/isolate.sh'" ./drills -drills.all $(ARGS)

.PHONY: test-matrix
test-matrix: setup-tests ## Run the same tests on every version of Ray that is supported; VERSIONS='2.48.0' and SUITES='ray worker connector' choose
	@SUITES='$(SUITES)' scripts/test_matrix.sh $(VERSIONS)

.PHONY: lint
lint: ## Check style and correctness with golangci-lint
	@GOLANGCI_LINT_VERSION=$(GOLANGCI_LINT_VERSION) scripts/lint.sh

.PHONY: bench
bench: setup build ## Compare our ways to call an actor with Python's, on one Ray
	@go run ./bench $(ARGS)

.PHONY: bench-ray
bench-ray: setup ## Compare package ray with Python's Ray Client, operation by operation, on one Ray (ARGS=-short for a check)
	@mkdir -p bin && CGO_ENABLED=0 go build -o bin/bench-ray ./bench/session && bin/bench-ray $(ARGS)

.PHONY: bench-connector
bench-connector: setup ## Measure what the connector adds to a call
	@go test -run '^$$' -bench . ./connector

# In a network of its own: Ray's driver in C++ looks for a head on loopback at the machine's other address, if it has one.
.PHONY: bench-actors
bench-actors: setup ## Compare direct calls of actors with Ray's drivers in Python and C++, Ray Client and plain gRPC, on one Ray (ARGS=-short for a check)
	@mkdir -p bin && CGO_ENABLED=0 go build -o bin/bench-actors ./bench/actors && cpp=$$(scripts/ray_cpp.sh) && scripts/isolate.sh bin/bench-actors -cpp "$$cpp" $(ARGS)

.PHONY: soak
soak: setup-tests ## Look for leaks and rare faults, for up to an hour and a half; wants 16 GiB of memory. SHARE=0.05 is a twentieth, PKG=./ray and RUN=TestSoakKills choose
	@SHARE='$(SHARE)' RUN='$(RUN)' scripts/soak.sh $(PKG)

.PHONY: actor-memory
actor-memory: setup build ## Measure what idle actors weigh, 100 in Go and 20 in Python; writes bench/actor-memory.md
	@.venv/bin/python scripts/actor_memory.py

.PHONY: generate
generate: setup ## Regenerate the protocol stubs from the Ray wheel
	@scripts/generate.sh

.PHONY: clean
clean: ## Remove what was built (.venv stays: remove it by hand to install Ray again)
	rm -rf bin .cache
