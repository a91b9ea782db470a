#!/bin/sh
# The static binary of one target as it is shipped and measured: `cargo build --release`, linked for size.
#
#   tools/static.sh TARGET [OPTION OF CARGO BUILD...]
#
# Needs the lld that comes with Rust. Where it is missing, or another linker is asked for with
# CARGO_TARGET_…_LINKER, the binary is the same program, and a tenth to a fifth larger.
set -eu
cd "$(dirname "$0")/.."
target=$1
shift

variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_LINKER
eval "linker=\${$variable:-}"
lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
if [ -z "$linker" ] && [ -x "$lld" ]; then
    linker=rust-lld
fi
[ "$linker" = rust-lld ] || exec ${CARGO:-cargo} build --release --target "$target" "$@"
export "$variable=$linker"

# For the program only: the tests unwind, and what they are linked with is none of this.
set -- "$@" --bin muxloop --
# One copy of functions that are the same machine code, as those of generic types often are. Nothing here
# compares the addresses of functions.
set -- "$@" -C link-arg=--icf=all
# The tables of an unwinder that never runs, see there.
set -- "$@" -C link-arg=-Ttools/static.ld -C link-arg=--no-eh-frame-hdr
# The addresses that a position-independent program adjusts at its start, as a bit map: 1 KB for 55. Done by musl
# since 1.2.4, and so by the musl of Rust since 1.93; an older one would jump to where nothing is.
minor=$(rustc -vV | sed -n 's/^release: 1\.\([0-9]*\)\..*/\1/p')
if [ "${minor:-0}" -ge 93 ]; then
    set -- "$@" -C link-arg=-zpack-relative-relocs
fi
exec ${CARGO:-cargo} rustc --release --target "$target" "$@"
