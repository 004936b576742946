# `make` lists the targets. Variables on the command line (make run PORT=8001) reach the processes.
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

python := .venv/bin/python
# These commands need settings but no database; Django's warning about that is suppressed.
manage := CODELAB_DEBUG=true CODELAB_LOG_LEVEL=ERROR $(python) -W ignore::RuntimeWarning manage.py
compile := .venv/bin/uv --quiet pip compile --universal --python-version 3.12 --generate-hashes --no-header \
	--no-emit-index-url --override requirements/overrides.txt

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' Makefile

.PHONY: venv
venv: ## Create or update .venv; every other target does this first
	@sh scripts/bootstrap.sh

.PHONY: run
run: venv ## Start everything on this machine: PostgreSQL, Redis, web, worker, beat, Flower
	@exec $(python) -m codelab.local

.PHONY: chat
chat: venv ## Talk with an agent in a terminal, in FOLDER=path; starts the service where it does not run
	@exec $(python) -m codelab.local.chat

.PHONY: test
test: venv ## Run the tests (PYTEST_ARGS="-k name" for arguments of pytest)
	@$(python) -m pytest -n auto $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: venv ## Run all but the tests that need a running service or a browser
	@$(python) -m pytest -n 3 -m "not live and not browser" $(PYTEST_ARGS)

.PHONY: pictures
pictures: venv ## Take the pictures of README and docs again, from a running service
	@PICTURES=docs/images $(python) -m pytest -n0 tests/browser/test_pictures.py -k named_for $(PYTEST_ARGS)

.PHONY: acp-cuts
acp-cuts: venv ## Cut 200 connections of `codelab acp` at random bytes; nothing may be lost or repeated
	@ACP_CUTS=200 $(python) -m pytest -n0 -s tests/live/test_acp_bridge.py -k cut $(PYTEST_ARGS)

.PHONY: neighbours
neighbours: venv ## Attack a running service and measure the gaps of a neighbour's stream, which must stay below 0.5 s
	@NEIGHBOUR_MAX_GAP_SECONDS=0.5 $(python) -m pytest -n0 tests/neighbours $(PYTEST_ARGS)

.PHONY: properties
properties: venv ## Test what holds for every stream, conversation and command with 5,000 examples, about four minutes
	@$(python) -m pytest -n0 --timeout 1800 --hypothesis-profile=thorough tests/llm/test_stream_properties.py \
		tests/llm/test_history.py tests/agents/test_disguises.py tests/agents/test_globs.py tests/agents/test_protected.py \
		tests/agents/test_display.py tests/cli/tools/test_blocks.py tests/cli/tools/test_paths.py \
		$(PYTEST_ARGS)

.PHONY: coverage
coverage: venv ## Run the tests and show the lines they do not reach
	@$(python) -m pytest -n auto --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

checks := check-format check-lint check-types check-imports check-migrations
fix-check-format := make format
fix-check-lint := make format fixes some, the rest by hand
fix-check-types := by hand
fix-check-imports := by hand; the allowed directions are in pyproject.toml
fix-check-migrations := $(python) manage.py makemigrations, and commit the result

.PHONY: check
check: venv ## Check format, lint, types, imports and migrations; runs all even when one fails
	@failed=; for check in $(checks); do echo "$$check"; $(MAKE) $$check || failed="$$failed fix-$$check"; done; \
	[ -z "$$failed" ] || { echo; echo "Failed checks and how to fix them:"; $(MAKE) $$failed; exit 1; }

.PHONY: $(checks:%=fix-%)
$(checks:%=fix-%):
	@echo "  $(@:fix-%=%): $($@)"

.PHONY: $(checks)
check-format: venv ## Check the format only
	@.venv/bin/ruff format --check .
check-lint: venv ## Run ruff only
	@.venv/bin/ruff check .
check-types: venv ## Run mypy only
	@.venv/bin/mypy
check-imports: venv ## Check the import contracts only
	@.venv/bin/lint-imports
check-migrations: venv ## Check that each model change has a migration only
	@$(manage) makemigrations --check --dry-run

.PHONY: format
format: venv ## Format the code and apply ruff's fixes
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

.PHONY: bench
bench: venv ## Measure the service against its goals, about eight minutes (WEB=2 WORKERS=2 BENCH_ARGS="--streams 1,8 --quick")
	@$(python) -m bench $(if $(WEB),--web $(WEB)) $(if $(WORKERS),--workers $(WORKERS)) $(BENCH_ARGS)

.PHONY: profile
profile: venv ## Profile web and worker while STREAMS=64 run
	@$(python) -m bench --profile --streams $(or $(STREAMS),64) $(BENCH_ARGS)

.PHONY: chaos
chaos: venv ## Inject faults into a running service for 15 minutes and check every promise (MINUTES=5 SEED=1)
	@$(python) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(CHAOS_ARGS)

.PHONY: clients
clients: venv ## Let real programs of PyPI and npm do a task against `make run`; skipped where no index is (CLIENTS="aider pi")
	@$(python) -m tests.programs $(CLIENTS)

.PHONY: image-test
image-test: venv ## Build the image and check it with Docker Compose; skipped where there is no Docker
	@$(python) -m tests.deployment.image

.PHONY: schema
schema: venv ## Generate docs/protocol and the types of the clients from the code
	@$(manage) export_protocol

.PHONY: lock
lock: venv ## Lock the requirements after a change of requirements/*.in
	$(compile) requirements/base.in -o requirements/base.txt
	$(compile) requirements/dev.in -o requirements/dev.txt
	$(compile) requirements/uv.in -o requirements/uv.txt

.PHONY: clean
clean: ## Remove .venv and caches; keep the data of `make run`
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
