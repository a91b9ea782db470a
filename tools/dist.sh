#!/bin/sh
# Static binaries and their checksums in dist/, reproducible: the same source and toolchain give the same
# bytes wherever the checkout and cargo's folders are.
#
#   tools/dist.sh [TARGET...]     (x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
#
# aarch64 needs no C compiler: the lld that comes with Rust links it. Where there is neither that nor a
# cross linker, the binary is left out with a line that says so.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- x86_64-unknown-linux-musl aarch64-unknown-linux-musl
out=${CARGO_TARGET_DIR:-target}

# The folder of a registry is named after its address, so it is mapped as well, and must be there before.
cargo fetch --locked --quiet
home=${CARGO_HOME:-$HOME/.cargo}
flags=--remap-path-prefix=$PWD=.
for registry in "$home"/registry/src/*/; do
    flags=$flags$(printf '\037--remap-path-prefix=%s=crates' "${registry%/}")
done
# Separated by 0x1f, so that folders may have spaces. This also replaces flags of the environment.
export CARGO_ENCODED_RUSTFLAGS="$flags"

linker() { # the linker for aarch64, or nothing
    lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    if [ -x "$lld" ]; then
        echo rust-lld
    else
        command -v aarch64-linux-musl-gcc || command -v aarch64-linux-gnu-gcc || true
    fi
}

installed() { # TARGET: whether Rust's library for it is there
    [ -d "$(rustc --print target-libdir --target "$1")" ]
}

mkdir -p dist
rm -f dist/muxloop-* dist/SHA256SUMS
for target in "$@"; do
    if [ "$target" = aarch64-unknown-linux-musl ] && [ "$(uname -m)" != aarch64 ]; then
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=$(linker)
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER
        if [ -z "$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER" ]; then
            echo "dist: $target is left out: no linker for it (rust-lld, aarch64-linux-musl-gcc or aarch64-linux-gnu-gcc)"
            continue
        fi
    fi
    if ! installed "$target" && ! rustup target add "$target"; then
        echo "dist: $target is left out: Rust's library for it is missing and cannot be installed"
        continue
    fi
    cargo build --release --locked --target "$target"
    cp "$out/$target/release/muxloop" "dist/muxloop-$target"
done
cd dist
[ -n "$(ls)" ] || { echo 'dist: nothing was built' >&2; exit 1; }
sha256sum muxloop-* | tee SHA256SUMS
