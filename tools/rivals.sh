#!/bin/sh
# Installs the proxies that the HTTP part of the bench measures muxloop against (`make bench`):
# supergateway and mcp-proxy of npm, mcp-proxy of PyPI, in the versions pinned in benches/rivals.
#
#   tools/rivals.sh
#
# Needs Node 20+ with npm and Python 3.10+ with venv. What it installs goes to .bench/rivals in the
# checkout, once per set of pinned versions.
set -eu

fail() { echo "rivals: $*" >&2; exit 2; }

root=$(cd "$(dirname "$0")/.." && pwd)
here=$root/benches/rivals
home=$root/.bench/rivals

for tool in node npm; do
    command -v "$tool" >/dev/null || fail "needs Node 20 or newer with npm; '$tool' is not in PATH"
done
PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "needs Python 3.10 or newer with venv and ensurepip as '$PYTHON'"

pinned=$(cat "$here/package-lock.json" "$here/requirements.txt" | cksum; node --version; "$PYTHON" --version 2>&1)
[ "$(cat "$home/installed" 2>/dev/null || true)" != "$pinned" ] || exit 0

echo "installing the pinned proxies into .bench/rivals"
rm -rf "$home"
mkdir -p "$home"
cp "$here/package.json" "$here/package-lock.json" "$home/"
(cd "$home" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
"$PYTHON" -m venv "$home/python"
"$home/python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$here/requirements.txt"
printf '%s\n' "$pinned" >"$home/installed"
