# The README's two commands are `make run` and `make test`; everything else is for those who build it.

CARGO ?= cargo
MUSL := x86_64-unknown-linux-musl
BASE := target/base/$(MUSL)/release/muxloop
SEEDS ?= 2000
TARGET ?= envelope
SECONDS ?= 60

.PHONY: run build test check sim soak fuzz bench bench-quick bench-http bench-micro interop conformance tui dist clean

## run: build muxloop, run it on two embedded servers, and show three clients that share them
run: build
	$(CARGO) run --release --quiet --example story -- target/release/muxloop

build:
	$(CARGO) build --release

## test: every test that needs only Rust
test:
	$(CARGO) test --no-fail-fast

## check: formatting, lints, docs, the arrows between the layers, licences
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	$(CARGO) clippy --no-default-features --features cli -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet
	sh tools/arrows.sh
	sh tools/licences.sh

## sim: more seeds of the simulator (SEEDS=n, or MUXLOOP_SEED=x for one)
sim:
	MUXLOOP_SEEDS=$(SEEDS) $(CARGO) test --release --test sim -- --nocapture

## soak: a million requests (REQUESTS=n) with clients that come and go and servers that crash; the figures
REQUESTS ?= 1000000
soak:
	MUXLOOP_SOAK=$(REQUESTS) $(CARGO) test --release --test soak -- --nocapture

## fuzz: one target (TARGET=line|envelope|splice|config|http|sse|ws|world) for a while (SECONDS=n); needs nightly and cargo-fuzz
fuzz:
	sh tools/fuzz.sh "$(TARGET)" "$(SECONDS)"

.bench/bin/rmcp-mux:
	$(CARGO) install rmcp-mux --version 0.4.0 --no-default-features --features cli --root .bench

## bench: muxloop beside no relay, a floor relay and rmcp-mux, in one run; its HTTP front beside other proxies;
##        the lists of many servers at one endpoint; then the footprint of the binary without optional features
bench: .bench/bin/rmcp-mux bench-http base
	$(CARGO) bench --bench round_trip -- --require-rmcp-mux
	$(CARGO) bench --bench round_trip -- --lists
	MUXLOOP_BIN=$(BASE) $(CARGO) bench --bench round_trip -- --footprint

## bench-http: only the HTTP part; needs Node and Python, installs supergateway and both mcp-proxy into .bench
bench-http: static
	sh tools/rivals.sh
	$(CARGO) bench --bench round_trip -- --http --require-rivals

bench-quick: static
	$(CARGO) bench --bench round_trip -- --quick

bench-micro:
	$(CARGO) bench --bench micro

## tui: the dashboard under a real terminal (needs tmux)
tui: build
	sh tests/tui/tmux.sh target/release/muxloop

## interop: real servers and the official SDK clients (needs Node and Python; installs into .interop)
interop: build
	sh tools/interop.sh

## conformance: the official MCP conformance suites, over muxloop and without it (needs Node; installs into .interop)
conformance: build
	sh tools/conformance.sh

.PHONY: static musl base
## static: the static binary for this machine's Linux, where the benches look for it
static: musl
	sh tools/static.sh $(MUSL)

musl:
	test -d "$$(rustc --print target-libdir --target $(MUSL))" || rustup target add $(MUSL)

## base: the static binary without optional features; fails if it is larger than 1.5 MiB
base: musl
	CARGO_TARGET_DIR=target/base sh tools/static.sh $(MUSL) --no-default-features --features cli
	@wc -c $(BASE)
	@test "$$(wc -c <$(BASE))" -le 1572864 || { echo 'base: larger than 1.5 MiB' >&2; exit 1; }

## dist: static binaries for x86_64 and, where a linker for it is installed, aarch64, as release archives too, with
##       their checksums; after `base`
dist: base
	sh tools/dist.sh

clean:
	rm -rf target dist .interop .bench
