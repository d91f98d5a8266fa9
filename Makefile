# `make help` lists the targets. Everything runs in .venv, synced from the hash-locked requirements.

PYTHON ?= python3
CORES ?= all
CONFIG ?= config/config.yaml
AGAIN ?= results/again
SETTINGS ?= sse avx2
FILE ?= study.tar.gz

VENV := .venv
BIN := $(VENV)/bin
PEERS := $(VENV)-peers
# Packages that only the preparation of demo-real needs, in a folder, beside those of the environment.
REAL := $(VENV)-real
SITE := $(VENV)-docs
# What the site is made from, in the tree that its links expect.
PAGES := README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff LICENSE config docs profiles \
	resources/nltk_data/WORDNET-LICENSE workflow/lib/cladescope/config.schema.yaml
# A person at a terminal sees progress bars, a log file plain lines.
SNAKEMAKE = $(BIN)/snakemake --cores $(CORES) $(shell test -t 2 && echo --logger rich)
# Compiled at once: hundreds of short jobs import these packages, also from folders they cannot write.
SYNC := $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python
# The library itself, from workflow/lib; a sync removes it.
INSTALL := $(BIN)/uv pip install --quiet --offline --no-deps --no-build-isolation --editable . --python
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock"
PACKAGES := 5.6 GB, silent for two minutes on a fast connection, longer on a slow one
# Of the planted world's backbones: vit, vit_unlabelled, convnext or swin, each by its recipe.
planted-backbone: MODEL ?= vit
PLANTED_BACKBONE = results/demo/backbones/planted/$(MODEL)/s0

.DEFAULT_GOAL := help
.PHONY: help demo demo-real run bench-gpu plan layers layers-page tree verify status reproduce archive gallery unlock test test-fast test-processors fuzz test-peers formats peers docs wheel lint format lock wheels planted-backbone clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/synced ## make the environment, run the embedded default, say where the results are
	$(SNAKEMAKE) --configfile config/config.yaml
	$(BIN)/snakemake --configfile config/config.yaml --report results/demo/report.html --quiet
	@echo "Atlas:   results/demo/atlas/index.html  (open it in a browser; search for butterfly)"
	@echo "Report:  results/demo/report.html"
	@echo "Figures: results/demo/figures/  (start with scores.png)"
	@echo "Tables:  results/demo/tables/   (start with metrics.csv; columns: docs/scores.md)"

demo-real: $(VENV)/synced $(REAL)/synced ## the same of a network and pictures that others made; fetches 115 MB
	PYTHONPATH=$(REAL) $(BIN)/cladescope prepare-real data/real
	$(SNAKEMAKE) --configfile config/real.yaml
	$(BIN)/snakemake --configfile config/real.yaml --report results/real/report.html --quiet
	@echo "Atlas:   results/real/atlas/index.html"
	@echo "Figures: results/real/figures/  Tables: results/real/tables/  What it is: docs/real.md"

run: $(VENV)/synced ## run CONFIG=... (default: config/config.yaml)
	@$(BIN)/cladescope check $(CONFIG)
	$(SNAKEMAKE) --configfile $(CONFIG)

plan: $(VENV)/synced ## what CONFIG=... will cost on a CARD=...: hours, memory, disk, files, Slurm jobs
	$(BIN)/cladescope plan $(CONFIG) $(if $(CARD),--card $(CARD))

layers: $(VENV)/synced ## layers, tokens and sites of a timm model: MODEL=... [SIZE=224] [MODULES=1: all that can be layers]
	$(BIN)/cladescope layers $(MODEL) $(if $(SIZE),--image-size $(SIZE)) $(if $(MODULES),--modules)

tree: $(VENV)/synced ## the taxonomy of CONFIG=..., with the ids of its nodes; indexes the images first
	@$(BIN)/cladescope check $(CONFIG)
	@$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG) --quiet all --until index_images
	@$(BIN)/cladescope tree $(CONFIG) $(if $(DATASET),--dataset $(DATASET))

verify: $(VENV)/synced ## read every activation of CONFIG=... again; REPAIR=1 makes damaged shards again
	$(BIN)/cladescope verify $(CONFIG) $(if $(REPAIR),--repair)

status: $(VENV)/synced ## what of CONFIG=... exists, what is missing or stale, and why; WATCH=1: until all is done
	@$(BIN)/cladescope status $(CONFIG) $(if $(WATCH),--watch)

reproduce: $(VENV)/synced ## run CONFIG=... again into AGAIN=... and compare every byte
	@$(BIN)/cladescope check $(CONFIG)
	@test ! -e $(AGAIN) || { echo "$(AGAIN) exists: remove it, or name another folder with AGAIN=..."; exit 2; }
	$(SNAKEMAKE) --configfile $(CONFIG)
	$(SNAKEMAKE) --configfile $(CONFIG) --config results=$(AGAIN)
	$(BIN)/cladescope compare $(CONFIG) $(AGAIN)

archive: $(VENV)/synced ## pack tables, figures and provenance of CONFIG=... into FILE=...
	$(BIN)/cladescope archive $(CONFIG) $(FILE)

gallery: $(VENV)/synced ## put the figures of CONFIG=... (make demo) into docs/gallery.md
	$(BIN)/cladescope gallery $(CONFIG)

unlock: $(VENV)/synced ## after a run was killed: wait for its Slurm jobs, then free the folder for CONFIG=...
	$(BIN)/cladescope wait
	$(BIN)/snakemake --configfile $(CONFIG) --unlock

test: $(VENV)/synced-dev ## run all tests
	$(BIN)/pytest --numprocesses 3 --no-loadscope-reorder

test-fast: $(VENV)/synced-dev ## run the tests that take seconds
	$(BIN)/pytest --numprocesses 2 -m "not slow"

test-processors: $(VENV)/synced-dev ## run the tests of what rounds with older instructions: SETTINGS="sse avx2"
	$(BIN)/python tests/processors.py test $(SETTINGS)

fuzz: $(VENV)/synced-dev ## try random configurations, faults and kills for an hour or two
	$(BIN)/pytest tests/bad_days/test_fuzz.py tests/bad_days/test_kills.py --hypothesis-profile many

test-peers: $(VENV)/synced-dev $(PEERS)/synced ## test the exchange with other libraries by the libraries themselves
	PEERS_PYTHON="$(CURDIR)/$(PEERS)/bin/python" $(BIN)/pytest tests/dictionaries/test_saelens.py tests/dictionaries/test_imports.py tests/dictionaries/test_chosen.py

layers-page: $(VENV)/synced ## read twelve timm models at random weights for docs/layers.md
	$(BIN)/python benchmarks/layers.py docs/layers.md

formats: $(PEERS)/synced ## measure the codes of other libraries' dictionaries for docs/elsewhere.md
	$(PEERS)/bin/python benchmarks/formats.py docs/elsewhere.md

peers: $(PEERS)/synced ## make .venv-peers, for benchmarks/sae.py: other libraries for autoencoders

bench-gpu: $(VENV)/synced ## print the figures of docs/performance.md on this machine's GPU
	$(BIN)/python benchmarks/gpu.py

docs: $(SITE)/synced ## make the documentation as a site in build/site; a link that leads nowhere is an error
	rm -rf build/docs && mkdir -p build/docs
	tar -c $(PAGES) | tar -x -C build/docs
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build
	@echo "Site:    build/site/index.html"

wheel: $(VENV)/synced ## build the package of the library in build/dist
	rm -rf build/lib build/bdist.*
	$(BIN)/uv build --quiet --offline --no-build-isolation --wheel --python $(BIN)/python --out-dir build/dist

lint: $(VENV)/synced-dev ## check style, types and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(VENV)/synced-dev ## format the code
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

planted-backbone: $(VENV)/synced ## train a backbone of the planted world again and ship it: MODEL=vit (default), vit_unlabelled, convnext, swin
	$(SNAKEMAKE) --configfile config/config.yaml -- $(PLANTED_BACKBONE).safetensors
	cp $(PLANTED_BACKBONE).safetensors $(PLANTED_BACKBONE).json resources/planted_$(MODEL)/

lock: $(VENV)/uv ## resolve the requirements again and write the locks
	cd envs && ../$(LOCK) uv.in -o uv.txt
	cd envs && ../$(LOCK) requirements-dev.in -o requirements-dev.txt
	cd envs && ../$(LOCK) requirements.in -c requirements-dev.txt -o requirements.txt
	cd envs && ../$(LOCK) docs.in -o docs.txt
	cd envs && ../$(LOCK) --no-deps real.in -o real.txt
	cd envs && ../$(LOCK) peers.in -c requirements-dev.txt -o peers.txt
	$(BIN)/python envs/pin_conda.py
	$(MAKE) wheels

# Python alone is in connection-pool, which comes as source.
wheels: $(VENV)/uv ## check that the locks install on every system that README names, without a compiler
	@for system in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do \
		for version in 3.11 3.12 3.13; do for lock in requirements requirements-dev real; do \
			echo "$$system, Python $$version, $$lock" && MACOSX_DEPLOYMENT_TARGET=14.0 \
			$(BIN)/uv pip install --quiet --dry-run --target $(VENV)/wheels --require-hashes --no-deps \
				--only-binary :all: --no-binary connection-pool --python-platform $$system \
				--python-version $$version --requirement envs/$$lock.txt || exit; \
	done; done; done

clean: ## remove the environments (results stay)
	rm -rf $(VENV) $(PEERS) $(REAL) $(SITE)

$(VENV)/uv: envs/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Cladescope needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + "; name another with make PYTHON=...")'
	@echo "Making an empty environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r envs/uv.txt
	touch $@

# Synced with or without the development tools; a sync removes what its list lacks, so the larger
# set also serves as the smaller one.
$(VENV)/synced: $(VENV)/uv envs/requirements.txt pyproject.toml
	@echo "Installing packages: $(PACKAGES)"
	test -e $(VENV)/synced-dev || $(SYNC) $(BIN)/python envs/requirements.txt
	$(INSTALL) $(BIN)/python
	touch $@

$(VENV)/synced-dev: $(VENV)/uv envs/requirements-dev.txt pyproject.toml
	@echo "Installing packages, those for development too: $(PACKAGES)"
	$(SYNC) $(BIN)/python envs/requirements-dev.txt
	$(INSTALL) $(BIN)/python
	touch $@ $(VENV)/synced

$(PEERS)/synced: $(VENV)/uv envs/peers.txt pyproject.toml
	$(BIN)/python -m venv $(PEERS)
	$(SYNC) $(PEERS)/bin/python envs/peers.txt
	$(INSTALL) $(PEERS)/bin/python
	touch $@

$(SITE)/synced: $(VENV)/uv envs/docs.txt
	$(BIN)/python -m venv $(SITE)
	$(SYNC) $(SITE)/bin/python envs/docs.txt
	touch $@

$(REAL)/synced: $(VENV)/uv envs/real.txt
	rm -rf $(REAL)
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python $(BIN)/python --target $(REAL) --requirement envs/real.txt
	touch $@
