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
NEMESIS ?= 3600

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/runtime.stamp
TEST := $(VENV)/test.stamp
NATIVE := setup.py $(wildcard src/quiver/ann/native/*.[ch])

.PHONY: help venv native serve test check bench soak soak-stores azurite lock clean
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

test: $(TEST) ## run every test
	@$(BIN)/python -m pytest -q -n 3 -m "not soak"

check: $(TEST) ## formatting, lint, types, floors and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not soak"

bench: $(TEST) ## run the benchmarks
	$(BIN)/python -m benchmarks

soak: $(TEST) ## what is too long for `make test`: repeated tests, seeds, kill -9, nemesis (SEEDS, CYCLES, NEMESIS seconds)
	$(BIN)/python -m pytest -q -n 2 -m soak
	$(BIN)/python tests/simulation/soak.py --seeds $(SEEDS)
	$(BIN)/python tests/cluster/crash_loop.py --cycles $(CYCLES)
	$(BIN)/python tests/cluster/nemesis.py --operations 10000000 --seconds $(NEMESIS)

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
	@! grep -n '://' requirements/*.txt

clean: ## remove .venv and every cache (never your data)
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build src/*.egg-info
	rm -f src/quiver/ann/_kernels.*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
