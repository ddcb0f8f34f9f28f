# make help lists the targets.

GO          ?= go
STATICCHECK := $(GO) tool -modfile=tools/go.mod staticcheck
FUZZTIME    ?= 30s
# Of one package's tests, also where many others use the machine.
PATIENCE    ?= 60m
DURATION    ?= 15s
ROUNDS      ?= 3
BASE        ?= HEAD
WHAT        ?=
REPORT      ?= bin/report
SUITE       := $(GO) run ./bench/suite/cmd/suite
BENCHSTAT   := $(GO) tool -modfile=tools/go.mod benchstat

# Linker flags of a release: no symbol table, no debug information.
LDFLAGS := -s -w
# The tests that start processes and brokers; they are run last and one package at a time.
PROCESS_TESTS := ./test/...
UNIT_TESTS    := ./cmd/... ./internal/... ./pkg/... ./bench/... ./docs/... ./deploy/... ./test/simulate/mutants

.DEFAULT_GOAL := help
.PHONY: help build package release sizes check fmt vet staticcheck test test-unit test-race test-builds test-process faults audit compat fuzz models demo fgsim \
	simulate simulate-build simulate-native simulate-short mutants \
	bench bench-quick bench-e2e bench-produce rivals bench-crowd bench-micro bench-compare tune tune-short

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/ingest, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ingest ./cmd/ingest

package: ## dist/ingest-extension-linux-{amd64,arm64}.zip for FunctionGraph, reproducible; fails beyond 6,000,000 bytes
	$(GO) run ./cmd/package

# The version in the binaries is the tag.
release: ## dist/: binaries, packages, checksums and the changelog's section, from a clean checkout of a tag
	@test -z "$$(git status --porcelain)" || { echo "release: the checkout has changes; commit or remove them"; exit 1; }
	@git describe --tags --exact-match || { echo "release: HEAD has no tag; make one, such as v1.2.3"; exit 1; }
	$(GO) mod verify
	rm -rf dist
	GOFLAGS=-buildvcs=true $(GO) run ./cmd/package
	for arch in amd64 arm64; do \
		GOFLAGS=-buildvcs=true CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS) -buildid=' -o dist/ingest-linux-$$arch ./cmd/ingest || exit 1; \
	done
	cp LICENSE dist/
	for arch in amd64 arm64; do $(GO) run ./cmd/package -describe dist/ingest-linux-$$arch -out dist || exit 1; done
	awk '/^## / { if (++n > 1) exit } n' CHANGELOG.md > dist/CHANGES.md
	cd dist && sha256sum * > SHA256SUMS
	@cat dist/SHA256SUMS

sizes: ## bytes of binaries and packages of the commit BASE (HEAD) and of this tree
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir $$tmp/base; git archive $(BASE) | tar x -C $$tmp/base; \
	for tree in $$tmp/base .; do \
		if [ $$tree = . ]; then echo "this tree"; else echo "$(BASE)"; fi; \
		(cd $$tree && $(GO) run ./cmd/package -out $$tmp/out | sed "s|^$$tmp/out/||; s|, runs.*||"); \
		for arch in amd64 arm64; do \
			(cd $$tree && CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS) -buildid=' -o $$tmp/ingest ./cmd/ingest); \
			echo "ingest-linux-$$arch: $$(wc -c < $$tmp/ingest) bytes"; \
		done; \
	done

check: fmt vet staticcheck ## formatting, vet on all platforms and tags, staticcheck

fmt:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...
	$(GO) vet -tags purego ./...
	$(GO) vet -tags invariants ./...
	$(GO) vet -tags nosonic ./...
	GOARCH=386 $(GO) vet ./...
	GOARCH=arm64 $(GO) vet ./...

staticcheck:
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags purego ./pkg/... ./internal/...
	$(STATICCHECK) -tags invariants ./pkg/... ./internal/...

test: test-unit test-race test-builds simulate-short test-process ## all tests; those of the whole program need Java 17, Maven and kcat

# The tests of the Kafka sink take minutes. They run under the race detector, with invariants and on 32 bits, not here.
test-unit: ## unit tests, fuzz seeds, allocation guards
	$(GO) test -parallel 6 -timeout $(PATIENCE) $$($(GO) list $(UNIT_TESTS) | grep -v /pkg/sink/kafka$$)

test-race: ## unit tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -parallel 6 -timeout $(PATIENCE) $(UNIT_TESTS) ./test/oracle

test-builds: ## unit tests of the other builds: invariants, purego, yields in the ring, 32 bits
	$(GO) test -parallel 6 -timeout $(PATIENCE) -tags invariants ./internal/... ./pkg/...
	$(GO) test -parallel 6 -timeout $(PATIENCE) -tags purego ./pkg/decode/... ./internal/pipeline/...
	$(GO) test -parallel 6 -timeout $(PATIENCE) -tags nosonic ./pkg/decode/...
	$(GO) test -parallel 6 -timeout $(PATIENCE) -tags hook ./pkg/ring
	cd deploy/check && $(GO) test -count=1 ./...
	GOARCH=386 CGO_ENABLED=0 $(GO) test -parallel 6 -timeout $(PATIENCE) ./pkg/ring/... ./pkg/decode/... ./pkg/sink/... ./internal/body/...

# Never from the cache: the binary under test is not among the files that the cache looks at.
test-process: ## the built binary as a process against a real Apache Kafka
	$(GO) test -count=1 -p 1 -parallel 2 -timeout $(PATIENCE) $(PROCESS_TESTS)

# -write puts the figures into docs/guarantees.md; FAULTS chooses tests, for example FAULTS=TestKilled.
FAULTS ?= .
faults: ## the whole fault suite, about 45 minutes; writes the table of docs/guarantees.md
	$(GO) test -count=1 -timeout 90m -v -run '$(FAULTS)' ./test/faults -all -write

audit: ## ingest audit finds a run of a million events with a kill -9 complete, and what is wrong in prepared topics; about 5 minutes
	AUDIT_EVENTS=1000000 $(GO) test -count=1 -timeout 30m -v -run TestAudit ./test

compat: ## every codec against real brokers from Kafka 1.1 to the newest, about 15 minutes; writes docs/compatibility.md
	$(GO) test -count=1 -timeout 60m -v ./test/compat -all -write

# The simulation is one test binary, built for WebAssembly: there a seed replays exactly. SCENARIO narrows it to one of
# test/simulate/scenarios.go; BLOCK is where the instance began that found a seed.
SEED     ?=
SCENARIO ?=
BLOCK    ?=
SIMULATE ?= -n 20000
# Scenarios of test/simulate/scenarios.go whose first 100 schedules have no violation.
MENDED   := memory steady topics topics-durable growth refused-resend refused-content late-spool late-codes other-cluster forgotten clones behind
RUN_SIM  := bin/wazero -wasm bin/simulate.wasm -cache .cache/wazero $(if $(SCENARIO),-scenario $(SCENARIO))

bin/wazero: $(wildcard test/simulate/wazero/*)
	$(GO) build -o bin/wazero ./test/simulate/wazero

simulate-build: bin/wazero
	GOOS=wasip1 GOARCH=wasm $(GO) test $(if $(TAGS),-tags $(TAGS)) -c -o bin/simulate.wasm ./test/simulate

simulate: simulate-build ## the delivery core in a simulated world, 20,000 schedules; SEED=n replays one and prints its trace
	@$(RUN_SIM) $(if $(SEED),-replay $(SEED) $(if $(BLOCK),-seed $(BLOCK)),$(SIMULATE))

# Natively a seed does not replay, but a schedule takes a tenth of the time.
NATIVE   ?= 25000
SEARCHED := $(MENDED) growth-kills durable power recognised late-frames big-events full-disk drops busy-loop fewer-partitions split-fewer leaderless leaderless-topics carried carried-fewer few-entries refused-restarts no-dead-topic no-way-out late-letters damage few
simulate-native: ## the simulation natively, NATIVE schedules of each scenario of SEARCHED; seeds do not replay
	$(GO) test -c -o bin/simulate.test ./test/simulate
	@printf '%s\n' $(SEARCHED) | GOGC=off xargs -P 2 -I{} sh -c 'bin/simulate.test -test.run "^TestSimulate$$" -test.timeout 9h -sim.scenario {} -sim.n $(NATIVE) > bin/{}.log 2>&1 && \
		echo "{}: $(NATIVE) schedules, no violation" || { echo "{}:"; grep VIOLATION bin/{}.log; exit 1; }'

simulate-short: simulate-build
	@for scenario in $(MENDED); do echo "$$scenario"; $(RUN_SIM) -scenario $$scenario -n 100 -block 25 || exit 1; done
	@$(GO) run ./test/simulate/mutants -only '^a stamp that was acknowledged' -replay 5

ONLY ?=
mutants: simulate-build ## deliberate mistakes in the delivery core, each searched for by the simulation for two minutes at most; ONLY=REGEXP
	$(GO) run ./test/simulate/mutants $(if $(ONLY),-only '$(ONLY)')

fuzz: ## every fuzz target for FUZZTIME (30s)
	@set -e; for package in $$($(GO) list $(UNIT_TESTS)); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$package; \
		done; \
	done

models: ## check the Promela models of the ring (needs spin)
	@if [ -x pkg/ring/model/check.sh ]; then cd pkg/ring/model && ./check.sh; else echo "no models"; fi

demo: ## for DURATION (15s) the package in a simulated FunctionGraph; the broker freezes, the spool fills and drains; OPEN=1 tells the page's address; without Java
	$(GO) build -o bin/demo ./cmd/demo
	@bin/demo -duration $(DURATION) $(if $(OPEN),-open)

fgsim: ## bin/fgsim, the FunctionGraph simulator
	$(GO) build -trimpath -o bin/fgsim ./cmd/fgsim

bench: ## the whole report, about 11 minutes: throughput, latency, overload, outage, ...; into REPORT (bin/report)
	$(SUITE) -out $(REPORT)

bench-quick: ## a look in ten seconds, without Java
	$(SUITE) quick

bench-e2e: ## throughput and cost alone: the built binary, a real Kafka, closed loop; ROUNDS (3)
	$(SUITE) -rounds $(ROUNDS) throughput

bench-crowd: ## many clients with big bodies against a small memory limit
	$(SUITE) crowd

bench-produce: ## CPU of the Kafka sink alone, beside kafka-go's Writer and franz-go
	$(GO) run ./bench/produce -rounds $(ROUNDS)

RIVAL ?=
rivals: ## ingest beside hand-written programs under the same load and faults, about 10 minutes; writes the table of bench/rivals/README.md
	$(GO) run ./bench/rivals $(if $(RIVAL),-rival '$(RIVAL)',-doc bench/rivals/README.md)

bench-micro: ## the parts beside their rivals, and the pipeline beside one that does nothing; into bin/micro.txt
	@mkdir -p bin
	$(GO) test -run '^$$' -bench 'Decode/(heavy|small)/64K' -benchtime 300ms -count $(ROUNDS) ./pkg/decode | tee bin/micro.txt
	$(GO) test -run '^$$' -bench 'Uncontended|Saturated|WithWork' -benchtime 200ms -count $(ROUNDS) ./pkg/ring | tee -a bin/micro.txt
	$(GO) run ./bench/produce -benchfmt -rounds $(ROUNDS) | tee -a bin/micro.txt
	$(SUITE) -benchfmt -rounds $(ROUNDS) floor | tee -a bin/micro.txt
	$(BENCHSTAT) bin/micro.txt

bench-compare: ## this tree against the commit BASE, in turn, judged by benchstat; WHAT="-suite throughput" compares the whole program
	$(GO) run ./bench/compare -base $(BASE) $(WHAT)

tune: ## sweep the settings for the highest sustained rate (hours); writes docs/tuning.md and bench/results/tuning.json
	$(GO) run ./bench/tune -json bench/results/tuning.json -doc docs/tuning.md

tune-short: ## the same in minutes, for a few settings of one profile; writes nothing
	$(GO) run ./bench/tune -trial 1s -profiles small -settings linger,codec
