#!/bin/sh
# Judges muxloop by the official MCP conformance suites (`make conformance`).
#
#   tools/conformance.sh [--write] [--only=TEXT]
#
# --write      puts the tables into docs/conformance.md
# --only=TEXT  only runs whose title contains TEXT, such as 2025-11-25
#
# The server that is judged is run over its own SDK's HTTP transport, and by
# muxloop over stdio, at its own path and at the merged endpoint; a server of the
# other era by muxloop in both ways. Fails if a scenario comes out worse through
# muxloop without a reason in tests/interop/conformance/runs.mjs.
# Needs Node 20+ with npm; the suites' own Node is installed with them into
# .interop, next to the SDKs. MUXLOOP_BIN names the binary under test.
set -eu

fail() { echo "conformance: $*" >&2; exit 2; }

root=$(cd "$(dirname "$0")/.." && pwd)
here=$root/tests/interop
home=$root/.interop

for arg in "$@"; do
    case $arg in
        --write | --only=*) ;;
        *) fail "unknown argument '$arg' (see the head of tools/conformance.sh)" ;;
    esac
done
for tool in node npm; do
    command -v "$tool" >/dev/null || fail "needs Node 20 or newer with npm; '$tool' is not in PATH"
done
MUXLOOP_BIN=${MUXLOOP_BIN:-$root/target/release/muxloop}
case $MUXLOOP_BIN in /*) ;; *) MUXLOOP_BIN=$PWD/$MUXLOOP_BIN ;; esac
[ -x "$MUXLOOP_BIN" ] || fail "no binary at $MUXLOOP_BIN; build it with 'make build' or set MUXLOOP_BIN"

# FOLDER, MANIFESTS, OPTIONS: what is pinned there, once
install() {
    pinned=$(cat "$2/package-lock.json" | cksum; node --version)
    [ "$(cat "$home/$1/installed" 2>/dev/null || true)" != "$pinned" ] || return 0
    echo "installing what ${2#"$root"/} pins into .interop/$1"
    mkdir -p "$home/$1"
    cp "$2/package.json" "$2/package-lock.json" "$home/$1/"
    (cd "$home/$1" && npm ci $3 --no-audit --no-fund --loglevel=error) || fail "could not install $2"
    printf '%s\n' "$pinned" >"$home/$1/installed"
}
# The package `node` fetches its binary by a script.
install conformance "$here/conformance" ""
install node "$here" --ignore-scripts

# ES modules look for packages above their own file, so the programs stand beside node_modules.
rm -rf "$home/node/src/conformance"
mkdir -p "$home/node/src"
cp -R "$here/conformance" "$home/node/src/"

MUXLOOP_BIN=$MUXLOOP_BIN CONFORMANCE_HOME=$home/conformance CONFORMANCE_DOC=$root/docs/conformance.md \
    exec node "$home/node/src/conformance/run.mjs" "$@"
