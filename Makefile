# Serin: what a developer types. Needs Go, git and, for the sandbox, pip;
# everything else is built from its sources into the cache folder.

CACHE   ?= $(or $(SERIN_CACHE),$(CURDIR)/.cache/serin)
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
IMAGE   ?= serin:$(VERSION)
ARGS    ?=
FUZZTIME ?= 10s

# The race detector needs a C compiler; where there is none, the tests still run.
RACE := $(if $(shell command -v $(shell go env CC) 2>/dev/null),-race)

# Packages of the e2e module whose tests start the sandbox.
ON_THE_SANDBOX := sandbox scenarios installs torture
E2E_UNIT = $$(go list ./... | grep -v -E '/($(subst $() ,|,$(ON_THE_SANDBOX)))$$')

LINTER := $(CACHE)/bin/golangci-lint
VULN   := $(CACHE)/bin/govulncheck

# The same folder for every program of the e2e module.
export SERIN_CACHE := $(CACHE)

.DEFAULT_GOAL := help
.PHONY: help build test lint fix e2e e2e-core e2e-page screenshots e2e-servers torture torture-real mutants bench-scale demo sandbox session fuzz figures simulate vuln image chart docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

build: ## the controller and the kubectl plugin, into bin
	go build -ldflags "-X main.version=$(VERSION)" -o bin/serin ./cmd/serin
	go build -ldflags "-s -w -X main.version=$(VERSION)" -o bin/kubectl-canary ./cmd/kubectl-canary

test: ## unit tests, golden files and transcripts; no sandbox
	$(if $(RACE),,@echo "no C compiler: the tests run without the race detector")
	go test $(RACE) -timeout 30m ./...
	cd e2e && go test $(RACE) -timeout 30m $(E2E_UNIT)
	cd e2e/promql && go test $(RACE) -timeout 30m ./...
	cd e2e/alerts && go test $(RACE) -timeout 30m ./...
	cd e2e/chart && go test -count=1 $(RACE) -timeout 30m ./... # it reads files outside of its module

lint: $(LINTER) ## formatting and static analysis
	@unformatted=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l) && \
	  { test -z "$$unformatted" || { echo "not formatted, run make fix:"; echo "$$unformatted"; exit 1; }; }
	$(LINTER) run ./...
	cd e2e && $(LINTER) run ./...
	cd e2e/promql && $(LINTER) run ./...
	cd e2e/alerts && $(LINTER) run ./...
	cd e2e/chart && $(LINTER) run ./...
	cd e2e/servers && $(LINTER) run ./...
	cd e2e/page && $(LINTER) run ./...

fix: $(LINTER) ## format, and mend what the linters can mend themselves
	git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -w
	$(LINTER) run --fix ./...
	cd e2e && $(LINTER) run --fix ./...
	cd e2e/promql && $(LINTER) run --fix ./...
	cd e2e/alerts && $(LINTER) run --fix ./...
	cd e2e/chart && $(LINTER) run --fix ./...
	cd e2e/servers && $(LINTER) run --fix ./...
	cd e2e/page && $(LINTER) run --fix ./...

e2e: ## every scenario on the real stack
	cd e2e && go run ./cmd/build
	cd e2e && go test -count=1 -timeout 15m ./sandbox
	cd e2e && go test -count=1 -timeout 15m ./installs
	cd e2e && go test -count=1 -timeout 90m -v ./scenarios $(ARGS)

e2e-core: ## the scenarios that no change may break
	cd e2e && go run ./cmd/build
	cd e2e && go test -count=1 -timeout 15m ./sandbox
	cd e2e && go test -count=1 -timeout 30m -v ./scenarios -args -core $(ARGS)

e2e-servers: ## what is read of Prometheus, tried on servers of several kinds and versions
	cd e2e && go run ./cmd/build
	cd e2e/servers && go test -count=1 -timeout 60m -v . $(ARGS)

e2e-page: ## the page in a real browser, while releases happen on the real stack
	cd e2e && go run ./cmd/build
	cd e2e/page && go test -count=1 -timeout 20m -v . $(ARGS)

screenshots: ## the page on several screens, into the cache
	cd e2e/page && go run ./pictures $(ARGS)

torture: ## five thousand faults in virtual time; ARGS="-all", "-pairs 100000 -from 40000", "-only expression"
	go test -count=1 -timeout 12h -v ./internal/torture -args -long -part 5000 $(ARGS)

torture-real: ## kills and standstills on the real stack, with releases and traffic; ARGS="-kills 500"
	cd e2e && go run ./cmd/build
	cd e2e && go test -count=1 -timeout 3h -v ./torture -args $(ARGS)

mutants: ## deliberate mistakes in the code, each of which some test has to find
	go run ./internal/mutate $(ARGS)

bench-scale: ## ten thousand Deployments, a thousand releases at once, on a real API server
	@cd e2e && go run ./cmd/build ./scale
	@$(CACHE)/bin/scale $(ARGS)

demo: ## releases of one Deployment and of a pair, live in this terminal
	@cd e2e && go run ./cmd/build ./demo
	@$(CACHE)/bin/demo $(ARGS)

sandbox: ## the stack, running until Ctrl-C; ARGS="--demo-app --rate 50"
	@cd e2e && go run ./cmd/build ./cmd/sandbox
	@$(CACHE)/bin/sandbox $(ARGS)

session: ## draw docs/session.svg: kubectl canary on the real stack
	cd e2e && go run ./cmd/build
	cd e2e && go test -count=1 -timeout 15m ./scenarios -run '^TestScenarios$$/^together$$/kubectl_canary' -args -session $(CURDIR)/docs/session.svg

fuzz: ## each fuzz target for FUZZTIME (10s)
	@set -e; for package in $$(go list ./pkg/...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$package; \
	  done; \
	done

figures: ## measure what docs/figures.md says
	@cd e2e && go run ./cmd/build ./figures
	@$(CACHE)/bin/figures $(ARGS)

simulate: ## play releases against the judge, write docs; ARGS="--quick"
	go run ./internal/simulate $(ARGS)

vuln: $(VULN) ## known vulnerabilities in what the controller calls
	@$(VULN) $(if $(GOVULNDB),-db $(GOVULNDB)) ./... || { status=$$?; [ $$status = 3 ] || \
	  echo "nothing was checked: if the database, $(or $(GOVULNDB),https://vuln.go.dev), is out of reach, name a copy by GOVULNDB=file:///folder" >&2; exit $$status; }

image: ## the container image, by docker
	@command -v docker >/dev/null || { echo "docker is missing: install it, or build the Dockerfile by another tool"; exit 1; }
	docker build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

# A chart's version is a semantic one: what git describes, if it is, or 0.0.0 with it.
CHART_VERSION := $(or $(shell echo '$(VERSION)' | sed -n -E 's/^v?([0-9]+\.[0-9]+\.[0-9]+([-+].*)?)$$/\1/p'),0.0.0-$(subst _,-,$(VERSION)))

chart: ## the Helm chart, as bin/serin-VERSION.tgz
	go run ./deploy/generate
	@mkdir -p bin
	cd e2e/chart && go run ./pack ../../deploy/chart ../../bin $(CHART_VERSION) $(VERSION)

docs: ## write generated tables and examples into the documents
	go test ./pkg/annotation ./pkg/cli ./pkg/config ./pkg/metrics ./deploy -run '^TestTheDocumentationIsCurrent$$' -update
	go test ./internal/hostile -run '^TestBadInput$$' -update
	go run ./deploy/grafana
	cd e2e/promql && go test . -run '^TestTheResourceOfTheOperatorIsCurrent$$' -update

clean: ## remove what was built, but for the go command's own cache
	rm -rf bin $(CACHE)

$(LINTER): tools/go.mod tools/go.sum
	cd tools && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(VULN): tools/go.mod tools/go.sum
	cd tools && go build -o $@ golang.org/x/vuln/cmd/govulncheck
