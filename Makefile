# `make` lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz bench-controller lint generate release-fixtures setup

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Show the whole way of a module on this machine (MODULE=file: yours, KEEP=1: keep it up)
	@tests/lab/demo.sh

test: ## Run every test, against real servers (TEST=name: those only)
	tests/lab/setup.sh test
	cargo test --locked $(TEST)

soak: ## Let everything break at random for MINUTES=30 (SOAK_SEED=n: the same choices again; SOAK_STEPS=n: so many)
	tests/lab/setup.sh test
	SOAK_MINUTES=$(or $(MINUTES),30) cargo test --locked --test it soak:: -- --nocapture

fuzz: ## Give whatever is parsed any bytes at all (TARGET=name: one of them, MINUTES=1: for each)
	tests/lab/setup.sh fuzz
	tests/lab/fuzz.sh

bench-controller: ## Measure one controller with RESOURCES=5000 (REST=60: how long at rest, in seconds)
	tests/lab/setup.sh test
	cargo bench --locked --bench controller

lint: ## Check format, lints, dependencies, scripts and generated files
	tests/lab/setup.sh lint
	tests/lab/lint.sh

generate: ## Write what is generated: crds/, the chart's schema and README, and the facts in docs/reference.md
	tests/lab/setup.sh chart
	tests/lab/generate.sh

release-fixtures: ## Write down what this version admits, says of itself and is installed by: tests/releases/VERSION
	tests/lab/setup.sh test
	cargo test --locked --test it controller::record -- --ignored
	tests/lab/record-chart.sh

setup: ## Get what is missing on this machine for all of the above
	tests/lab/setup.sh test demo lint
