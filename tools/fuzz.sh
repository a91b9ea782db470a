#!/bin/sh
# Runs one fuzz target for a while (`make fuzz TARGET=… SECONDS=…`).
#
#   tools/fuzz.sh TARGET SECONDS
#
# Needs nightly Rust and cargo-fuzz. What it finds goes to fuzz/found/TARGET, an input that breaks a
# promise to fuzz/artifacts/TARGET; the committed corpus is only read (tools/fuzz_corpus.sh renews it).
set -eu
cd "$(dirname "$0")/.."
fail() { echo "fuzz: $*" >&2; exit 2; }

target=${1:-} seconds=${2:-60}
known=$(cd fuzz/fuzz_targets && echo *.rs | sed 's/\.rs//g')
[ -n "$target" ] && [ -f "fuzz/fuzz_targets/$target.rs" ] || fail "no target '$target'; there are: $known"
case $seconds in '' | *[!0-9]*) fail "SECONDS=$seconds is no number of seconds" ;; esac
cargo +nightly --version >/dev/null 2>&1 ||
    fail "needs a nightly Rust: rustup toolchain install nightly --profile minimal"
command -v cargo-fuzz >/dev/null || fail "needs cargo-fuzz: cargo install cargo-fuzz --locked"

case $target in
    config) set -- -dict=fuzz/toml.dict ;;
    http) set -- -dict=fuzz/http.dict ;;
    sse) set -- -dict=fuzz/sse.dict ;;
    world | ws) set -- ;; # their bytes are decisions, or binary
    *) set -- -dict=fuzz/json.dict ;;
esac
mkdir -p "fuzz/found/$target" "fuzz/corpus/$target"
# A slow input is a finding too: nothing here should take long for 4 KB.
exec cargo +nightly fuzz run "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 "$@"
