# The few commands people type.

.PHONY: demo test mutants test-real test-standby bench lint parts chart image

# Real parts (a real Alertmanager, beacon node, mail server …) go into a cache outside the checkout.
PARTS := tests/parts/install.sh

demo: ## the whole story on this machine, without any account
	cargo run --quiet -- sandbox

test: ## everything that needs nothing but Rust
	cargo test --lib --bins --test it
	cargo test --test stories
	cargo test --test kills

# What cargo-mutants leaves belongs to the cache: a list of what it tried, and its logs.
MUTANTS := $${XDG_CACHE_HOME:-$$HOME/.cache}/failover-mutants
mutants: ## every rule turned off once: which test notices it? Then, for half an hour, whatever cargo-mutants makes up
	tests/mutants/run
	@cargo mutants --version >/dev/null 2>&1 || { \
	  echo "cargo-mutants is not installed, so only the listed rules were tried: cargo install --locked cargo-mutants"; \
	  exit 0; }; \
	CARGO_TARGET_DIR=$(MUTANTS)/target timeout 1800 cargo mutants --output $(MUTANTS) --file 'src/domain/machine/*.rs' \
	  -- --lib --test it -- domain:: scenarios:: properties:: || \
	case $$? in 2|3) echo "what it says is missed is to be looked at, not necessarily wrong" ;; 124) ;; *) exit 1 ;; esac

parts:
	bash $(PARTS)

# Google's own client is in no package registry; without it the scripts of the cloud project meet a stand-in only.
WITHOUT_GCLOUD := $(if $(shell command -v gcloud),,--skip gcp::)

test-real: parts test-standby ## everything against real parts, one suite at a time
	$(if $(WITHOUT_GCLOUD),@echo "gcloud is not installed here: its suite is left out")
	cargo test --test real -- --test-threads=1 $(WITHOUT_GCLOUD)

test-standby: parts ## the roles of a standby: without a machine, then on booted ones
	tests/standby/lint.sh
	tests/standby/firewall.sh
	tests/standby/firewall_boot.sh
	tests/standby/disk.sh
	tests/standby/home_fence.sh
	tests/standby/faults.sh
	tests/standby/converge.sh
	tests/standby/cometbft.sh

bench: ## one table; ratios of one run where there is something to compare with
	cargo bench --bench table

chart: parts ## helm's lint, every example rendered and given to the program, derived files current
	cargo build
	charts/check.sh $${CARGO_TARGET_DIR:-target}/debug/failover

# A static binary without the sandbox. Needs rustup's target of this name, a C compiler for it (Debian: musl-tools) and
# buildah.
MUSL := $(shell uname -m)-unknown-linux-musl
image: ## the container image, as an OCI archive
	rustup target add $(MUSL)
	cargo build --release --locked --no-default-features --target $(MUSL)
	image/build.sh $${CARGO_TARGET_DIR:-target}/$(MUSL)/release/failover failover.oci.tar

lint:
	cargo fmt --check
	tests/mutants/run --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
