#!/bin/sh
# Takes out what tools/install.sh installed: stops muxloop, backs up the configuration beside itself, and
# removes the installed files and nothing else. The configuration stays, unless --purge says otherwise.
#
#   uninstall.sh [--purge]
set -eu
: "${HOME:?is not set}"
data=${XDG_DATA_HOME:-$HOME/.local/share}
config=${XDG_CONFIG_HOME:-$HOME/.config}/muxloop
manifest=$data/muxloop/installed
purge=
case ${1:-} in
'') ;;
--purge) purge=1 ;;
*)
    echo "usage: uninstall.sh [--purge]" >&2
    exit 2
    ;;
esac
if [ ! -f "$manifest" ]; then
    echo "uninstall: nothing is installed ($manifest is missing)" >&2
    exit 1
fi

# A service manager first: it would start muxloop again. That none runs here is fine.
if grep -q '/systemd/user/muxloop\.service$' "$manifest" && command -v systemctl >/dev/null; then
    systemctl --user disable --now muxloop.socket muxloop.service >/dev/null 2>&1 || true
fi
if grep -q '/LaunchAgents/muxloop\.plist$' "$manifest" && command -v launchctl >/dev/null; then
    launchctl bootout "gui/$(id -u)/muxloop" >/dev/null 2>&1 || true
fi
program=$(grep '/muxloop$' "$manifest" | grep -v '/bash-completion/' | head -n 1)
if [ -x "$program" ] && [ -f "$config/mux.toml" ]; then
    if "$program" shutdown -c "$config/mux.toml" >/dev/null 2>&1; then
        echo "stopped:   muxloop"
    fi
fi

backup() { # copies a file beside itself
    copy=$1.backup-$(date -u +%Y%m%dT%H%M%SZ)
    cp -p "$1" "$copy"
    echo "backed up: $copy"
}
while IFS= read -r file; do
    original=$data/muxloop/$(basename "$file")
    case $file in
    "$data"/*) ;;
    *.service | *.socket | *.plist)
        if [ -f "$file" ] && ! cmp -s "$file" "$original"; then
            backup "$file"
        fi
        ;;
    esac
done <"$manifest"
if [ -f "$config/mux.toml" ]; then
    backup "$config/mux.toml"
    if [ -n "$purge" ]; then
        rm -f "$config/mux.toml"
        echo "removed:   $config/mux.toml"
    fi
fi

while IFS= read -r file; do
    rm -f "$file"
    # Folders that this leaves empty, and that nobody but muxloop uses.
    case $(dirname "$file") in
    */muxloop) rmdir "$(dirname "$file")" 2>/dev/null || true ;;
    esac
done <"$manifest"
rm -f "$manifest"
# What was found out about servers, to be found out again.
cache=${XDG_CACHE_HOME:-$HOME/.cache}
rm -f "$cache/muxloop/eras.json"
rm -rf "$cache/muxloop/lists"
rmdir "$cache/muxloop" 2>/dev/null || true
rmdir "$data/muxloop" 2>/dev/null || true
if command -v systemctl >/dev/null; then
    systemctl --user daemon-reload >/dev/null 2>&1 || true
fi
echo "removed:   muxloop"
