# Everything that is done to this project by hand. `make` alone prints the list.
#   PORT=8000                 where `make run` serves
#   HEADWATER_DATA_DIR=var    where it keeps the SQLite database and its keys
#   PYTHON=python3.13         which Python makes the environment; otherwise the first good one is taken
#   VENV=.venv                where the environment is
#   JOBS=3                    how many tests run at a time: some wait, so one more than there are cores
SHELL = /bin/sh
VENV ?= .venv
JOBS ?= 3
PORT ?= 8000
PY = $(VENV)/bin/python
BOOTSTRAP = python=$$(PYTHON="$(PYTHON)" deploy/find-python) && PYTHON="$(PYTHON)" "$$python" -m deploy.bootstrap --venv $(VENV)
# The demo is polled over HTTP from this server itself: that one address and port are opened besides what is set.
OPENED = HEADWATER_ALLOWED_NETWORKS="$${HEADWATER_ALLOWED_NETWORKS:+$$HEADWATER_ALLOWED_NETWORKS,}127.0.0.1/32:$(PORT)"

.PHONY: help run install dev test check sdk-suite bench bench-live bench-poll bench-store bench-storm bench-page clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

run: install ## Serve on http://127.0.0.1:8000; all set-up is done at the first start
	@PORT=$(PORT) $(OPENED) exec $(PY) manage.py serve --first-start

install: ## The environment in .venv/, without starting anything
	@$(BOOTSTRAP)

dev:
	@$(BOOTSTRAP) --dev

# Hundreds of short processes: each would compile everything anew where Python is told to keep nothing compiled.
test: export PYTHONDONTWRITEBYTECODE =
test: dev ## Every test, on SQLite, then those of the database on PostgreSQL
	@$(PY) -m tests.programs
	$(PY) -m pytest -n $(JOBS) --dist worksteal
	$(PY) -m tests.services pytest -n $(JOBS) --dist worksteal -m database

check: dev ## ruff, mypy and the arrows between the rooms
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_architecture.py

sdk-suite: dev ## The Python SDK's own tests, from PyPI, against a server on port 8000
	@$(PY) -m tests.sdk.suite

bench-poll: dev ## 2,000 sources every 10 s: how late are their polls?
	$(PY) -m benchmarks.poll

bench-store: dev ## How many publications a second the store commits, on SQLite and on PostgreSQL
	$(PY) -m benchmarks.store

bench-storm: dev ## 5,000 clients, a kill -9, a restart: how soon do all have everything again?
	$(PY) -m benchmarks.storm

bench-live: dev ## From a change of rows to everybody who watches a live query, beside model observers
	$(PY) -m benchmarks.live

bench: dev ## What a delivery costs, beside the stock consumer, Nchan and NATS where they are installed
	$(PY) -m benchmarks.fanout

bench-page: dev ## How soon a change by another program is on the page, in Chromium
	$(PY) -m benchmarks.live.page

clean: ## Remove what is made, but not the data in var/
	rm -rf $(VENV) node_modules staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis
