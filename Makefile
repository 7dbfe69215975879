# Everything a newcomer and CI need. `make run` is the first minute, `make test` the proof.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
WEB := api/console/web
FUZZTIME ?= 20s
SEED ?= $(shell date +%s)
DURATION ?= 10m
REDIS ?= sentinels
FAULTS ?=

.PHONY: build run test race lint fuzz chaos bench clean

build: $(WEB)/.built ## the console and bin/streamspace
	go build -trimpath -o bin/streamspace ./cmd/streamspace

run: build ## an edge and an agent in one process, with a desktop to click on; ARGS="--listen 127.0.0.1:9443" and so on
	bin/streamspace dev $(ARGS)

test: build ## everything, on real parts; installs what is missing
	scripts/install-test-parts
	cd $(WEB) && npm test --silent
	go test -count=1 -timeout 20m ./... # uncached: the e2e tests run a binary whose sources the cache does not see

race: build
	scripts/install-test-parts
	go test -race -count=1 -timeout 35m ./...

lint: $(WEB)/.built
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-clean:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go mod tidy -diff
	go vet ./...
	go run $(STATICCHECK) ./...
	cd $(WEB) && npm run --silent check

fuzz: ## every fuzz target for FUZZTIME each
	scripts/fuzz $(FUZZTIME)

chaos: ## a cluster suffers every fault, then pairs of them, for DURATION (to 45m); SEED= repeats a run; FAULTS=clock: those with that word; REDIS=alone|sentinels|cluster
	scripts/install-test-parts
	CHAOS_SEED=$(SEED) CHAOS_DURATION=$(DURATION) CHAOS_REDIS=$(REDIS) CHAOS_FAULTS="$(FAULTS)" CHAOS_OUT=$(CURDIR)/bench-report/chaos \
		go test -count=1 -timeout 60m -v -run '^TestChaos$$' ./e2e

bench: build ## Go benchmarks, the balancer and the relay beside their peers, the API on PostgreSQL, 8,000 viewers for 5 minutes; HOLD=1: the last alone
ifndef HOLD
	go test -run '^$$' -bench . -benchmem ./...
	bin/streamspace bench http
	bin/streamspace bench relay
	bin/streamspace bench api
endif
	bin/streamspace bench relay --work hold --rounds 1 --duration 5m --out bench-report/hold

clean:
	rm -rf bin bench-report $(WEB)/node_modules $(WEB)/.built
	find api/console/dist -mindepth 1 ! -name placeholder.txt -delete

$(WEB)/.built: $(WEB)/package.json $(WEB)/package-lock.json $(shell find $(WEB)/src $(WEB)/*.* -type f 2>/dev/null)
	cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	@touch $@
