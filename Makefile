# `make` lists what there is to make.
.DEFAULT_GOAL := help
.PHONY: help demo image image-test test e2e kind-e2e soak fuzz bench bench-hot bench-controller bench-image lint order generate release-fixtures setup

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Show the whole way of a module on this machine (MODULE=file: yours, KEEP=1: keep it up)
	@tests/lab/demo.sh

image: ## Write the container image to target/image/wasmproxy.tar (ARCH=arm64: for another architecture)
	tests/lab/setup.sh image
	tests/lab/image.sh

image-test: image ## Hold the image against what is promised of it: its files, its user, its size
	cargo test --locked --test image

# They mostly wait, for servers and for time.
test: export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc 2> /dev/null || getconf _NPROCESSORS_ONLN))
test: ## Run every test, against real servers (TEST=name: those only)
	tests/lab/setup.sh test
	cargo test --locked $(TEST)

e2e: ## Test image, chart and examples on a cluster of their own (TEST=name, KEEP=1; KUBECONFIG=file: on that cluster)
	tests/e2e/run.sh

kind-e2e: ## Do the same on a cluster of kind's, which needs a container engine (TEST=name, KEEP=1)
	tests/e2e/kind.sh

soak: ## Let everything break at random for MINUTES=30 (SOAK_SEED=n: the same choices again; SOAK_STEPS=n: so many)
	tests/lab/setup.sh test
	SOAK_MINUTES=$(or $(MINUTES),30) cargo test --locked --test it soak:: -- --nocapture

fuzz: ## Give whatever is parsed any bytes at all (TARGET=name: one of them, MINUTES=1: for each)
	tests/lab/setup.sh fuzz
	tests/lab/fuzz.sh

bench: ## Measure the relay beside its broker, and write docs/benchmarks.md (RUNS=10, QUICK=1: in a few minutes, ONLY=name: no document)
	tests/lab/setup.sh test image
	WORKER=$${WORKER:-$$(tests/lab/unpacked.sh)} cargo bench --locked --bench relay

bench-hot: ## Measure encoding, hashing, parsing and dispatch by themselves (CASE=name, INSTRUCTIONS=1: counted by valgrind)
	cargo bench --locked --bench hot -- $(CASE)

bench-controller: ## Measure one controller with RESOURCES=5000 (REST=60: how long at rest, in seconds)
	tests/lab/setup.sh test
	cargo bench --locked --bench controller

bench-image: image ## Measure how soon the image's program answers (as root; RUNS=50)
	tests/lab/bench-image.sh

lint: ## Check format, lints, dependencies, scripts and generated files
	tests/lab/setup.sh lint
	tests/lab/lint.sh

order: ## Find out anew what a worker runs, for the linker to put it together: tests/lab/order.ld
	tests/lab/setup.sh test image order
	tests/lab/order.sh

generate: ## Write what is generated: crds/, the chart's schema and README, and the facts in docs/reference.md
	tests/lab/setup.sh chart
	tests/lab/generate.sh

release-fixtures: ## Write down what this version admits, says of itself and is installed by: tests/releases/VERSION
	tests/lab/setup.sh test
	cargo test --locked --test it controller::record -- --ignored
	tests/lab/record-chart.sh

setup: ## Get what is missing on this machine for test, demo and lint
	tests/lab/setup.sh test demo lint
