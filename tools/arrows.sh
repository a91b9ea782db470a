#!/bin/sh
# The layers of docs/architecture.md as a grep: an arrow that points the wrong way is printed and fails.
set -u
cd "$(dirname "$0")/.."
bad=0
forbid() { # forbid "why" PATTERN FILES…
    why=$1 pattern=$2
    shift 2
    found=$(grep -rnE "$pattern" "$@" --include='*.rs' 2>/dev/null | grep -vE '^[^:]+:[0-9]+:[[:space:]]*//')
    if [ -n "$found" ]; then
        printf '%s:\n%s\n' "$why" "$found"
        bad=1
    fi
}
lower='src/base src/codec src/mux'
forbid 'base, codec and mux know nothing above them' \
    'crate::(engine|reactor|config|cli|client|control|daemon|front|library|proxy|sim|demo|tui)' $lower
forbid 'base knows nothing but itself' 'crate::(codec|mux)' src/base
forbid 'codec knows base only' 'crate::mux' src/codec
forbid 'the front knows base, codec and what the mux calls things' \
    'crate::(engine|reactor|config|cli|client|control|daemon|library|proxy|sim|demo|tui|capture)' src/front
forbid 'the gateway knows base and codec only' \
    'crate::(mux|front|engine|reactor|config|cli|client|control|daemon|library|proxy|sim|demo|tui|capture|doctor)' src/gateway
forbid 'the engine names no kernel' 'crate::(reactor|sim|config|cli)' src/engine
forbid 'the control language knows no tables and no kernel' 'crate::(mux|engine|reactor|daemon|client|tui|cli)' src/control
forbid 'clients of the control socket know its language only' 'crate::(mux|engine|daemon)' src/client src/tui
forbid 'kernel calls and clocks belong in src/reactor' \
    '\b(mio|libc|signal_hook|signal_hook_mio)::|Instant::now|SystemTime::now' \
    src/base src/codec src/mux src/front src/gateway src/engine src/config src/sim
forbid 'unsafe belongs in src/reactor and src/codec/scan_simd.rs' '\bunsafe (\{|fn|impl)' \
    src/base src/mux src/front src/gateway src/engine src/config src/cli src/demo src/proxy src/sim src/main.rs src/lib.rs src/library.rs src/daemon src/client src/control src/tui src/capture src/doctor
runtimes=$(cargo tree --edges normal --prefix none 2>/dev/null | grep -E '^(tokio|async-std|smol|futures)' | sort -u)
[ -z "$runtimes" ] || { printf 'an async runtime is linked:\n%s\n' "$runtimes"; bad=1; }
[ $bad -eq 0 ] && echo 'arrows: all point the right way'
exit $bad
