# make release   set up, simulate, score, train where the scale says so: a release and a report (SCALE=demo|quick|workstation|paper)
# make test      set up, then every check and test that CI runs
# make plan      dry run with a summary of each stage
# make forcematch  force-matched models, their dynamics, studies and transfer alone (SCALE=pilot)
# make improve   active learning: choose, run and learn from more liquids, round by round, until it stops helping (SCALE=quick|workstation|paper)
# make bench     speed and memory against references
# make doctor    what is installed and what is missing
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup doctor plan release forcematch improve test lint bench

SCALE ?= demo
SCALE_NAME := $(basename $(notdir $(SCALE)))
CORES ?= $(shell nproc)
# A scale with force matching needs the libraries of the many-body models too.
EXTRA := $(if $(shell grep -ls '^forcematch:' $(SCALE) config/scale/$(SCALE).yaml),forcematch)
export PATH := $(CURDIR)/.venv/bin:$(subst $() ,:,$(wildcard $(CURDIR)/.conda/*/bin)):$(PATH)
export OMP_NUM_THREADS := 1
SNAKEMAKE := snakemake --profile profiles/workstation --config scale=$(SCALE)

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup:
	@scripts/setup.sh $(EXTRA)

doctor: setup
	@mobcg doctor

plan: setup
	@mobcg status --scale $(SCALE)
	@$(SNAKEMAKE) --cores $(CORES) --dry-run --quiet rules

# One controller a directory; a lock that a killed one left behind is lifted only when no other is alive. `exec`, so that
# a signal to make reaches Snakemake, which stops its jobs in order.
release: setup
	@python -m mobcg.controller
	@exec $(SNAKEMAKE) --cores $(CORES) --logger mobcg --logger-mobcg-scale $(SCALE)
	@echo "Release: releases/$$(cat results/$(SCALE_NAME)/release.txt)   Report: results/$(SCALE_NAME)/report/report.html"

forcematch: setup
	@python -m mobcg.controller
	@exec $(SNAKEMAKE) --cores $(CORES) --logger mobcg --logger-mobcg-scale $(SCALE) --logger-mobcg-target forcematch -- forcematch
	@echo "Report: results/$(SCALE_NAME)/forcematch/report.md"

improve: setup
	@python -m mobcg.controller
	@python -m mobcg.predictor.improve --scale $(SCALE) --cores $(CORES)
	@python -m mobcg.report.improvement --rounds results/$(SCALE_NAME)/improve.json --out results/$(SCALE_NAME)/improve.png
	@echo "Rounds: config/chosen/$(SCALE_NAME).yaml   Figure: results/$(SCALE_NAME)/improve.png"

# Fast tests on every core first; then the real programs end to end.
test: setup lint
	@scripts/setup.sh tests
	@pytest -n $(CORES) -m "not workflow"
	@pytest -m workflow

# Speed and memory against references measured in the same run.
bench: setup
	@scripts/setup.sh forcematch
	@python -m mobcg.bench --out results/bench.json
	@python -m mobcg.predictor.bench
	@python -m mobcg.forcematch.bench --out results/bench_forcematch.json

lint: setup
	@ruff check
	@ruff format --check --quiet
	@snakefmt --check .
