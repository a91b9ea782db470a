#!/bin/sh
# Installs muxloop for one user, from a checkout (which it builds) or from an unpacked release archive: the
# program, the link muxloop-proxy, man page, completions, and the unit of the service manager. Installing
# again replaces what was installed; a unit that was edited since is kept.
#
#   tools/install.sh
#
#   INSTALL_DIR   where the program goes (~/.local/bin)
#   CARGO_HOME    where cargo is, if not in PATH (~/.cargo)
#   MUX_REF       branch, tag or commit of the checkout to build (the working tree as it is)
#   MUX_NO_LOCK   any value but 0: build with newer dependencies than those of Cargo.lock
#   MUX_BIN       a built program to install instead
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
: "${HOME:?is not set}"
bindir=${INSTALL_DIR:-$HOME/.local/bin}
data=${XDG_DATA_HOME:-$HOME/.local/share}
config=${XDG_CONFIG_HOME:-$HOME/.config}
case $bindir in
/*) ;;
*) bindir=$PWD/$bindir ;;
esac
manifest=$data/muxloop/installed
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "install: $*" >&2
    exit 1
}

build() { # builds the checkout, or MUX_REF of it; sets $binary and, for MUX_REF, $root
    cargo=$(command -v cargo || true)
    home=${CARGO_HOME:-$HOME/.cargo}
    [ ! -x "$home/bin/cargo" ] || cargo=$home/bin/cargo
    [ -n "$cargo" ] || fail "cargo is neither in PATH nor in $home/bin; get Rust from https://rustup.rs, or use a release archive"
    target=${CARGO_TARGET_DIR:-$root/target}
    if [ -n "${MUX_REF:-}" ]; then
        git -C "$root" archive --prefix=source/ -o "$scratch/source.tar" "$MUX_REF" ||
            fail "MUX_REF: the checkout has no '$MUX_REF'"
        tar -xf "$scratch/source.tar" -C "$scratch"
        root=$scratch/source
    fi
    locked=--locked
    [ "${MUX_NO_LOCK:-0}" = 0 ] || locked=
    # shellcheck disable=SC2086 # no word if it is empty
    (cd "$root" && CARGO_TARGET_DIR="$target" "$cargo" build --release $locked)
    binary=$target/release/muxloop
}

if [ -n "${MUX_BIN:-}" ]; then
    binary=$MUX_BIN
elif [ -f "$root/Cargo.toml" ]; then
    build
else
    [ -z "${MUX_REF:-}" ] || fail "MUX_REF needs a checkout, and this is a release archive"
    binary=$root/bin/muxloop
fi
[ -x "$binary" ] || fail "there is no program at $binary"
"$binary" --version >"$scratch/version" || fail "$binary does not run on this machine"

mkdir -p "$data/muxloop"
touch "$manifest"

note() { # remembers an installed file
    grep -qxF "$1" "$manifest" || echo "$1" >>"$manifest"
}

place() { # place MODE FROM TO: replaces TO at once, even if it runs
    mkdir -p "$(dirname "$3")"
    cp "$2" "$3.new.$$"
    chmod "$1" "$3.new.$$"
    mv -f "$3.new.$$" "$3"
    note "$3"
}

unit() { # unit FROM TO: fills in the places; an edited TO is kept
    sed -e "s|@BINDIR@|$(literal "$bindir")|g" -e "s|@HOME@|$(literal "$HOME")|g" "$1" >"$scratch/unit"
    original=$data/muxloop/$(basename "$2")
    if [ -f "$2" ] && ! cmp -s "$2" "$original" && ! cmp -s "$2" "$scratch/unit"; then
        echo "kept:      $2 (it was edited; the new one is $original)"
    else
        place 644 "$scratch/unit" "$2"
    fi
    place 644 "$scratch/unit" "$original"
}

literal() { # a text for the right side of sed's s
    printf '%s' "$1" | sed 's/[\\&|]/\\&/g'
}

place 755 "$binary" "$bindir/muxloop"
ln -sf muxloop "$bindir/muxloop-proxy"
note "$bindir/muxloop-proxy"
made() { # made FILE ARGUMENT...: what the program prints
    file=$1
    shift
    "$binary" "$@" >"$scratch/made"
    place 644 "$scratch/made" "$file"
}
made "$data/man/man1/muxloop.1" help --man
made "$data/bash-completion/completions/muxloop" completions bash
made "$data/zsh/site-functions/_muxloop" completions zsh
made "$data/fish/vendor_completions.d/muxloop.fish" completions fish
place 755 "$root/tools/uninstall.sh" "$data/muxloop/uninstall.sh"
case $(uname -s) in
Darwin)
    agent=$HOME/Library/LaunchAgents/muxloop.plist
    unit "$root/packaging/launchd/muxloop.plist" "$agent"
    start="launchctl bootstrap gui/\$(id -u) '$agent'"
    ;;
*)
    for name in muxloop.service muxloop.socket; do
        unit "$root/packaging/systemd/$name" "$config/systemd/user/$name"
    done
    start='systemctl --user daemon-reload && systemctl --user enable --now muxloop.service'
    ;;
esac

echo "installed: $bindir/muxloop ($(cat "$scratch/version"))"
case :$PATH: in
*:"$bindir":*) ;;
*) echo "note:      $bindir is not in PATH" ;;
esac
shown() { # a path as a shell reads it
    case $1 in
    *[!A-Za-z0-9/._-]*) printf "'%s'" "$1" ;;
    *) printf '%s' "$1" ;;
    esac
}
program=$(shown "$bindir/muxloop")
file=$(shown "$config/muxloop/mux.toml")
echo "next:"
[ -f "$config/muxloop/mux.toml" ] || cat <<END
  mkdir -p $(shown "$config/muxloop")
  $program help config > $file   # and say there which servers run
END
cat <<END
  $program check -c $file
  $start
  $program status
To undo all this: $(shown "$data/muxloop/uninstall.sh")
END
