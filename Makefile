PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test quick lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.app-installed ## install what the app needs and start it
	$(BIN)/python app.py

test: $(VENV)/.dev-installed ## run the tests (ARGS="-k images" gives pytest options)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

quick: $(VENV)/.dev-installed ## run the tests that take no browser, no training and no time
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 -m "not slow and not browser" $(ARGS)

lint: $(VENV)/.dev-installed ## check the style and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove the environment and all caches, but no training output
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis .gradio
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: a second run installs nothing, unless the requirements changed.
$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "$(PYTHON) not found: install Python 3.10 or newer, or give PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "$(PYTHON) is older than Python 3.10: give a newer one, as in make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.app-installed: requirements.txt $(VENV)/.created
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

$(VENV)/.dev-installed: requirements-dev.txt requirements.txt $(VENV)/.created
	$(BIN)/python -m pip install -r requirements-dev.txt
	@touch $@
