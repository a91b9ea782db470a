#!/bin/sh
# Every crate that is linked has one of the licences we may ship.
set -eu
cd "$(dirname "$0")/.."
allowed='MIT|Apache-2.0|ISC|BSD-2-Clause|BSD-3-Clause|Zlib|Unlicense|Unicode-3.0|Apache-2.0 WITH LLVM-exception'
bad=$(cargo tree --edges normal --prefix none --no-dedupe --format '{p}|{l}' | sort -u | awk -F'|' -v allowed="$allowed" '
    { ok = 0; n = split($2, parts, / OR |\/| AND /)
      for (i = 1; i <= n; i++) { gsub(/[()]/, "", parts[i]); if (parts[i] ~ "^(" allowed ")$") ok = 1 }
      if (!ok) print $1 ": " $2 }')
if [ -n "$bad" ]; then
    printf 'licences that need a decision:\n%s\n' "$bad"
    exit 1
fi
echo 'licences: all allowed'
