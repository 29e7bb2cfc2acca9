# `make` alone says what there is. Everything is made in .venv and .cache; nothing else on the machine is touched.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=
PACKAGES := ledger persistence actors gateway gift_ledger examples

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What is in the lists, whose hashes are right, and nothing besides: no dependency of theirs, no tool to build one.
INSTALL := $(PIP) install --quiet --require-hashes --no-deps --no-build-isolation
INSTALL_OURSELVES := $(PIP) install --quiet --no-deps --no-build-isolation --editable .
CHECK := problems=$$($(PIP) check) || { echo "$$problems"; echo "What is not listed in constraints/ is not installed: make constraints"; exit 1; }
LISTS := $(patsubst %,constraints/%.txt,build runtime bench test)
READY := .venv/.ready
READY_TO_TEST := .venv/.ready-to-test
READY_TO_BENCH := .venv/.ready-to-bench
KAFKA := .cache/kafka/.ready

# Ray imports thousands of modules: with bytecode it starts in three seconds, without in eight.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-test demo run test faults fuzz simulate mutants soak recovery lint format bench kafka secrets \
  constraints sbom licences audit clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY) ## make .venv with everything that the service needs

setup-test: $(READY_TO_TEST) ## … and what its tests need

demo: $(READY) ## start everything on this machine, play the three scenarios, check every outcome
	@$(BIN)/gift-ledger demo $(ARGS)

run: $(READY) ## start everything on this machine and leave it running (Ctrl-C stops it)
	@$(BIN)/gift-ledger up $(ARGS)

# Each folder is measured by itself: the domain by every branch, the rest by nine tenths.
test: $(READY_TO_TEST) ## run the tests and check their coverage; ARGS="tests/unit -k name" runs some, unmeasured
ifeq ($(strip $(ARGS)),)
	@if command -v mvn >/dev/null || [[ -n "$${CI:-}" ]]; then $(MAKE) --no-print-directory kafka; \
	else echo "No mvn here: tests on a real Kafka are skipped (Debian: apt-get install maven)."; fi
	@$(BIN)/coverage erase
	PYTHONPATH=$(CURDIR) $(BIN)/python -m tests
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='ledger/*' --fail-under=100
	$(BIN)/coverage report --omit='ledger/*' --fail-under=90
else
	$(BIN)/python -m pytest $(ARGS)
endif

faults: $(READY_TO_TEST) $(KAFKA) ## break every part of a running service, and count what was lost (12 minutes); ARGS="-k kafka" for some
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.fault $(ARGS)

fuzz: $(READY_TO_TEST) ## make up requests and broken bytes, and see that nothing breaks (20 minutes); SECONDS=120 for less, SEED=… replays
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),1200) $(if $(SEED),--seed $(SEED)) $(ARGS)

simulate: $(READY_TO_TEST) ## search for faults that break a promise, on a virtual clock; SECONDS=600 for longer, SEED=… replays one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seconds $(or $(SECONDS),60)) $(ARGS)

mutants: $(READY_TO_TEST) ## break the code on purpose in many ways, and see that `make simulate` finds each
	@$(BIN)/python -m tests.simulation --mutants --seconds $(or $(SECONDS),60) $(ARGS)

recovery: $(READY_TO_TEST) $(KAFKA) ## verify, back up, restore and reconcile 100 000 certificates, with times (20 minutes)
	@$(BIN)/python -m tests.recovery $(ARGS)

soak: $(READY_TO_TEST) $(KAFKA) ## load and faults on real parts for half an hour, then the account; SECONDS=180 for less
	@$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),1800) $(ARGS)

lint: $(READY_TO_TEST) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict

format: $(READY_TO_TEST) ## have ruff put right what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY_TO_BENCH) ## measure the service beside other designs, and write benchmarks/report.md (20 minutes; needs wrk)
	@$(BIN)/python -m benchmarks $(ARGS)

kafka: $(KAFKA) ## fetch Apache Kafka for the tests (needs Maven)

secrets: $(READY) ## make the secrets that docker-compose.yml asks for, once
	@$(BIN)/python -m deploy.make_secrets

# The project itself is left out: what it asks for may not be listed yet.
constraints: .venv/pyvenv.cfg ## list anew what is installed, with hashes; ARGS="--upgrade-package NAME" takes a newer one
	@$(INSTALL) $(LISTS:%=--requirement %)
	@$(BIN)/python -m deploy.supply.constraints $(ARGS)

sbom: $(READY_TO_TEST) ## write what is installed, with licences, to dist/ (CycloneDX)
	@$(BIN)/python -m deploy.supply.sbom

licences: $(READY_TO_TEST) ## write docs/licences.md anew
	@$(BIN)/python -m deploy.supply.licences > docs/licences.md

audit: $(READY_TO_TEST) ## ask whether anything is known against what is installed (needs a source of advisories)
	@$(BIN)/python -m deploy.supply.audit $(ARGS)

clean: ## remove what make has made; the data of a stack stays
	rm -rf .venv .cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find $(PACKAGES) tests deploy benchmarks -name __pycache__ -prune -exec rm -rf {} +

# -------------------------------------------------------------------------------------------------- what takes a while

.venv/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Install Python 3.11 or newer, or name yours: make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$($(PYTHON) --version) is too old: 3.11 or newer is needed. Name another one: make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) has no venv module. Install it (Debian: apt-get install python3-venv)."; exit 1; }
	@echo "Making .venv …"
	@$(PYTHON) -m venv --clear .venv

$(READY): .venv/pyvenv.cfg pyproject.toml constraints/build.txt constraints/runtime.txt
	@echo "Installing what the service needs …"
	@$(INSTALL) --requirement constraints/build.txt
	@$(INSTALL) --requirement constraints/runtime.txt
	@$(INSTALL_OURSELVES)
	@$(CHECK)
	@$(BIN)/python -m compileall -q -j 0 .venv/lib $(PACKAGES)
	@touch $@

$(READY_TO_TEST): $(READY) constraints/bench.txt constraints/test.txt
	@echo "Installing what the tests need …"
	@$(INSTALL) --requirement constraints/bench.txt --requirement constraints/test.txt
	@$(CHECK)
	@$(BIN)/python -m compileall -q -j 0 .venv/lib
	@touch $@

$(READY_TO_BENCH): $(READY) constraints/bench.txt
	@echo "Installing what the benchmarks need …"
	@$(INSTALL) --requirement constraints/bench.txt
	@$(CHECK)
	@touch $@

$(KAFKA): tests/real/kafka_server/pom.xml
	@command -v mvn >/dev/null || { echo "There is no mvn. Install Maven (Debian: apt-get install maven)."; exit 1; }
	@echo "Fetching Apache Kafka …"
	@rm -rf .cache/kafka .cache/kafka.new
	@mvn --quiet --batch-mode --file $< dependency:copy-dependencies -Djars=$(CURDIR)/.cache/kafka.new
	@mv .cache/kafka.new .cache/kafka
	@touch $@
