# The few commands people type. `make` alone lists them.

.PHONY: help demo test test-random tests-built test-gate model mutants test-real test-standby test-machines stories stories-two test-rules port-limits bench lint deny parts chart static image gate gate-image gate-limits
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Real parts (a real Alertmanager, beacon node, mail server …) go into a cache outside the checkout.
PARTS := tests/parts/install.sh

demo: ## the whole story on this machine, without any account
	@echo "The first build takes some minutes. After it the story itself takes half a minute."
	cargo run -- sandbox

# The properties meet the same inputs each time, so that a failure can be repeated; `make test-random` takes others.
export PROPTEST_RNG_SEED ?= 20261128

# Nearly every test waits for a socket, a process or a lease, so twice as many threads as cores halve the time.
THREADS := $(shell expr 2 \* `getconf _NPROCESSORS_ONLN`)
test: ## everything that needs nothing but Rust: under five minutes on two cores, once it is built
	cargo test --lib --bins --test it --test stories -- --test-threads=$(THREADS)
	cargo test --test kills
	cargo test --test gate
	$(MODEL)

test-random: ## every property with other inputs, twenty times as many. Half an hour
	PROPTEST_RNG_SEED=$$(date +%s%N) PROPTEST_CASES=5120 cargo test --lib --test it

tests-built: ## what test, gate-limits and test-real run, only built
	cargo test --no-run --lib --bins --test it --test stories --test kills --test gate --test real

# What it explores is the gate's; a profile of its own, because it is slow without optimisation.
MODEL := cargo test --profile model --no-default-features --features gate --test model
# Each state is compared with all others, so it takes some gigabytes.
model: ## all orders in which gates, cloud and operators may act, millions of them: never two signers
	FAILOVER_MODEL=20000000 $(MODEL) -- --test-threads=1 --nocapture

# What cargo-mutants leaves belongs to the cache: a list of what it tried, and its logs.
MUTANTS := $${XDG_CACHE_HOME:-$$HOME/.cache}/failover-mutants
mutants: ## every rule turned off once: which test notices it? Then half an hour of cargo-mutants
	tests/mutants/run
	@cargo mutants --version >/dev/null 2>&1 || { \
	  echo "cargo-mutants is not installed, so only the listed rules were tried: cargo install --locked cargo-mutants"; \
	  exit 0; }; \
	CARGO_TARGET_DIR=$(MUTANTS)/target timeout 1800 cargo mutants --output $(MUTANTS) --file 'src/domain/machine/*.rs' \
	  -- --lib --test it -- domain:: scenarios:: properties:: || \
	case $$? in 2|3) echo "what it says is missed is to be looked at, not necessarily wrong" ;; 124) ;; *) exit 1 ;; esac

parts: ## build the real parts that test-real needs, once: some twenty minutes
	bash $(PARTS)

test-gate: parts ## a real client under two gates on a real network: gates and keepers that hang, are killed, or end. A quarter of an hour
	cargo test --test gate -- --ignored --nocapture
	cargo test --test real gate:: -- --test-threads=1 --include-ignored --nocapture

STORIES := cargo test --test real promotion_stories:: -- --test-threads=1 --include-ignored --nocapture
stories: parts ## six stories of a promotion on a real network with a slasher, each also without the gate. Half an hour
	$(STORIES) --skip nobody_is_slashed_by_a_planned_move

stories-two: parts ## two of them, for CI: a planned move, and a dark home that returns. A quarter of an hour at most
	$(STORIES) --skip in_no_story

# Google's own client is in no package registry; without it the scripts of the cloud project meet a stand-in only.
WITHOUT_GCLOUD := $(if $(shell command -v gcloud),,--skip gcp::)

test-real: parts test-standby ## everything against real parts, one suite at a time
	$(if $(WITHOUT_GCLOUD),@echo "gcloud is not installed here: its suite is left out")
	cargo test --test real -- --test-threads=1 $(WITHOUT_GCLOUD)

test-rules: ## the alerts we ship, by promtool, in the labels of the charts people use; `make test-real` has it too
	bash $(PARTS) helm promtool
	tests/rules/run.sh

test-standby: parts ## the roles of a standby: without a machine, then on booted ones
	tests/standby/lint.sh
	tests/standby/firewall.sh
	tests/standby/firewall_boot.sh
	tests/standby/disk.sh
	tests/standby/home_fence.sh
	tests/standby/home_gate.sh
	tests/standby/faults.sh
	tests/standby/converge.sh
	tests/standby/cometbft.sh

test-machines: parts ## the real gate on booted machines: as a unit at home, and on a promoted one. Six minutes
	tests/standby/home_gate_real.sh
	tests/standby/promoted.sh

port-limits: static ## the port attacked: at most 64 MiB, and good messages answered within a second
	FAILOVER=$(STATIC) tests/port_limits.sh 64MiB

bench: ## one table; ratios of one run where there is something to compare with
	cargo bench --bench table

chart: parts ## helm's lint, every example rendered and given to the program, derived files current
	cargo build
	charts/check.sh $${CARGO_TARGET_DIR:-target}/debug/failover

# A static binary without the sandbox. Needs rustup's target of this name, a C compiler for it (Debian: musl-tools) and
# buildah.
MUSL := $(shell uname -m)-unknown-linux-musl
STATIC := $${CARGO_TARGET_DIR:-target}/$(MUSL)/release/failover
static: ## the program as the image has it
	rustup target add $(MUSL)
	cargo build --release --locked --no-default-features --features watcher --target $(MUSL)

image: static ## the container image, as an OCI archive
	image/build.sh $(STATIC) failover.oci.tar

# It lies beside every signer, so it stays small: docs/decisions/0011.
GATE := $${CARGO_TARGET_DIR:-target}/$(MUSL)/release/failover-gate
GATE_MOST := 8388608
gate: ## the gate beside the keys, a static binary of 8 MiB at most
	rustup target add $(MUSL)
	cargo build --release --locked --no-default-features --features gate --bin failover-gate --target $(MUSL)
	@size=$$(stat --format=%s $(GATE)) && echo "$(GATE): $$size bytes" && [ $$size -le $(GATE_MOST) ] || \
	  { echo "the gate may have $(GATE_MOST) bytes: cargo tree --no-default-features --features gate"; exit 1; }

gate-limits: gate ## what it costs: two seconds at most from its start to its command, and 12 MiB with its keeper
	GATE_TEST_EXE=$$(realpath $(GATE)) cargo test --test gate measured:: -- --nocapture

gate-image: gate ## an image of the gate alone, as an OCI archive
	image/build.sh $(GATE) failover-gate.oci.tar

lint: deny ## formatting, clippy, rustdoc, dependencies
	cargo fmt --check
	tests/mutants/run --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --lib --no-default-features -- -D warnings
	cargo clippy --lib --bin failover-gate --no-default-features --features gate -- -D warnings
	@linked=$$(cargo tree --no-default-features --features gate -e normal --prefix none) || exit 1; \
	  ! echo "$$linked" | grep -E '^(axum|google-cloud|k8s-openapi|kube|lettre)' || \
	  { echo "the gate must not link these: docs/decisions/0011"; exit 1; }
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

# deny.toml says what and why. The first run on a machine may have to fetch what other platforms need.
deny: ## licences, banned crates and duplicates of the dependencies, if cargo-deny is installed
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check licenses bans sources; else \
	  echo "cargo-deny is not installed, so the dependencies are not checked: cargo install --locked cargo-deny"; fi
