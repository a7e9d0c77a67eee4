# Everything is installed into .venv, and what only test-clients needs into build/clients; nothing outside them is touched (but by
# the targets that bring up a cluster).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ITERATIVE := $(VENV)/.iterative
PTYCHI := ptychi==2.2.0
CLIENTS := build/clients

.DEFAULT_GOAL := help
.PHONY: help install iterative demo test lint test-long test-guides test-real test-clients test-browser test-slurm test-all bench bench-full bench-quality bench-slurm performance-tables cluster-up cluster-down picture thinned-picture report-picture status-picture comparison-tables recipe-studies recipe-tables fault-table wrong-scans own-scan-pictures schema clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[test]
	$(BIN)/python -m compileall -q fly64_hpc ptycho_torch  # or, where Python may not write beside them, each start compiles them
	@touch $@

$(ITERATIVE): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[test,iterative]
	$(BIN)/python -m pip install --quiet --no-deps $(PTYCHI)
	@touch $@

# Alone, without what they ask for: of that, their readers, writers and models need only what .venv has.
$(CLIENTS)/.installed: $(INSTALLED) tests/clients/requirements.txt
	rm -rf $(CLIENTS)
	$(BIN)/python -m pip install --quiet --no-deps --target $(CLIENTS) --requirement tests/clients/requirements.txt
	@touch $@

install: $(INSTALLED)  ## make .venv with everything in it

demo: $(INSTALLED)  ## the nine-job study on this machine, into outputs/fly64_demo/
	$(BIN)/python -m fly64_hpc.submit --study configs/fly64_demo.yaml --executor local --wait --yes

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

iterative: $(ITERATIVE)  ## pty-chi beside it, for the iterative solvers

test: lint  ## lint, unit tests, the smoke study, the fake Slurm (under 10 minutes)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile -m "not slurm and not real and not long and not guides and not clients and not browser"

test-real: $(INSTALLED)  ## the measured scan and the page about it, the siemens_star study and the full-size study
	$(BIN)/python -m pytest -m real

test-long: $(INSTALLED)  ## the demo study and a ptychopinn job, with what they must reach
	$(BIN)/python -m pytest -m long

test-guides: $(INSTALLED)  ## a newcomer's way through the tutorial and the how-tos, each from a clone of its own
	$(BIN)/python -m pytest -m guides

test-clients: $(ITERATIVE) $(CLIENTS)/.installed  ## pty-chi and its adapter; ptychodus, silx and cdtools open exports and write for ingest
	$(BIN)/python -m pytest -m clients

test-browser: $(INSTALLED)  ## the report in a real browser, where chromium is installed
	$(BIN)/python -m pytest -m browser

test-slurm: $(INSTALLED)  ## twenty-one faults and more on a real Slurm on this machine, brought up for it (root, Debian packages)
	$(BIN)/python -m pytest -m slurm

test-all: test test-long test-guides test-real test-clients test-browser test-slurm  ## every test target

bench: $(INSTALLED)  ## how fast it is beside what this machine can do, two cells of the matrix (under ten minutes)
	$(BIN)/python benchmarks/bench.py

bench-full: $(INSTALLED)  ## the same with every cell of the matrix
	$(BIN)/python benchmarks/bench.py --full

bench-quality: $(ITERATIVE)  ## seconds to a phase error of 0.10 rad, networks beside iterative solvers (half an hour on two quiet cores)
	$(BIN)/python benchmarks/time_to_quality.py

performance-tables: $(INSTALLED)  ## write the tables of docs/performance.md from what `make bench` or `bench-full` last measured
	$(BIN)/python docs/performance_tables.py build/bench/bench.json docs/performance.md

bench-slurm: $(INSTALLED)  ## what a 1,000-job study costs on the tests' Slurm (root, Debian packages)
	$(BIN)/python benchmarks/thousand_jobs.py

cluster-up:  ## bring up the tests' Slurm on this machine (root, Debian packages)
	@$(PYTHON) batch/test_cluster/cluster.py up

cluster-down:  ## end it and remove its folder; the packages stay
	@$(PYTHON) batch/test_cluster/cluster.py down

picture: $(INSTALLED)  ## draw docs/fly64_demo.png from outputs/fly64_demo/
	$(BIN)/python docs/study_picture.py outputs/fly64_demo docs/fly64_demo.png

report-picture: $(INSTALLED)  ## draw docs/report.png from outputs/fly64_demo/ (needs chromium)
	$(BIN)/python docs/report_picture.py outputs/fly64_demo docs/report.png

status-picture: $(INSTALLED)  ## draw docs/status.svg from a study directory that is written for it
	$(BIN)/python docs/status_picture.py docs/status.svg

thinned-picture: $(INSTALLED)  ## draw docs/measured_scan_thinned.png from the two measured studies in outputs/
	$(BIN)/python docs/thinned_picture.py outputs/measured_scan outputs/measured_scan_thinned docs/measured_scan_thinned.png

comparison-tables: $(INSTALLED)  ## write the tables of docs/comparison.md from the comparisons in outputs/
	$(foreach study,fly64_demo siemens_star measured_scan measured_scan_thinned,$(BIN)/python docs/comparison_tables.py outputs/$(study) docs/comparison.md &&) true

recipe-studies: $(INSTALLED)  ## train and score all that docs/recipe.md reports (hours), into outputs/recipe/
	$(BIN)/python docs/recipe_studies.py

recipe-tables: $(INSTALLED)  ## write the tables of README.md and docs/recipe.md from outputs/
	$(BIN)/python docs/recipe_tables.py outputs

fault-table: $(INSTALLED)  ## write the table of docs/reliability.md from what `make test-slurm` last saw
	$(BIN)/python docs/fault_table.py build/faults docs/reliability.md

wrong-scans: $(INSTALLED)  ## write the table of docs/your-own-scan.md of files that are wrong, and what ingest says
	$(BIN)/python docs/wrong_scans.py docs/your-own-scan.md

own-scan-pictures: $(INSTALLED)  ## make the pictures of docs/your-own-scan.md from what its commands left in outputs/
	$(BIN)/python docs/own_scan_pictures.py outputs docs

schema: $(INSTALLED)  ## write configs/study.schema.json and the tables of docs/reference.md anew
	$(BIN)/python -m fly64_hpc.study_schema configs/study.schema.json
	$(BIN)/python docs/reference_tables.py docs/reference.md

clean:  ## remove what the targets made, but for outputs/
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
