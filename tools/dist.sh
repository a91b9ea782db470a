#!/bin/sh
# dist/: static binaries and their checksums. The build is reproducible: paths are mapped away.
set -eu
cd "$(dirname "$0")/.."
mkdir -p dist
RUSTFLAGS="--remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export RUSTFLAGS
build() { # build TARGET
    cargo build --release --target "$1"
    cp "target/$1/release/muxloop" "dist/muxloop-$1"
    echo "dist/muxloop-$1"
}
build x86_64-unknown-linux-musl
if command -v aarch64-linux-gnu-gcc >/dev/null || command -v aarch64-linux-musl-gcc >/dev/null; then
    rustup target add aarch64-unknown-linux-musl
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=$(command -v aarch64-linux-musl-gcc || command -v aarch64-linux-gnu-gcc)
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER
    build aarch64-unknown-linux-musl
else
    echo 'no linker for aarch64 is installed: that binary was left out'
fi
(cd dist && sha256sum muxloop-* >SHA256SUMS && cat SHA256SUMS)
