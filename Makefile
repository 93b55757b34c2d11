# Everything is built below target/. Another place: make TARGET=/some/where ...
TARGET := $(CURDIR)/target
export CARGO_TARGET_DIR := $(TARGET)
unexport CARGO_BUILD_TARGET RUSTFLAGS

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

CRATES := -p guest -p ordain-store -p ordain-coherence -p ordain -p ordain-server -p ordain-tests

.PHONY: help run test soak build guest lint bench model bless audit clean setup servers host service component built

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

run: setup ## build what runs (3 minutes on two idle cores, once), start the service with three demo tenants
	@$(MAKE) --no-print-directory -j2 service component
	exec "$(TARGET)/debug/ordain" serve --dev --load docs/demo-policies.jsonl

test: servers built ## install what is missing, then run all tests (own Postgres and Redis)
	@cargo test --locked $(CRATES)
	cargo test --locked -p ordain-model

build: setup ## release binary and component in target/release
	@cargo build --locked --release -p ordain-server
	sh tests/guest-build.sh "$(TARGET)" "$(TARGET)/release"

guest: setup ## the WebAssembly component, and the tests' own, beside the binaries
	@folders=("$(TARGET)/debug")
	if [ -x "$(TARGET)/release/ordain" ]; then folders+=("$(TARGET)/release"); fi
	TEST_COMPONENT=1 sh tests/guest-build.sh "$(TARGET)" "$${folders[@]}"

lint: servers host ## format, clippy, generated documents
	@cargo fmt --all --check
	# In one command, so that what they depend on is looked at once: the bench has features that others lack.
	cargo clippy --locked $(CRATES) -p ordain-model -p ordain-bench --all-targets -- -D warnings
	cargo test --locked -p ordain-tests --test docs

soak: servers built ## the history checker with random seeds for SOAK_SECONDS (600); ORDAIN_SEED=n replays one
	@cargo test --locked $(CRATES) --test history -- --ignored --nocapture --test-threads=1

bench: ## measure beside peers (some: ONLY="outage"); table here, in target/bench and, if whole, in docs
	@sh tests/setup.sh bench
	sh tests/guest-build.sh "$(TARGET)" "$(TARGET)/release"
	# In one command, so that the service is not built twice (its features are those of the bench then).
	cargo build --locked --release -p ordain-server -p ordain-bench
	"$(TARGET)/release/ordain-bench" "$(TARGET)" $(ONLY)
	# Only a run of everything is worth keeping.
	if [ -z "$(strip $(ONLY))" ]; then
		cp "$(TARGET)/bench/result.md" docs/bench.md
		cp "$(TARGET)/bench/result.svg" docs/bench.svg
	fi

model: ## the coherence protocol in every order, as far as memory allows (docs/model.md)
	@cargo run --locked --release -p ordain-model

bless: servers host ## write the generated documents anew
	@ORDAIN_BLESS=1 cargo test --locked -p ordain-tests --test docs

audit: ## known vulnerabilities and licences of all dependencies (fetches the database)
	@cargo deny --version >/dev/null 2>&1 || env -u CARGO_TARGET_DIR cargo install --locked cargo-deny
	cargo deny --workspace check

clean: ## remove all that was built
	@cargo clean

setup:
	@sh tests/setup.sh

servers: ## install what tests need beside the build tools: Postgres, Redis, pooler, proxies
	@sh tests/setup.sh servers

# Side by side: the compiler's back end is one crate that a core alone works at for a minute.
built: setup ## everything that tests need, debug
	@$(MAKE) --no-print-directory -j2 host guest

# With the tests' crates in one command, so that all targets agree on features and nothing is built twice.
host: setup
	@cargo build --locked $(CRATES)

service: setup
	@cargo build --locked -p ordain-server

component: setup
	@sh tests/guest-build.sh "$(TARGET)" "$(TARGET)/debug"
