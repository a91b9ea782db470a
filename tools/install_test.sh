#!/bin/sh
# Tests tools/install.sh and tools/uninstall.sh in a home of their own, with stand-ins for cargo, uname and the
# service managers: nothing is built, and nothing outside the scratch folder is touched.
#
#   MUX_BIN=target/debug/muxloop tools/install_test.sh
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
program=$(cd "$(dirname "${MUX_BIN:?names a built muxloop}")" && pwd)/$(basename "$MUX_BIN")
unset MUX_BIN MUX_REF MUX_NO_LOCK INSTALL_DIR CARGO_TARGET_DIR XDG_RUNTIME_DIR
unset XDG_DATA_HOME XDG_CONFIG_HOME MUXLOOP_CONFIG MUXLOOP_CONTROL
scratch=$(mktemp -d)
daemon=
finish() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
HOME="$scratch/my home"
export HOME
CARGO_HOME=$HOME/.cargo
export CARGO_HOME
mkdir -p "$HOME" "$scratch/bin"
PATH=$scratch/bin:$PATH

check() { # check "what is expected" COMMAND...
    what=$1
    shift
    if ! "$@" >"$scratch/said" 2>&1; then
        echo "FAILED: $what: $*" >&2
        sed 's/^/  /' "$scratch/said" "$scratch/out" >&2
        exit 1
    fi
}

stand_in() { # stand_in NAME: a program that runs the script of stdin
    { echo '#!/bin/sh'; cat; } >"$1"
    chmod +x "$1"
}

files() { (cd "$HOME" && find . ! -type d | sort); }
absent() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
lacks() { ! grep -q "$@"; }
echo "echo \"\$*\" >>'$scratch/managed'" | stand_in "$scratch/bin/systemctl"
echo 'echo Linux' | stand_in "$scratch/bin/uname"

# A program that was built already.
MUX_BIN=$program "$tools/install.sh" >"$scratch/out"
bin=$HOME/.local/bin share=$HOME/.local/share units=$HOME/.config/systemd/user
check 'it runs' "$bin/muxloop" --version
check 'the link is the shim' sh -c "'$bin/muxloop-proxy' --help | grep -q 'Usage: muxloop proxy'"
check 'the man page is one' grep -q '^\.TH MUXLOOP' "$share/man/man1/muxloop.1"
check 'completions of bash' bash -n "$share/bash-completion/completions/muxloop"
check 'completions of zsh' grep -q '^#compdef' "$share/zsh/site-functions/_muxloop"
check 'completions of fish' grep -q '^complete' "$share/fish/vendor_completions.d/muxloop.fish"
check 'the unit names the program' grep -qxF "ExecStart=\"$bin/muxloop\" -c %E/muxloop/mux.toml" "$units/muxloop.service"
check 'no place is left open' lacks '@[A-Z]*@' "$units/muxloop.service"
check 'the sockets' test -f "$units/muxloop.socket"
check 'what comes next' grep -q 'systemctl --user enable --now muxloop.service' "$scratch/out"

# Again: the same files. What the user changed stays.
files >"$scratch/first"
echo '# mine' >>"$units/muxloop.socket"
MUX_BIN=$program "$tools/install.sh" >"$scratch/out"
files >"$scratch/second"
check 'installing again adds nothing' cmp "$scratch/first" "$scratch/second"
check 'an edited unit is kept' grep -q '^# mine' "$units/muxloop.socket"
check 'and that is said' grep -q "^kept: .*muxloop.socket" "$scratch/out"
check 'no file is noted twice' sh -c "[ -z \"\$(sort '$share/muxloop/installed' | uniq -d)\" ]"

# Out again, while it runs.
mkdir -p "$HOME/.config/muxloop"
config=$HOME/.config/muxloop/mux.toml
printf '[servers.demo]\ncmd = "%s"\nargs = ["demo-server"]\n' "$program" >"$config"
mkfifo "$scratch/log"
"$bin/muxloop" -c "$config" 2>"$scratch/log" &
daemon=$!
exec 9<"$scratch/log"
while read -r line <&9; do
    case $line in *initialized* | *ready* | *started*) break ;; esac
done
check 'the daemon runs' "$bin/muxloop" status -c "$config"
"$share/muxloop/uninstall.sh" >"$scratch/out"
check 'it was stopped' grep -q '^stopped: ' "$scratch/out"
exec 9<&-
wait "$daemon" || true
daemon=
check 'the service manager was told' grep -qx -- '--user disable --now muxloop.socket muxloop.service' "$scratch/managed"
check 'the configuration stays' test -f "$config"
for backup in "$config".backup-*; do check 'and has a copy' cmp "$config" "$backup"; done
files | grep -v -e '/mux\.toml$' -e '\.backup-' >"$scratch/left" || true
check 'nothing else is left' test ! -s "$scratch/left"
check 'the edited unit has a copy' sh -c "grep -q '^# mine' '$units'/muxloop.socket.backup-*"
check 'a second time is an error' sh -c "! '$tools/uninstall.sh'"

# From a checkout: cargo is asked for what the variables say.
git init -q "$scratch/checkout"
cp -R "$tools" "$tools/../packaging" "$tools/../Cargo.toml" "$scratch/checkout"
(
    cd "$scratch/checkout"
    git add .
    git -c user.name=me -c user.email=me@localhost commit -qm one
    git tag v1
    echo '# later' >>packaging/systemd/muxloop.socket
)
mkdir -p "$CARGO_HOME/bin"
stand_in "$CARGO_HOME/bin/cargo" <<END
echo "\$*" >>'$scratch/cargo'
mkdir -p "\$CARGO_TARGET_DIR/release"
cp '$program' "\$CARGO_TARGET_DIR/release/muxloop"
END
install=$scratch/checkout/tools/install.sh
INSTALL_DIR=$HOME/bin "$install" >"$scratch/out"
check 'by the lock file' grep -qx 'build --release --locked' "$scratch/cargo"
check 'where INSTALL_DIR says' "$HOME/bin/muxloop-proxy" --version
check 'from the working tree' grep -q '^# later' "$units/muxloop.socket"
rm "$scratch/cargo"
INSTALL_DIR=$HOME/bin MUX_REF=v1 MUX_NO_LOCK=1 "$install" >"$scratch/out"
check 'without the lock file' grep -qx 'build --release' "$scratch/cargo"
check 'the ref, not the working tree' lacks '^# later' "$units/muxloop.socket"
check 'an unknown ref is an error' sh -c "! MUX_REF=v9 '$install' 2>'$scratch/error'"
check 'and is named' grep -q "no 'v9'" "$scratch/error"
"$tools/uninstall.sh" --purge >"$scratch/out"
check 'INSTALL_DIR is empty again' absent "$HOME/bin/muxloop-proxy"
check 'the configuration went' absent "$config"

# From a release archive, on macOS.
archive=$scratch/archive
mkdir -p "$archive/bin"
cp "$program" "$archive/bin/muxloop"
cp -R "$tools" "$tools/../packaging" "$archive"
echo 'echo Darwin' | stand_in "$scratch/bin/uname"
echo "echo \"\$*\" >>'$scratch/managed'" | stand_in "$scratch/bin/launchctl"
check 'an archive has no refs' sh -c "! MUX_REF=v1 '$archive/tools/install.sh'"
"$archive/tools/install.sh" >"$scratch/out"
agent=$HOME/Library/LaunchAgents/muxloop.plist
check 'the agent names the program' grep -qF "<string>$bin/muxloop</string>" "$agent"
check 'no place is left open' lacks -E '>[^<]*@[A-Z]+@' "$agent"
check 'no systemd here' absent "$units/muxloop.service"
"$archive/tools/uninstall.sh" >"$scratch/out"
check 'launchd was told' grep -qx "bootout gui/$(id -u)/muxloop" "$scratch/managed"
check 'the agent is gone' absent "$agent"
check 'the program is gone' absent "$bin/muxloop"
echo 'install: all is well'
