# `make` lists what there is. Variables given on the command line (make run PORT=8001) reach the processes.
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
# These commands need settings, but no server: that there is none to compare the migrations with is no news.
manage := CODELAB_DEBUG=true CODELAB_LOG_LEVEL=ERROR $(python) -W ignore::RuntimeWarning manage.py
compile := .venv/bin/uv --quiet pip compile --universal --python-version 3.12 --generate-hashes --no-header \
	--no-emit-index-url --override requirements/overrides.txt

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' Makefile

.PHONY: venv
venv: ## Make or update .venv; every other target does this first
	@sh scripts/bootstrap.sh

.PHONY: run
run: venv ## Start everything on this machine: PostgreSQL, Redis, web, worker, beat, Flower
	@exec $(python) -m codelab.local

.PHONY: test
test: venv ## Run the tests (PYTEST_ARGS="-k name" passes arguments on)
	@$(python) -m pytest $(PYTEST_ARGS)

.PHONY: coverage
coverage: venv ## Run the tests and show which lines they do not reach
	@$(python) -m pytest --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

checks := check-format check-lint check-types check-imports check-migrations
mend-check-format := make format
mend-check-lint := make format mends some, the rest by hand
mend-check-types := by hand
mend-check-imports := by hand; the allowed directions are in pyproject.toml
mend-check-migrations := $(python) manage.py makemigrations, and commit the result

.PHONY: check
check: venv ## Check format, lint, types, imports and migrations, all of them even when one fails
	@failed=; for check in $(checks); do echo "$$check"; $(MAKE) $$check || failed="$$failed mend-$$check"; done; \
	[ -z "$$failed" ] || { echo; echo "Failed, and what mends it:"; $(MAKE) $$failed; exit 1; }

.PHONY: $(checks:%=mend-%)
$(checks:%=mend-%):
	@echo "  $(@:mend-%=%): $($@)"

.PHONY: $(checks)
check-format: venv ## Only: is everything formatted?
	@.venv/bin/ruff format --check .
check-lint: venv ## Only: ruff's rules
	@.venv/bin/ruff check .
check-types: venv ## Only: mypy
	@.venv/bin/mypy
check-imports: venv ## Only: which module may import which
	@.venv/bin/lint-imports
check-migrations: venv ## Only: does each model change have its migration?
	@$(manage) makemigrations --check --dry-run

.PHONY: format
format: venv ## Format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

.PHONY: bench
bench: venv ## Measure the service and judge its goals, about eight minutes (WEB=2 WORKERS=2 BENCH_ARGS="--streams 1,8 --quick")
	@$(python) -m bench $(if $(WEB),--web $(WEB)) $(if $(WORKERS),--workers $(WORKERS)) $(BENCH_ARGS)

.PHONY: profile
profile: venv ## Show where web and worker spend their time while STREAMS=64 run
	@$(python) -m bench --profile --streams $(or $(STREAMS),64) $(BENCH_ARGS)

.PHONY: chaos
chaos: venv ## Harm a running service for about 15 minutes and check every promise (MINUTES=30 SEED=1)
	@$(python) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(CHAOS_ARGS)

.PHONY: schema
schema: venv ## Write docs/protocol from the code
	@$(manage) export_protocol

.PHONY: lock
lock: venv ## Lock the requirements again after a change of requirements/*.in
	$(compile) requirements/base.in -o requirements/base.txt
	$(compile) requirements/dev.in -o requirements/dev.txt
	$(compile) requirements/uv.in -o requirements/uv.txt

.PHONY: clean
clean: ## Remove .venv and caches; the data that `make run` keeps stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
