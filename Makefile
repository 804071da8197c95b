# Everything runs in .venv, made from the locked requirements. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := requirements.lock requirements-dev.lock
PEERS  := .venv-bench

# What `make bench` and `make bench-full` run, and how.
BENCHES        := embed quality roofline operators pipeline writes latency sql_embed http fairness triggers hnsw search rerank providers
SHORT_embed    := --short --rounds 2 --texts 128
SHORT_quality  := --sample 200
SHORT_roofline := --rounds 1
SHORT_writes   := --rounds 1
SHORT_pipeline := --rounds 1
SHORT_latency  := --rounds 1
SHORT_sql_embed := --rounds 1
SHORT_rerank   := --rounds 3
SHORT_providers := --rounds 1
SHORT_http     := --short --rounds 2
SHORT_fairness := --rounds 1
SHORT_triggers := --rounds 2
FULL_pipeline  := --full
FULL_hnsw      := --full
FULL_search    := --full

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-answers up test test-slow test-postgres test-postgres-all test-upgrade faults lint format bench bench-full bench-setup bench-report lock image wheel docs docs-serve clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make .venv with exactly the locked versions, and fetch the model that tests use
	@$(BIN)/pgembedd model pull all-MiniLM-L6-v2

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pgembedd needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 " + "setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Embed Python's own documentation on a private Postgres and search it
	@$(BIN)/pgembedd demo

demo-answers: $(STAMP) ## Have a language model answer questions from it (PGEMBEDD_LANGUAGE_HOST)
	@$(BIN)/pgembedd demo --answers

up: $(STAMP) ## Run embedded Postgres, migrations and a worker in the foreground
	@$(BIN)/pgembedd up

test: $(STAMP) ## Run the default tests on private Postgres servers, on all cores
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(STAMP) ## Run the tests that take longer, on all cores
	@$(BIN)/python -m pytest -m slow -n auto --dist loadfile

# The version of PostgreSQL that the tests of the database run on: 14 to 18.
VERSION := 15
ON_VERSION := PGEMBEDD_TEST_POSTGRES=$(VERSION) $(BIN)/python -m pytest -n auto --dist loadfile

# Of the slow ones those that depend on the version most: each fault once, each pgmq, a standby, a subscriber.
test-postgres: $(STAMP) ## Run the tests of the database on an older PostgreSQL (VERSION=15)
	@$(ON_VERSION) tests/sql tests/migration tests/loop tests/search tests/answers
	@$(ON_VERSION) -m slow tests/faults tests/sql/queue tests/search/test_standby.py tests/sql/triggers/test_replication.py

test-postgres-all: $(STAMP) ## Run them on each PostgreSQL from 15 to 18
	@for version in 15 16 17 18; do echo "== PostgreSQL $$version"; $(MAKE) --no-print-directory test-postgres VERSION=$$version || exit 1; done

# Another release than the one that pyproject.toml names: a revision, or a version of the package index.
RELEASE :=

test-upgrade: $(STAMP) ## Upgrade a database of the last release (RELEASE=…) under its running worker
	@PGEMBEDD_TEST_RELEASE=$(RELEASE) $(BIN)/python -m pytest -m "slow or not slow" tests/migration/test_released.py tests/migration/test_rolling.py

# Time for all faults together; 0: each once, briefly.
MINUTES := 60

faults: $(STAMP) ## Play every fault under writers for an hour (MINUTES=60), and print what was lost
	@$(BIN)/python -m tests.faults --minutes $(MINUTES)

lint: $(STAMP) ## ruff, mypy --strict, and the imports between the rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(STAMP) ## Let ruff format and fix what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) ## Measure the main figures in ten minutes; other libraries too after bench-setup
	@for each in $(BENCHES); do echo "== $$each"; $(BIN)/python -m bench.$$each $(SHORT_$$each) || exit 1; done

bench-full: bench-setup ## Measure everything, for hours, and keep the results in this machine's folder in bench/results
	@folder=$$($(BIN)/python -m bench.machine) || exit 1; \
	for each in $(BENCHES) soak; do echo "== $$each"; \
	    $(BIN)/python -m bench.$$each --json $(FULL_$$each) > "$$folder/$$each.unfinished" \
	    && mv "$$folder/$$each.unfinished" "$$folder/$$each.jsonl" || exit 1; done

bench-setup: $(STAMP) $(PEERS)/.installed $(PEERS)-optimum/.installed ## Install the libraries that the benches compare with, beside the project

$(PEERS)/.installed: bench/requirements-peers.txt
$(PEERS)-optimum/.installed: bench/requirements-peers-optimum.txt
$(PEERS)/.installed $(PEERS)-optimum/.installed:
	@echo "Installing the libraries of $< into $(@D) (once; a gigabyte) ..."
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' $<)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench-report: $(STAMP) $(PEERS)/.installed ## Make the tables in bench/results, and of docs/reference/performance.md with its plots
	@$(PEERS)/bin/python -m bench.page

lock: ## Write the lock files again from pyproject.toml (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --extra http --extra mcp --extra otel pyproject.toml -o requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --extra embedded --extra http --extra mcp --extra otel --group dev --constraint requirements.lock pyproject.toml requirements-build.in -o requirements-dev.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --constraint requirements-dev.lock requirements-build.in -o requirements-build.lock

# The engine that builds the image: docker, podman or buildah. MODEL is the model to put into it, none by default.
ENGINE ?= docker

image: ## Build the image pgembedd (ENGINE=podman, MODEL=gte-small)
	@$(ENGINE) build -t pgembedd $(if $(MODEL),--build-arg MODEL=$(MODEL)) .

wheel: $(STAMP) ## Build the wheel into dist/
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

docs: $(STAMP) ## Build the documentation as a site into build/site
	@$(BIN)/python -m tests.project.docs_site

docs-serve: docs ## Build it, and serve it on 127.0.0.1:8000 (PORT=)
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(or $(PORT),8000)

clean: ## Remove the virtual environment, the private Postgres and the caches in this checkout
	@if [ -x $(BIN)/pgembedd ]; then $(BIN)/pgembedd postgres remove --quiet --yes; fi
	@rm -rf $(VENV) $(PEERS) $(PEERS)-optimum .pgembedd .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
