# Everything happens inside this folder: `.venv` (dependencies, the `rag` command) and `.models`.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTEST_ARGS ?=
# Tests wait more than they compute: three at a time finish in a third of the time on two cores.
TEST_WORKERS ?= 3
ARGS ?=
LOCK_ARGS ?=
EXAMPLES ?= 3000
FUZZ ?= 200

# Any Python from 3.6 on can start set-up, which then looks for a suitable one or takes PYTHON=...
SET_UP = @start=$$(command -v python3 || command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v "$$PYTHON") || \
	{ echo "setup: no Python is installed: install one (Debian and Ubuntu: apt install python3 python3-venv)" >&2; exit 1; }; \
	PYTHON="$$PYTHON" "$$start" deploy/local/setup.py
BIN := .venv/bin
# The images of deploy/docker/Dockerfile that install less than everything.
IMAGES_WITH_LOCK := gateway parser embedder retriever agent persistence provision all-in-one
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --quiet $(LOCK_ARGS)

##@ Use

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: .set-up ## Create .venv with the locked dependencies and fetch the models (PYTHON=... chooses the interpreter)
	@echo "Ready: $(BIN)/rag"

.PHONY: run
run: .set-up ## Run every service on this machine (ARGS="--port 9000")
	@exec $(BIN)/rag up $(ARGS)

.PHONY: images
images: .set-up ## Build the container images with Docker or buildah (TARGETS="gateway parser", BASE=python:3.12-slim)
	@BASE="$(BASE)" exec $(BIN)/python -m deploy.docker.images $(TARGETS)

##@ Test

.PHONY: test
test: .set-up-dev ## Run all tests (PYTEST_ARGS="-k parser", TEST_WORKERS=3)
	@$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) || { \
		code=$$?; [ $$code -eq 1 ] || exit $$code; \
		echo "Some tests failed beside others. They run once more, alone, and have to pass:"; \
		exec $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(PYTEST_ARGS); }

.PHONY: test-extended
test-extended: .set-up-dev ## Run the long tests that `make test` leaves out, some 25 minutes
	@exec $(BIN)/python -m pytest tests/e2e tests/integration tests/outages tests/observability -m extended $(PYTEST_ARGS)

.PHONY: test-console
test-console: .set-up-dev ## Click through every view of the web console in Chromium, some 5 minutes
	@exec $(BIN)/python -m pytest tests/console -m "console or not console" $(PYTEST_ARGS)

.PHONY: test-llm
test-llm: .set-up-dev ## Ask a small language model in a real llama.cpp server, some 3 minutes (fetches 511 MB once)
	@$(BIN)/python -m deploy.local.language_model
	@exec $(BIN)/python -m pytest tests/llm -m llm $(PYTEST_ARGS)

.PHONY: test-images
test-images: .set-up-dev ## Build every image and run the platform from them, some 15 minutes (needs Docker, or root and buildah)
	@exec $(BIN)/python -m pytest tests/images -m images $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: .set-up-dev ## Run the tests that need no server
	@exec $(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

.PHONY: test-convergence
test-convergence: .set-up-dev ## Far more interleavings of writes, crashes and repetitions, some 5 minutes (EXAMPLES=3000)
	@RAG_TEST_EXAMPLES=$(EXAMPLES) exec $(BIN)/python -m pytest tests/unit/convergence tests/integration/test_persistence_convergence.py --timeout 0 $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: .set-up-dev ## Many more hostile requests and messages, other ones every time, some 15 minutes (FUZZ=200)
	@RAG_TEST_FUZZ_EXAMPLES=$(FUZZ) exec $(BIN)/python -m pytest tests/e2e/test_hostile_input.py --timeout 0 $(PYTEST_ARGS)

.PHONY: chaos
chaos: .set-up-dev ## Kill and freeze every process under load and see that nothing is lost, some 20 minutes (ARGS="--seed 7")
	@exec $(BIN)/python -m tests.chaos $(ARGS)

.PHONY: bench
bench: .set-up-dev ## Every figure beside its limit in one table, some 45 minutes (ROWS="a c d", ROWS=j soaks, ARGS="--short --keep")
	@exec $(BIN)/python -m tests.load.bench $(if $(ROWS),--rows "$(ROWS)") $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: simulate
simulate: .set-up-dev ## Backlog, waiting time and replicas under loads that no test machine makes (ARGS="--keep")
	@exec $(BIN)/python -m tests.load.simulation $(ARGS)

.PHONY: bench-scifact
bench-scifact: .set-up-dev ## SciFact through the platform beside its yardsticks, some 8 minutes (DATA=folder of the corpus)
	@test -n "$(DATA)" || { echo "bench-scifact: give the folder that holds corpus.jsonl.gz: make bench-scifact DATA=..." >&2; exit 2; }
	@exec $(BIN)/python -m tests.load.scifact --data "$(DATA)"

.PHONY: bench-fairness
bench-fairness: .set-up-dev ## Single documents behind another tenant's 20,000, some 8 minutes (ARGS="--rounds 0")
	@exec $(BIN)/python -m tests.load.fairness $(ARGS)

.PHONY: eval
eval: .set-up-dev ## Search and answers on every dataset in a folder (DATA=folder, ARGS="--limit 50 --keep")
	@test -n "$(DATA)" || { echo "eval: give a folder of datasets: make eval DATA=..." >&2; exit 2; }
	@exec $(BIN)/python -m tests.load.evaluation --data "$(DATA)" $(ARGS)

.PHONY: bench-overload
bench-overload: .set-up-dev ## 50,000 documents as fast as they are taken, beside search, some 8 minutes (ARGS="--whole --keep")
	@exec $(BIN)/python -m tests.load.overload $(ARGS)

.PHONY: bench-documents
bench-documents: .set-up-dev ## Words found in documents, by format (DATA=folder with expected_words.jsonl)
	@test -n "$(DATA)" || { echo "bench-documents: give the folder that holds expected_words.jsonl: make bench-documents DATA=..." >&2; exit 2; }
	@exec $(BIN)/python -m tests.load.document_words --data "$(DATA)"

.PHONY: bench-answers
bench-answers: .set-up-dev ## Time to the first word, cached answers, agent steps, some 5 minutes and the ingest (DATA=folder of SciFact)
	@exec $(BIN)/python -m tests.load.answers $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: bench-telemetry
bench-telemetry: .set-up-dev ## What traces and metrics cost a search, some 4 minutes (ARGS="--out docs/benchmarks/telemetry.json")
	@exec $(BIN)/python -m tests.load.telemetry_cost $(ARGS)

##@ Check

.PHONY: check
check: fmt-check lint lint-images types imports contracts-check observability-check kubernetes-check spell supply ## Run every check below

.PHONY: fmt-check
fmt-check: .set-up-dev ## Formatting (mend with `make fix`)
	@$(BIN)/ruff format --check .

.PHONY: lint
lint: .set-up-dev ## Lint rules
	@$(BIN)/ruff check .

.PHONY: lint-images
lint-images: .set-up-dev ## Lint rules for the Dockerfile (fetches its tool once)
	@$(BIN)/python -m deploy.docker.lint

.PHONY: types
types: .set-up-dev ## Types
	@$(BIN)/mypy

.PHONY: imports
imports: .set-up-dev ## Which part may import which
	@$(BIN)/lint-imports --no-logo

.PHONY: contracts-check
contracts-check: .set-up-dev ## Generated contract files are up to date (mend with `make contracts`)
	@$(BIN)/python -m contracts.generate --check

.PHONY: observability-check
observability-check: .set-up-dev ## Alerts, runbooks and dashboards (promtool and amtool are Debian's prometheus and prometheus-alertmanager)
	@$(BIN)/python -m pytest tests/observability --ignore tests/observability/test_panels.py -q -rs --no-header

.PHONY: kubernetes-check
kubernetes-check: .set-up-dev ## Manifests for Kubernetes: they render, and say what the code says (fetches kubectl once)
	@$(BIN)/python -m deploy.kubernetes.kubectl
	@$(BIN)/python -m pytest tests/unit/deploy/kubernetes -m "not llm" -q -rs --no-header

spell: .set-up-dev ## Spelling
	@$(BIN)/codespell

.PHONY: supply
supply: .set-up-dev ## Known vulnerabilities, secrets, risky code, licences (fetches its tools once)
	@$(BIN)/python -m deploy.supply

##@ Change

.PHONY: fix
fix: .set-up-dev ## Format, and mend what lint can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: contracts
contracts: .set-up-dev ## Regenerate the contract files from the code
	@$(BIN)/python -m contracts.generate

.PHONY: dashboards
dashboards: .set-up-dev ## Make Grafana's dashboards of their sources again
	@$(BIN)/python -m observability.grafana.generate

.PHONY: kubernetes
kubernetes: .set-up-dev ## Make the PrometheusRule of the alerts again
	@$(BIN)/python -m deploy.kubernetes.prometheus_rules

.PHONY: screenshots
screenshots: .set-up-dev ## Take the pictures of docs/images of a running platform again (needs Chromium)
	@$(BIN)/python -m tests.screenshots

.PHONY: lock
lock: .set-up-dev ## Lock the dependencies of pyproject.toml again (LOCK_ARGS=--upgrade takes newer versions)
	@$(LOCK) --group installer --output-file requirements/installer.txt
	@$(LOCK) --group runtime --output-file requirements/runtime.txt
	@$(LOCK) --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
	@for image in $(IMAGES_WITH_LOCK); do \
		$(LOCK) --group $$image --constraints requirements/runtime.txt --output-file requirements/$$image.txt || exit 1; \
	done
	@$(LOCK) --group llm --output-file requirements/llm.txt
	@$(LOCK) --group tools --output-file requirements/tools.txt

.PHONY: sbom
sbom: .set-up-dev ## Write sbom.cdx.json, what the platform is made of (CycloneDX)
	@$(BIN)/python -m deploy.supply sbom

.PHONY: clean
clean: ## Remove .venv and caches; models and data stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.models/*' -prune -exec rm -rf {} +

.PHONY: .set-up
.set-up:
	$(SET_UP)

.PHONY: .set-up-dev
.set-up-dev:
	$(SET_UP) --dev
