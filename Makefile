# Everything a person or the CI does here. Needs git, make and python3 >= 3.11 with venv; the rest is
# installed into .venv from hash-locked requirements.

PYTHON ?= python3
PYTEST = .venv/bin/pytest
# The stamp carries the folder's name: scripts in a moved .venv point to the old place.
STAMP = .venv/complete-$(shell pwd | cksum | cut -d' ' -f1)

.DEFAULT_GOAL = help
.PHONY: help setup up test test-fast test-long test-gpu lint faults bench clean chromium libfaketime

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1@/p' $(MAKEFILE_LIST) | awk -F@ '{printf "%-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the environment in .venv (about a minute; instant when it is there)

$(STAMP): requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is missing or older than 3.11. Install Python 3.11 or newer, or name one: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "[1/3] Python environment in .venv"
	@# An unfinished or moved environment is made anew; a finished one is only brought up to date.
	@{ test -e $@ && .venv/bin/python -c ""; } || $(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@echo "[2/3] Packages, hash-checked"
	@.venv/bin/python -m requirements.install requirements/dev.txt
	@echo "[3/3] Stackweb itself"
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

up: setup ## Start Stackweb here and stay in the foreground; Ctrl-C stops all of it
	@.venv/bin/stackweb up

# A test run that finds nothing to run has shown nothing, so it does not end well.
define run_tests
@status=0; $(PYTEST) $(1) || status=$$?; \
if [ $$status = 5 ]; then echo "$(2)"; exit 1; fi; exit $$status
endef

test: setup chromium libfaketime ## Every test: unit, flows, browser, real engines on CPU (minutes)
	$(PYTEST) -m "not long and not gpu"

test-fast: setup ## Without browser and real engines
	$(PYTEST) -m "not engines and not browser and not slow and not long and not gpu"

test-long: setup ## The hours-long ones
	$(PYTEST) -m long

test-gpu: setup ## What needs an NVIDIA GPU
	@command -v nvidia-smi >/dev/null || { echo "No NVIDIA GPU here (nvidia-smi is missing): nothing was run."; exit 1; }
	$(call run_tests,-m gpu,No test is marked 'gpu' yet: nothing was run on the GPU.)

faults: setup ## Faults while jobs run, judged by a witness: N=100 SEED=1, or BUG=free_at_expiry, which must fail
	.venv/bin/python -m tests.faults --faults $(or $(N),100) --seed $(or $(SEED),1) $(if $(BUG),--bug $(BUG))

bench: setup ## Benchmarks; results in build/bench/*.json
	@ls bench/*.py >/dev/null 2>&1 || { echo "There are no benchmarks yet (bench/*.py): nothing was measured."; exit 1; }
	@mkdir -p build/bench; status=0; for file in bench/*.py; do .venv/bin/python $$file || status=1; done; exit $$status

bench-%: setup
	@mkdir -p build/bench; .venv/bin/python bench/$*.py

lint: setup ## Style, types, layers, house rules
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTEST) tests/house

chromium: # for the browser tests; from the system's own packages
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the browser tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
	  echo "The browser tests need Chromium. Install it first: sudo apt-get install chromium"; exit 1; \
	fi

FAKETIME = /usr/lib/*/faketime/libfaketime.so.1
libfaketime: # for jumping clocks; where it cannot be had, their test is skipped and says so
	@ls $(FAKETIME) >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  echo "Installing libfaketime for the tests of jumping clocks" && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfaketime >/dev/null; } || \
	echo "No libfaketime: the test of jumping clocks is skipped. To run it: sudo apt-get install libfaketime"

clean: ## Remove what was built here; state in STACKWEB_HOME stays
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
