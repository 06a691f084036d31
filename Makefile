# Everything is built by cargo; this file names what people want. `make help` lists it.

CARGO ?= cargo
# Seeds of the network simulator and cases of each property test that `make soak` tries.
SOAK_SEEDS ?= 0..20000
SOAK_CASES ?= 5000
# Which of the two paths `make publish` writes; see docs/pxe.md.
CHANNEL ?= test

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs: for this machine into target/release, static ones for nodes into target/node/bin
	$(CARGO) build --release --bins --package imagezip --package frisbee-server --package frisbee-client
	initfs/build-programs

.PHONY: extract
extract: ## make the nodes' boot image: target/node/{initfs.gz,vmlinuz,MANIFEST,pxe}
	initfs/build-programs
	initfs/extract

.PHONY: publish
publish: ## bring it to a TFTP or HTTP root: DEST=/srv/tftp [CHANNEL=test|production] [ORDERS=...]; BACK=1 undoes
	@initfs/publish "$(DEST)" $(CHANNEL) $(if $(BACK),--back)

.PHONY: test
test: packages boot-image ## run every test (less than half an hour; some need root and say so)
	$(CARGO) test --workspace

# Where it cannot be made the tests of virtual machines say that they were skipped. CI has no such excuse.
.PHONY: boot-image
boot-image:
	@$(MAKE) --no-print-directory extract || [ "$$CI" != true ]

.PHONY: vmtest
vmtest: packages extract ## the boot image in virtual machines: PXE, loads, saves, faults (a quarter of an hour)
	$(CARGO) test --package vmtest -- --include-ignored --test-threads=1

.PHONY: demo
demo: packages ## save a disk, restore it, serve it to three clients, prove that nothing is missing
	$(CARGO) build --release --bins --package imagezip --package frisbee-server \
		--package frisbee-client --package xtask
	$(CARGO) run --release --quiet --package xtask -- demo

.PHONY: bench
bench: packages ## measure, with the baselines in the same run
	$(CARGO) build --release --package imagezip --package frisbee-server --package frisbee-client \
		--package benches --bins
	$(CARGO) run --release --quiet --package benches --bin save_load
	$(CARGO) run --release --quiet --package benches --bin partclone
	$(CARGO) run --release --quiet --package benches --bin maps
	$(CARGO) run --release --quiet --package benches --bin network_load
	$(CARGO) bench --package benches

.PHONY: soak
soak: packages ## the random tests for an hour or so, with many more cases
	$(CARGO) run --release --package sim -- --seeds $(SOAK_SEEDS)
	$(CARGO) run --release --package sim -- --rough --seeds $(SOAK_SEEDS)
	PROPTEST_CASES=$(SOAK_CASES) $(CARGO) test --release --workspace
	$(CARGO) test --release --package frisbee-client --test program -- --ignored --nocapture

.PHONY: lint
lint: ## what .ci/run checks besides the tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

.PHONY: packages
packages: ## install the Debian packages that tests and demo use (root), or name them
	@.ci/need-packages
