# `make help` lists what there is. Tools are built from tools/go.mod into .tmp/bin, so every machine runs the same ones.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

BIN := .tmp/bin
GOLANGCI := $(BIN)/golangci-lint
DEADCODE := $(BIN)/deadcode
GOTEST := $(BIN)/gotest
MODULES := . tests tools
# The folders of the first module: its formatter would see to the others' files too, and sort their imports another way.
ROOMS := ./api/... ./cmd/... ./internal/...
# Modules without code of ours: each pins an etcd to test with.
ETCDS := $(wildcard tests/etcds/*)

# Options of `go test` everywhere; a test that hangs says where. The race detector needs a C compiler.
RACE := $(if $(shell command -v gcc || command -v clang),-race,)
TESTFLAGS ?= $(RACE) -shuffle=on -timeout=15m
FUZZTIME ?= 10s
# Arguments of `make run`, e.g. `make run ARGS='--listen 127.0.0.1:9000'`.
ARGS ?=

##@ Everyday
.PHONY: help run build fmt
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start a gateway with an etcd inside it
	go run ./cmd/gateway dev $(ARGS)

build: ## Build bin/gateway
	go build -trimpath -o bin/gateway ./cmd/gateway

fmt: $(GOLANGCI) ## Format all Go code
	@$(GOLANGCI) fmt $(ROOMS)
	@for module in tests tools; do (cd "$$module" && "$(CURDIR)/$(GOLANGCI)" fmt ./...); done

##@ Tests
.PHONY: test check unit integration web bench fuzz contract
test: check ## Everything that must pass before a change lands; installs what it needs

check: format lint vet deadcode generated tidy unit integration web ## The same, by its parts

unit: $(GOTEST) ## Each package by itself, with a real etcd inside the test process
	@$(if $(RACE),,echo 'There is no C compiler here, so this tests without the race detector.' >&2)
	$(GOTEST) $(TESTFLAGS) ./...
	cd tools && "$(CURDIR)/$(GOTEST)" $(TESTFLAGS) ./...

integration: $(GOTEST) ## The built binary against real etcds of every version, the tours of the README and the how-tos, the container files
	tools/etcd-3.4 >/dev/null
	cd tests && "$(CURDIR)/$(GOTEST)" $(TESTFLAGS) -p=1 ./...

web: ## Check and test the TypeScript client (needs npm; an old Node.js is made good)
	go build -o .tmp/gateway ./cmd/gateway
	PATH="$$(tools/node):$$PATH"; cd web; npm ci; npm run check; npm test

bench: ## Compare with etcd's JSON gateway and its Go client, side by side; prints a table
	cd tests && go run ./cmd/bench

bench-watch: ## Compare what many subscribers of one prefix cost, here and at etcd's own gateway
	cd tests && go run ./cmd/fanout

fuzz: ## Fuzz each target for FUZZTIME (10s)
	tools/fuzz $(FUZZTIME)

contract: ## Lint both contracts with Redocly and Spectral, at pinned versions (needs npm)
	npm --prefix api/_tools ci --no-audit --no-fund
	npm --prefix api/_tools run lint

##@ Gates
.PHONY: format lint vet deadcode generated tidy
format: $(GOLANGCI) ## Refuse code that `make fmt` would change
	@$(GOLANGCI) fmt --diff $(ROOMS)
	@for module in tests tools; do (cd "$$module" && "$(CURDIR)/$(GOLANGCI)" fmt --diff ./...); done

lint: $(GOLANGCI) ## Correctness and the arrows between packages
	tools/lint $(GOLANGCI)

vet: ## go vet, with and without the embedded etcd
	go vet ./...
	go vet -tags nodev ./cmd/...
	cd tests && go vet ./...
	cd tools && go vet ./...

deadcode: $(DEADCODE) ## Refuse functions that nothing calls
	@found=$$($(DEADCODE) -test ./... && cd tests && "$(CURDIR)/$(DEADCODE)" -test ./...); \
	if [[ -n $$found ]]; then echo "$$found" >&2; exit 1; fi

generated: ## Refuse generated files that differ from what makes them
	@tools/unchanged go generate ./...

tidy: ## Refuse a go.mod or go.sum that `go mod tidy` would change
	@for module in $(MODULES) $(ETCDS); do (cd "$$module" && go mod tidy -diff); done

##@ Housekeeping
.PHONY: tools docs clean
tools: $(GOLANGCI) $(DEADCODE) $(GOTEST) ## Build the pinned tools

docs: ## Print the documentation of every package
	@for package in $$(go list ./...); do go doc -all "$$package"; echo; done

clean: ## Remove what was built
	rm -rf bin .tmp

$(GOLANGCI): tools/go.mod tools/go.sum
	go build -C tools -o "$(CURDIR)/$@" github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(DEADCODE): tools/go.mod tools/go.sum
	go build -C tools -o "$(CURDIR)/$@" golang.org/x/tools/cmd/deadcode

$(GOTEST): tools/go.mod $(wildcard tools/gotest/*.go)
	go build -C tools -o "$(CURDIR)/$@" ./gotest
