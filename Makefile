# Quiver's commands for people. `make serve` and `make test` each work first in a fresh clone:
# they need Python 3.11 or newer, gcc and make, and create everything else in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV ?= uv
ROOT ?= ./quiver-data
HOST ?= 127.0.0.1
PORT ?= 8080
WORKERS ?= 1
SEEDS ?= 5000
CYCLES ?= 2000
ENCRYPTED_CYCLES ?= 400
NEMESIS ?= 3600
FUZZ ?= 300000

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/runtime.stamp
TEST := $(VENV)/test.stamp
CLIENTS := .venv-clients
PEERS := .venv-peers
FUZZ_TARGETS := $(patsubst tests/fuzz/targets/%.py,%,$(wildcard tests/fuzz/targets/[a-z]*.py))
NATIVE := setup.py $(wildcard src/quiver/*/native/*.[ch])

.PHONY: help venv native serve test check bench peers clients soak soak-stores azurite lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The project itself goes in as an editable install; its build tools are locked too, so nothing unlocked is fetched.
$(RUNTIME): requirements/runtime.txt pyproject.toml $(NATIVE) | $(BIN)/python
	$(PIP) install --no-compile --require-hashes -r requirements/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(TEST): requirements/test.txt pyproject.toml $(NATIVE) | $(BIN)/python
	$(PIP) install --no-compile --require-hashes -r requirements/test.txt
	$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $(RUNTIME) $@

venv: $(TEST) ## create .venv with everything for development

native: $(TEST) ## compile the C kernels again, in place
	$(BIN)/python setup.py --quiet build_ext --inplace --force

serve: $(RUNTIME) ## serve ./quiver-data on 127.0.0.1:8080 (ROOT=, HOST=, PORT=, WORKERS=)
	@exec $(BIN)/quiver serve $(ROOT) --host $(HOST) --port $(PORT) --workers $(WORKERS)

# Compiled modules are kept, or each of the many processes would compile all it imports. Tests of one file mostly stay
# in one worker, with the servers they share.
# One thread for numbers in each process: more of them would wait for each other in loops (tests of threads ask for theirs).
test check: export PYTHONDONTWRITEBYTECODE =
test check: export OMP_NUM_THREADS = 1
test: $(TEST) ## run every test
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal --hypothesis-profile repeatable -m "not soak"

check: $(TEST) ## formatting, lint, types, floors and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not soak"

bench: $(TEST) ## run the benchmarks
	$(BIN)/python -m benchmarks

# hnswlib is compiled here, and its build tools come first: they are locked as everything else is.
peers: $(PEERS)/peers.stamp ## the systems that the benchmarks compare with, in .venv-peers: `.venv-peers/bin/python -m benchmarks recall_qps`

$(PEERS)/peers.stamp: requirements/peers.txt pyproject.toml $(NATIVE)
	$(PYTHON) -m venv $(PEERS)
	awk '/^[a-z]/ {wanted = /^(numpy|pybind11|setuptools)==/} wanted' $< > $(PEERS)/tools.txt
	$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --require-hashes -r $(PEERS)/tools.txt
	$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --require-hashes --no-build-isolation -r $<
	$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# The tests of moto and langchain-aws are in their source distributions only, which the lock file has the hashes of.
$(CLIENTS)/clients.stamp: requirements/clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --require-hashes -r $<
	awk '/^[a-z]/ {wanted = /^(moto|langchain-aws)==/} wanted' $< > $(CLIENTS)/sources.txt
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check --quiet download --require-hashes --no-deps \
	  --no-binary :all: --no-build-isolation --dest $(CLIENTS)/sources -r $(CLIENTS)/sources.txt
	@touch $@

# AWS's SDK for JavaScript is run where there is node.
tests/clients/node/node_modules: tests/clients/node/package-lock.json
	@if command -v npm >/dev/null; then npm --prefix $(@D) ci && touch $@; else echo "no npm: $(@D) is left out"; fi

clients: $(TEST) $(CLIENTS)/clients.stamp tests/clients/node/node_modules ## run other people's S3 Vectors clients against a server
	$(BIN)/python -m pytest -q -m soak tests/clients

soak: $(TEST) $(CLIENTS)/clients.stamp tests/clients/node/node_modules ## what is too long for `make test`: repeated tests, seeds, kill -9, nemesis, fuzzing (SEEDS, CYCLES, ENCRYPTED_CYCLES, NEMESIS seconds, FUZZ inputs)
	$(BIN)/python -m pytest -q -n 2 -m soak
	$(BIN)/python tests/simulation/soak.py --seeds $(SEEDS)
	$(BIN)/python tests/cluster/crash_loop.py --cycles $(CYCLES)
	$(BIN)/python tests/cluster/crash_loop.py --cycles $(ENCRYPTED_CYCLES) --encrypted
	$(BIN)/python tests/cluster/nemesis.py --operations 10000000 --seconds $(NEMESIS)
	QUIVER_TEST_FUZZ=$(FUZZ) $(BIN)/python -m pytest -q -s tests/api/test_fuzz.py
	QUIVER_TEST_SCHEMATHESIS=1000 $(BIN)/python -m pytest -q -n 2 tests/api/test_schemathesis.py
	for target in $(FUZZ_TARGETS); do \
	  $(BIN)/python tests/fuzz/campaign.py $$target --inputs $(FUZZ) || exit 1; \
	done

soak-stores: $(TEST) azurite ## the API and store contracts over Azurite, Ceph (from Debian packages), a commit store, an encrypted root
	API_ROOTS=commit,azurite,encrypted $(BIN)/python -m pytest -q tests/api/test_commit_root.py \
	  tests/api/test_azurite_root.py tests/api/test_encrypted_root.py tests/objectstore/test_azure.py
	@dir=$$(PYTHON=$(BIN)/python scripts/ceph_rgw.sh start | head -1) && test -n "$$dir" || exit 1; \
	trap 'scripts/ceph_rgw.sh stop "$$dir"' EXIT; . "$$dir/environment"; \
	API_ROOTS=ceph STORE_UNDER_TEST=s3://quiver-ceph/contract $(BIN)/python -m pytest -q \
	  tests/api/test_ceph_root.py tests/objectstore/test_given_store.py

azurite: tests/stores/azurite/node_modules ## install the emulator of Azure Blob Storage for the tests (needs node)

tests/stores/azurite/node_modules: tests/stores/azurite/package-lock.json
	npm --prefix $(@D) ci
	@touch $@

lock: ## write requirements/*.txt again from pyproject.toml (needs uv)
	$(UV) pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml requirements/build.in --extra test \
	  --output-file requirements/test.txt
	$(UV) pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml requirements/build.in --extra aws \
	  --constraint requirements/test.txt --output-file requirements/runtime.txt
	$(UV) pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links requirements/clients.in \
	  --constraint requirements/test.txt --output-file requirements/clients.txt
	$(UV) pip compile --quiet --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml requirements/build.in requirements/peers.in --extra bench \
	  --constraint requirements/test.txt --output-file requirements/peers.txt
	@! grep -n '://' requirements/*.txt

clean: ## remove .venv and every cache (never your data)
	rm -rf $(VENV) $(CLIENTS) $(PEERS) .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build src/*.egg-info
	rm -f src/quiver/*/_kernels.*.so src/quiver/objectstore/_files.*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
