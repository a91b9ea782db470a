#!/bin/sh
# Runs the official MCP servers and clients through muxloop (`make interop`).
#
#   tools/interop.sh [--direct] [--only=TEXT] [DRIVER...]
#
# --direct     connect the clients straight to the servers, without muxloop:
#              tells whether a scenario itself is sound
# --only=TEXT  only scenarios whose name contains TEXT
# DRIVER       node-legacy node-modern node-eras python-legacy python-modern, over the shim;
#              with -http, -sse or -ws behind it (where the SDK has that) over
#              HTTP; http: what only HTTP has, and third-party clients; dashboard: its
#              page in a browser; orphans;
#              gateway, gateway-faults, gateway-python1, gateway-python2: many servers
#              behind one endpoint, with -http, -sse, -ws, -socket or -serve behind it
#              (all; of -sse and -ws then only some scenarios)
#
# Needs Node 20+ with npm and Python 3.10+ with venv. What it installs goes to
# .interop in the checkout; MUXLOOP_BIN names the binary under test.
# Prints one line per scenario and, last, `N passed, N failed`.
set -eu

fail() { echo "interop: $*" >&2; exit 2; }

root=$(cd "$(dirname "$0")/.." && pwd)
here=$root/tests/interop
home=$root/.interop

direct= only= drivers=
for arg in "$@"; do
    case $arg in
        --direct) direct=$arg ;;
        --only=*) only=$arg ;;
        node-eras | node-eras-http | node-eras-sse | node-eras-ws) drivers="$drivers $arg" ;;
        node-legacy | node-legacy-http | node-legacy-sse | node-legacy-ws | node-modern | node-modern-http) drivers="$drivers $arg" ;;
        python-legacy | python-legacy-http | python-legacy-sse | python-legacy-ws) drivers="$drivers $arg" ;;
        python-modern | python-modern-http | http | orphans | dashboard) drivers="$drivers $arg" ;;
        gateway-http | gateway-sse | gateway-ws | gateway-socket | gateway-serve) drivers="$drivers $arg" ;;
        gateway-faults-http | gateway-faults-socket) drivers="$drivers $arg" ;;
        gateway-python1-http | gateway-python1-sse | gateway-python1-ws | gateway-python1-socket) drivers="$drivers $arg" ;;
        gateway-python1-serve | gateway-python2-http | gateway-python2-socket) drivers="$drivers $arg" ;;
        gateway-python2-serve) drivers="$drivers $arg" ;;
        *) fail "unknown argument '$arg' (see the head of tools/interop.sh)" ;;
    esac
done
shim="node-legacy node-modern node-eras python-legacy python-modern orphans"
front="dashboard http node-legacy-http node-modern-http node-eras-http python-legacy-http python-modern-http
    node-legacy-sse python-legacy-sse node-legacy-ws python-legacy-ws node-eras-sse node-eras-ws"
merged="gateway-http gateway-sse gateway-ws gateway-socket gateway-serve gateway-faults-http gateway-faults-socket
    gateway-python1-http gateway-python1-sse gateway-python1-ws gateway-python1-socket gateway-python1-serve
    gateway-python2-http gateway-python2-socket gateway-python2-serve"
# Without muxloop there is no HTTP front, and no endpoint of several servers.
[ -n "$direct" ] || shim="$shim $front $merged"
# In a run of all, the two ways that are on their way out get the scenarios of one server, or of both eras on one.
brief=
[ -n "$drivers" ] || brief=--only=everything/
: "${drivers:=$shim}"

# --- what must be there ------------------------------------------------------

for tool in node npm npx; do
    command -v "$tool" >/dev/null || fail "needs Node 20 or newer with npm and npx; '$tool' is not in PATH"
done
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
    fail "needs Node 20 or newer; this is $(node --version)"
PYTHON=${PYTHON:-python3}
command -v "$PYTHON" >/dev/null || fail "needs Python 3.10 or newer; '$PYTHON' is not in PATH"
"$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "needs Python 3.10 or newer with venv and ensurepip; this is $("$PYTHON" --version 2>&1)"

MUXLOOP_BIN=${MUXLOOP_BIN:-$root/target/release/muxloop}
case $MUXLOOP_BIN in /*) ;; *) MUXLOOP_BIN=$PWD/$MUXLOOP_BIN ;; esac
[ -n "$direct" ] || [ -x "$MUXLOOP_BIN" ] || fail "no binary at $MUXLOOP_BIN; build it with 'make build' or set MUXLOOP_BIN"

# --- install, once per set of pinned versions --------------------------------

install_node() {
    mkdir -p "$home/node"
    cp "$here/package.json" "$here/package-lock.json" "$home/node/"
    (cd "$home/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

# Scripts of their dependencies are left out, but the package `node` fetches its binary by one.
install_others() {
    mkdir -p "$home/third-party"
    cp "$here/third-party/package.json" "$here/third-party/package-lock.json" "$home/third-party/"
    (cd "$home/third-party" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm rebuild node --loglevel=error)
}

install_browser() {
    mkdir -p "$home/dashboard"
    cp "$here/dashboard/package.json" "$here/dashboard/package-lock.json" "$home/dashboard/"
    (cd "$home/dashboard" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

install_python() { # LINE, that is the major version of the SDK
    rm -rf "$home/python$1"
    "$PYTHON" -m venv "$home/python$1"
    "$home/python$1/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements-$1.txt"
}

in_background() { # NAME COMMAND...: its output goes to a file that is shown if it fails
    name=$1
    shift
    if ("$@") >"$home/install-$name.log" 2>&1; then :; else
        cat "$home/install-$name.log" >&2
        return 1
    fi
}

pinned=$(cat "$here/package-lock.json" "$here/third-party/package-lock.json" "$here/dashboard/package-lock.json" "$here"/requirements-*.txt | cksum; node --version; "$PYTHON" --version 2>&1)
if [ "$(cat "$home/installed" 2>/dev/null || true)" != "$pinned" ]; then
    echo "installing the pinned SDKs and servers into .interop"
    rm -rf "$home/installed"
    mkdir -p "$home"
    in_background node install_node & node_job=$!
    in_background others install_others & others_job=$!
    in_background browser install_browser & browser_job=$!
    in_background python1 install_python 1 & python1_job=$!
    in_background python2 install_python 2 & python2_job=$!
    broken=
    wait $node_job || broken="$broken npm"
    wait $others_job || broken="$broken npm(third-party)"
    wait $browser_job || broken="$broken npm(browser)"
    wait $python1_job || broken="$broken pip(1.x)"
    wait $python2_job || broken="$broken pip(2.x)"
    [ -z "$broken" ] || fail "could not install:$broken"
    printf '%s\n' "$pinned" >"$home/installed"
fi

# ES modules look for packages above their own file, so the programs stand beside node_modules.
rm -rf "$home/node/src"
mkdir -p "$home/node/src"
cp -R "$here/node" "$here/python" "$here/servers" "$here/servers.json" "$home/node/src/"

# --- run ---------------------------------------------------------------------

INTEROP_NODE_PREFIX=$home/node
INTEROP_THIRD_PARTY=$home/third-party
INTEROP_DASHBOARD=$home/dashboard
INTEROP_PYTHON1=$home/python1/bin/python
INTEROP_PYTHON2=$home/python2/bin/python
export MUXLOOP_BIN INTEROP_NODE_PREFIX INTEROP_THIRD_PARTY INTEROP_DASHBOARD INTEROP_PYTHON1 INTEROP_PYTHON2
export PYTHONDONTWRITEBYTECODE=1

# Only the drivers get this variable, and all that they start inherits it.
mark=MUXLOOP_INTEROP_RUN=$$-$(date +%s)

# Ends whatever of this run still lives, whoever its parent is by now, and says so.
left_over() {
    node "$home/node/src/node/processes.mjs" "${mark%%=*}" "${mark#*=}"
}
trap left_over EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

log=$home/last.log
: >"$log"
run() { # DRIVER COMMAND...
    driver=$1
    shift
    chosen=$only
    case $driver in
        gateway-*) ;;
        node-eras-sse | node-eras-ws) : "${chosen:=${brief:+--only=both on}}" ;;
        *-sse | *-ws) : "${chosen:=$brief}" ;;
    esac
    env "$mark" "$@" $direct ${chosen:+"$chosen"} </dev/null 2>&1 | tee -a "$log"
    grep -q "^$driver: [0-9]* passed, [0-9]* failed\$" "$log" ||
        echo "FAIL $driver/run it ended without its closing line" | tee -a "$log"
}

lane() { # DRIVER...: one after the other
    for driver in "$@"; do
        case $driver in
            http) over=http program=http ;;
            *-http | *-sse | *-ws | *-socket | *-serve) over=${driver##*-} program=${driver%-*} ;;
            *) over=stdio program=$driver ;;
        esac
        case $program in
            python-legacy) run $driver "$INTEROP_PYTHON1" "$home/node/src/python/driver_legacy.py" --over=$over ;;
            gateway-python1) run $driver "$INTEROP_PYTHON1" "$home/node/src/python/gateway_legacy.py" --over=$over ;;
            gateway-python2) run $driver "$INTEROP_PYTHON2" "$home/node/src/python/gateway_modern.py" --over=$over ;;
            python-modern) run $driver "$INTEROP_PYTHON2" "$home/node/src/python/driver_modern.py" --over=$over ;;
            # The SDK's WebSocket client takes the platform's, which Node 20 has behind an option.
            *) run $driver node --experimental-websocket "$home/node/src/node/${program#node-}.mjs" --over=$over ;;
        esac
    done
}

# Two at a time: most of their time they wait, those of the merged endpoint above all.
singles= merged=
for driver in $drivers; do
    case $driver in
        gateway-*) merged="$merged $driver" ;;
        *) singles="$singles $driver" ;;
    esac
done
started=$(date +%s)
lane $merged & merged_job=$!
lane $singles
wait $merged_job
trap - EXIT
left_over | tee -a "$log"

passed=$(grep -c '^ok ' "$log" || true)
failed=$(grep -c '^FAIL ' "$log" || true)
if [ "$failed" -gt 0 ]; then
    echo "failed:"
    grep '^FAIL ' "$log"
fi
echo "interop ran for $(($(date +%s) - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 1 ]
