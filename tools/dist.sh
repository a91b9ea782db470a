#!/bin/sh
# Static binaries, release archives (program, man page, completions, units, install script) and their checksums
# in dist/, reproducible: the same source and toolchain give the same bytes wherever the checkout and cargo's
# folders are.
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
    sh tools/static.sh "$target" --locked
    cp "$out/$target/release/muxloop" "dist/muxloop-$target"
done
[ -n "$(ls dist)" ] || { echo 'dist: nothing was built' >&2; exit 1; }

# The texts are the same for all machines; some binary among them, or else one made here, runs on this one.
speaker=
for binary in dist/muxloop-*; do
    if "$binary" --version >/dev/null 2>&1; then speaker=$binary; fi
done
if [ -z "$speaker" ]; then
    cargo build --locked --quiet
    speaker=$out/debug/muxloop
fi
version=$("$speaker" --version | sed 's/^muxloop //')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for binary in dist/muxloop-*; do
    name=muxloop-$version-${binary#dist/muxloop-}
    folder=$scratch/$name
    mkdir -p "$folder/bin" "$folder/tools" "$folder/share/man/man1" "$folder/share/completions"
    cp "$binary" "$folder/bin/muxloop"
    ln -s muxloop "$folder/bin/muxloop-proxy"
    "$speaker" help --man >"$folder/share/man/man1/muxloop.1"
    for shell in bash zsh fish; do
        "$speaker" completions $shell >"$folder/share/completions/muxloop.$shell"
    done
    cp -R packaging docs README.md examples/mux.toml "$folder"
    cp tools/install.sh tools/uninstall.sh "$folder/tools"
    chmod -R u=rwX,go=rX "$folder"
    chmod 755 "$folder"/bin/muxloop "$folder"/tools/*.sh
    (cd "$folder" && find . -type f | LC_ALL=C sort | xargs sha256sum >"$scratch/sums" && mv "$scratch/sums" SHA256SUMS)
    chmod 644 "$folder/SHA256SUMS"
    # Names, owners and times as they are nowhere else, so that the bytes are the same everywhere.
    (cd "$scratch" && find "$name" | LC_ALL=C sort >list &&
        tar --no-recursion --format=ustar --mtime="@${SOURCE_DATE_EPOCH:-0}" --owner=0 --group=0 --numeric-owner \
            -cf - -T list) | gzip -9n >"dist/$name.tar.gz"
done
cd dist
sha256sum muxloop-* | tee SHA256SUMS
