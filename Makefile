# Everything starts from a machine with Python 3.11 or 3.12, git and make; `make` lists the commands.
PYTHON3 ?= python3
# `exec` puts the command in place of make's shell, so that a signal to make reaches it.
RUN = @exec .venv/bin/python
ARGS ?=
DATA ?=
TO ?= backups
BASE ?= main
FROM ?= $(error say which backup: make restore FROM=backups/NAME)
BENCH ?= orchestration size receipts health preview airflow celery
.DEFAULT_GOAL := help
# Where PYTHONDONTWRITEBYTECODE is set, each process that these start would compile all of our modules again.
demo up test check: export PYTHONDONTWRITEBYTECODE =
.NOTPARALLEL:
.PHONY: help install demo up down psql decide answer under-way mcp backup restore masked prove preview branch slack-preview revision secrets test torture mutants containers drill check format constraints digests sbom audit bench clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

install: ## make .venv, from requirements-dev.txt, constraints.txt and overrides.txt
	@$(PYTHON3) include/local/install.py

demo: install ## play a shop up to yesterday on a real Airflow and print the Slack messages, two at first (DATA=DIR: one day, from seven CSVs)
	$(RUN) -m include.local demo $(if $(DATA),--data "$(DATA)")

up: install ## start Airflow and Postgres and leave them running; prints address and login
	$(RUN) -m include.local up

down: install ## stop them
	$(RUN) -m include.local down

psql: install ## psql on the warehouse: make psql ARGS='-Atc "select 1"'
	$(RUN) -m include.local psql $(ARGS)

branch: install ## a warehouse of your own beside production's: make branch NAME=ana ARGS='build fact_orders+' (or psql, drop, list)
	$(RUN) -m include.local branch $(if $(NAME),--name "$(NAME)") $(ARGS)

decide: install ## decide by hand what people query: make decide ARGS='roll-back --reason "revenue is wrong"'
	$(RUN) -m include.local decide $(ARGS)

answer: install ## answer what you are told: make answer ARGS='mute NAME --until 2026-12-03 --reason "known"'
	$(RUN) -m include.local answer $(ARGS)

under-way: install ## list who reads raw, messages, decisions and sessions (ARGS='end PID' ends one)
	$(RUN) -m include.local under-way $(ARGS)

mcp: install ## answer machines that speak MCP, on stdin and stdout (ARGS=--http: on 127.0.0.1, with GREENERY_MCP_TOKEN)
	$(RUN) -m include.local mcp $(ARGS)

backup: install ## save the history, ops and Airflow's database into a folder in TO=DIR (backups)
	$(RUN) -m include.local backup save "$(TO)"

restore: install ## bring one back: make restore FROM=BACKUP (ARGS=--replace: over a history that is there)
	$(RUN) -m include.local backup restore "$(FROM)" $(ARGS)

masked: install ## copy the warehouse without personal values into TO=DIR (ARGS='--days 90'), or bring such a copy in FROM=DIR (ARGS='--replace --run')
	$(RUN) -m include.local masked $(if $(filter-out file,$(origin FROM)),fill "$(FROM)",$(if $(filter-out file,$(origin TO)),save "$(TO)",$(error say which folder: make masked TO=DIR, or make masked FROM=DIR))) $(ARGS)

prove: install ## what would have been called unusual in the shop's last 90 days, with faults planted in copies (on a demo shop at first)
	$(RUN) -m include.local prove $(ARGS)

preview: install ## what your dbt project would do to data, tests and message, compared with BASE (main); ARGS='--out DIR' keeps the report
	$(RUN) -m include.local preview "$(BASE)" $(ARGS)

slack-preview: install ## draw every kind of Slack message from sample runs: text, JSON for Block Kit Builder, a page
	$(RUN) -m include.slack.preview

revision: ## name docker compose's image by the commit that is checked out, in .env
	@$(PYTHON3) deploy/env_file.py --revision "$$(git describe --always --dirty)"

secrets: ## write .env, with fresh passwords and keys for docker compose; existing ones stay
	@$(PYTHON3) deploy/env_file.py

test: install ## all tests, two at a time; they start their own Postgres and Airflow
	$(RUN) -m pytest -n 2 $(ARGS)

torture: export SEEDS = 20
torture: export DAYS = $(if $(SEED),30,10)
torture: install ## a fault at every model, and many seeds; continues where it was stopped (ARGS=--cache-clear: from the start; SEED=7: that life alone)
	$(RUN) -m pytest $(if $(SEED),-k torture_of_a_life,-n 2 -p tests.resume -k "torture or any_sequence or no_fault") -m "not containers and not chart" $(ARGS)

mutants: install ## change what models and macros say, one thing at a time, and list what no test notices (ARGS=fact_orders: of that one; ARGS='--sample 60')
	$(RUN) -m tests.mutants $(ARGS)

containers: install ## build the image and really start docker-compose.yaml, where that can be done without docker
	$(RUN) -m pytest -m containers $(ARGS)

drill: install ## lose a deployed shop of two weeks, bring it back from a backup and the shop, and compare every figure
	$(RUN) -m benchmarks.drill

check: install ## lint, format and the tests that need no database
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m sqlfluff lint --disable-progress-bar dbt
	$(RUN) -m pytest -n 2 --no-loadscope-reorder -m "not db and not stack and not chart and not slow" $(ARGS)

bench: install $(addprefix bench-,$(BENCH)) ## measure what runs, days, pages and previews cost: hours (BENCH=health: one of orchestration, size, receipts, health, preview, airflow, celery)

# A target for each bench, since a loop in a shell would not pass a signal on.
bench-%: install
	$(RUN) -m benchmarks.$* $(ARGS)

format: install ## fix the Python's format and lint, as make check wants it
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

constraints: install ## renew constraints.txt: versions, hashes, and what wants each
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.11 --no-header --generate-hashes --upgrade --override overrides.txt requirements-dev.txt requirements-deployment.txt -o constraints.txt

digests: ## write the digest behind the tag of each base image, in the Dockerfile and docker-compose.yaml; needs docker
	@$(PYTHON3) deploy/digests.py

sbom: install ## list what the image's packages are, from whom and under which licence, in sbom.json (CycloneDX)
	@rm -rf .sbom && .venv/bin/python -m uv venv --quiet --python .venv/bin/python .sbom
	@.venv/bin/python -m uv pip install --quiet --python .sbom/bin/python --require-hashes --constraint constraints.txt --override overrides.txt --requirement requirements-deployment.txt
	@.venv/bin/python -m uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment --output-reproducible --output-file sbom.json .sbom
	@.sbom/bin/python deploy/licences.py; status=$$?; rm -rf .sbom; exit $$status

audit: install ## look for known holes in what is pinned; asks the index, and fails where it gets no answer
	@.venv/bin/python -m uv tool run --quiet pip-audit==2.10.1 --strict --disable-pip --require-hashes --requirement constraints.txt $(ARGS)

clean: install ## stop the local stack and forget its state
	$(RUN) -m include.local clean
