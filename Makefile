# Everything runs in .venv, made from the locked requirements. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCK   := requirements.lock requirements-dev.lock
PEERS  := .venv-bench
TOOLS  := .venv-release
CLIENTS := .venv-clients
CLUSTER := .venv-cluster
FAILOVER := .venv-failover

# What `make bench` and `make bench-full` run, and how.
BENCHES        := embed quality roofline operators pipeline carry writes latency sql_embed http fairness triggers hnsw recall search rerank providers documents chain
SHORT_embed    := --short --rounds 2 --texts 128
SHORT_quality  := --sample 200
SHORT_roofline := --rounds 1
SHORT_writes   := --rounds 1
SHORT_pipeline := --rounds 1
SHORT_carry    := --rounds 2
SHORT_latency  := --rounds 1
SHORT_sql_embed := --rounds 1
SHORT_rerank   := --rounds 3
SHORT_providers := --rounds 1
SHORT_documents := --rounds 3
SHORT_chain    := --rounds 1
SHORT_http     := --short --rounds 2
SHORT_fairness := --rounds 1
SHORT_triggers := --rounds 2
SHORT_recall   := --m 16
FULL_pipeline  := --full
FULL_hnsw      := --full
FULL_recall    := --full
FULL_search    := --full

.DEFAULT_GOAL := help
.PHONY: help setup setup-debian demo demo-documents demo-answers up test test-slow test-release test-clients test-engines \
    test-cluster \
    test-failover test-postgres test-postgres-all test-upgrade faults faults-chain lint format bench bench-full bench-gpu \
    bench-setup bench-report lock image wheel ci check-wheel test-wheel test-image test-default-model sbom \
    sbom-image image-pinned pin-base release-setup check-workflows check-tag publish publish-image docs docs-serve \
    clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' Makefile

# An environment whose Python is no longer there, or is of another version by now, is made anew.
setup: ## Make .venv with exactly the locked versions, and fetch the model that tests use
	@$(BIN)/python -c 'import pip' 2>/dev/null || rm -rf $(VENV)
	@$(MAKE) --no-print-directory $(STAMP)
	@$(BIN)/pgembedd model pull all-MiniLM-L6-v2

setup-debian: ## Install what the tests of faults need besides, on Debian (needs root)
	@apt-get -q update
	@apt-get -q -y --no-install-recommends install iproute2

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pgembedd needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 " + "setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Embed Python's own documentation on a private Postgres and search it
	@$(BIN)/pgembedd demo

demo-documents: $(STAMP) ## Parse PDF manuals, embed their pages and search them
	@$(BIN)/pgembedd demo --documents

demo-answers: $(STAMP) ## Have a language model answer questions from it (PGEMBEDD_LANGUAGE_HOST)
	@$(BIN)/pgembedd demo --answers

up: $(STAMP) ## Run embedded Postgres, migrations and a worker in the foreground
	@$(BIN)/pgembedd up

test: $(STAMP) ## Run the default tests on private Postgres servers, on all cores
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(STAMP) ## Run the tests that take longer, on all cores
	@$(BIN)/python -m pytest -m "slow and not release" -n auto --dist loadfile

test-release: $(STAMP) release-setup ## Check a release: wheel, image, site, workflows; all versions of PostgreSQL; quality; worst memory
	@$(BIN)/python -m pytest -m release -n auto --dist loadfile

test-clients: $(STAMP) $(CLIENTS)/.installed ## Run what needs packages of other projects: pages of clients (LangChain, supabase-js, …), the chart
	@$(BIN)/python -m pytest -m clients -n auto --dist loadfile tests/clients

# Node and npm are one of the Python packages.
$(CLIENTS)/.installed: tests/clients/requirements.lock tests/clients/package.json tests/clients/package-lock.json | $(STAMP)
	@echo "Installing the packages of $(<D) into $(CLIENTS) (once) ..."
	@test -x $(CLIENTS)/bin/python || $(BIN)/python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@cp tests/clients/package.json tests/clients/package-lock.json $(CLIENTS)
	@PATH="$(CURDIR)/$(CLIENTS)/bin:$$PATH" npm ci --prefix $(CLIENTS) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

test-engines: $(STAMP) ## Run it on TimescaleDB, on both sides of logical replication, in two databases with pg_cron
	@$(BIN)/python -m pytest -m engines -n auto --dist loadfile tests/engines

test-cluster: $(STAMP) $(CLUSTER)/.installed ## Run workers on two nodes of a Ray cluster, which are killed (needs root)
	@$(BIN)/python -m pytest -m cluster tests/cluster

$(CLUSTER)/.installed: tests/cluster/requirements.lock | $(STAMP)
	@echo "Installing pgembedd with Ray into $(CLUSTER) (once) ..."
	@test -x $(CLUSTER)/bin/python || $(BIN)/python -m venv $(CLUSTER)
	@$(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< -r requirements-build.lock
	@$(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Of each failover in each mode; the workers reach the leader in three ways, in turn, and by PgBouncer in half of them.
ROUNDS := 4

test-failover: $(STAMP) $(FAILOVER)/.installed ## Play failovers of a Patroni cluster under writers (ROUNDS=4 of each; needs root)
	@$(BIN)/python -m tests.failover --rounds $(ROUNDS)

$(FAILOVER)/.installed: tests/failover/requirements.lock | $(STAMP)
	@echo "Installing Patroni into $(FAILOVER) (once) ..."
	@test -x $(FAILOVER)/bin/python || $(BIN)/python -m venv $(FAILOVER)
	@$(FAILOVER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The version of PostgreSQL that the tests of the database run on: 15 to 18.
VERSION ?= 15
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

faults-chain: $(STAMP) ## Kill workers, parsers and sessions 1,000 times while files become pages, and pages vectors
	@$(BIN)/python -m tests.faults --minutes 0 --rounds 11 --only "kills across a chain"

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

bench-gpu: $(STAMP) ## Measure texts a second on a GPU, beside its limit; a sentence without one
	@$(BIN)/python -m bench.gpu

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

lock: ## Write the lock files again from pyproject.toml (needs uv and npm)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --extra documents --extra http --extra mcp --extra otel pyproject.toml -o requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --extra documents --extra embedded --extra http --extra mcp --extra ocr --extra otel --group dev --constraint requirements.lock pyproject.toml requirements-build.in -o requirements-dev.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --constraint requirements-dev.lock requirements-build.in -o requirements-build.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header requirements-release.in -o requirements-release.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --constraint requirements.lock --no-emit-package flatbuffers --no-emit-package numpy \
	    --no-emit-package packaging --no-emit-package protobuf requirements-gpu.in -o requirements-gpu.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header tests/clients/requirements.in -o tests/clients/requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header --constraint requirements-dev.lock --extra ray pyproject.toml -o tests/cluster/requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-header tests/failover/requirements.in -o tests/failover/requirements.lock
	@npm install --prefix tests/clients --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts \
	    --no-audit --no-fund --loglevel=error

# The engine that builds the image: docker, podman or buildah. MODEL is the model to put into it, none by default; BASE
# is the image that it is made from, by its digest in a release (make pin-base); GPU=1 puts CUDA into it.
# In a release the image is called by its version (0.2.0 for the tag v0.2.0) in REGISTRY, with SUFFIX for the model.
ENGINE ?= docker
IMAGE  ?= $(if $(REGISTRY),$(REGISTRY):$(TAG:v%=%)$(SUFFIX),pgembedd)
MODEL  ?=
BASE   ?=
GPU    ?=

image: ## Build the image pgembedd (ENGINE=podman, MODEL=gte-small, IMAGE=name:tag, BASE=python@sha256:…, GPU=1)
	@$(ENGINE) build -t $(IMAGE) $(if $(MODEL),--build-arg MODEL=$(MODEL)) $(if $(BASE),--build-arg BASE=$(BASE)) \
	    $(if $(GPU),--build-arg GPU=$(GPU)) \
	    $(if $(PGEMBEDD_REPOSITORY_URL),--build-arg PGEMBEDD_REPOSITORY_URL=$(PGEMBEDD_REPOSITORY_URL)) .

wheel: $(STAMP) ## Build the wheel and the source archive into dist/
	@rm -rf dist/*.whl dist/*.tar.gz
	@$(BIN)/python -m hatchling build -d dist

image-pinned: ## Build the image as `image` does, and refuse a base without a digest
	@case "$(BASE)" in *@sha256:*) ;; *) echo "Give the base image by its digest: make pin-base prints it, for BASE=…" >&2; exit 1;; esac
	@$(MAKE) --no-print-directory image

# -- Releases: what .github/workflows calls, and nothing else does. Each runs here, too, up to the upload. --------

release-setup: $(TOOLS)/.installed ## Install the tools of a release in an environment of their own

$(TOOLS)/.installed: requirements-release.lock | $(STAMP)
	@test -x $(TOOLS)/bin/python || $(BIN)/python -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-release.lock
	@touch $@

ci: $(STAMP) ## Run what must pass before a change lands
	@.ci/run

check-wheel: release-setup ## Check the metadata and the description of what is in dist/
	@$(TOOLS)/bin/twine check --strict dist/*.whl dist/*.tar.gz

test-wheel: release-setup ## Install the wheel on each Python of this machine, without compilers, and run the demo
	@$(BIN)/python -m pytest -m "release or not release" -rs tests/project/test_wheel.py tests/project/test_sbom.py

# The image to test, and the model that is inside, the tests' one unless named; without an image the tests build one.
TESTED :=

test-image: $(STAMP) ## Run the tests of the image (TESTED=name:tag, MODEL=gte-small, ENGINE=docker)
	@PGEMBEDD_TEST_IMAGE=$(TESTED) PGEMBEDD_TEST_IMAGE_MODEL=$(MODEL) PGEMBEDD_TEST_ENGINE=$(ENGINE) $(BIN)/python -m pytest -m release -rs tests/acceptance/test_image.py

test-default-model: $(STAMP) ## Check the default model with its own weights (PGEMBEDD_MODEL_DIR, the cache or the Hub)
	@$(BIN)/python -m tests.model.default_model

SBOM := $(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --sv 1.6 --output-reproducible --validate

sbom: release-setup ## Write dist/sbom/pgembedd.cdx.json, the components of the wheel and its extras, as CycloneDX
	@mkdir -p dist/sbom
	@PYTHONWARNINGS=ignore $(SBOM) -o dist/sbom/pgembedd.cdx.json requirements.lock

# `pip` of the image, as it has no shell that could be relied on.
sbom-image: release-setup ## Write dist/sbom/image.cdx.json, the Python packages that are in the image (IMAGE=name:tag)
	@mkdir -p dist/sbom
	@$(ENGINE) run --rm --network none --entrypoint python $(IMAGE) -m pip list --format freeze --exclude pgembedd > dist/sbom/image.txt
	@PYTHONWARNINGS=ignore $(SBOM) -o dist/sbom/image.cdx.json dist/sbom/image.txt

pin-base: ## Print the base image by its digest, for BASE=… (needs the network)
	@image=$$(sed -n 's/^ARG BASE=//p' Dockerfile) && $(ENGINE) pull --quiet $$image >&2 \
	    && $(ENGINE) image inspect --format '{{index .RepoDigests 0}}' $$image

check-workflows: release-setup ## Check .github/workflows with zizmor
	@$(TOOLS)/bin/zizmor --offline --no-progress --quiet --min-severity medium .github/workflows

# The tag of the commit to release, such as v0.2.0.
TAG := $(GITHUB_REF_NAME)

check-tag: $(STAMP) ## Check that TAG is this version, that the changelog dates it, and that the documents say what ran
	@$(BIN)/python -m tests.project.release $(TAG)

# Both upload and cannot be taken back; they identify themselves as the workflow that runs them, with no password.
publish: release-setup ## Sign dist/ and publish it in the package index (the workflow's identity)
	@$(TOOLS)/bin/pypi-attestations sign dist/*.whl dist/*.tar.gz
	@$(TOOLS)/bin/uv publish --trusted-publishing always dist/*.whl dist/*.tar.gz

publish-image: ## Push IMAGE, and write its digest into dist/image-digest
	@mkdir -p dist
	@$(ENGINE) push --quiet $(IMAGE)
	@$(ENGINE) image inspect --format '{{index .RepoDigests 0}}' $(IMAGE) | sed 's/.*@//' > dist/image-digest
	@if [ -n "$$GITHUB_OUTPUT" ]; then echo "digest=$$(cat dist/image-digest)" >> "$$GITHUB_OUTPUT"; fi

docs: $(STAMP) ## Build the documentation as a site into build/site
	@$(BIN)/python -m tests.project.docs_site

docs-serve: docs ## Build it, and serve it on 127.0.0.1:8000 (PORT=)
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(or $(PORT),8000)

clean: ## Remove the virtual environment, the private Postgres and the caches in this checkout
	@if $(BIN)/python -c 'import pgembedd' 2>/dev/null; then $(BIN)/pgembedd postgres remove --quiet --yes; fi
	@rm -rf $(VENV) $(PEERS) $(PEERS)-optimum $(TOOLS) $(CLIENTS) $(CLUSTER) $(FAILOVER) .pgembedd .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
