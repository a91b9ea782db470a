#!/bin/sh
# The dashboard in a real terminal (tmux) at two sizes: keys, a daemon that goes and comes back, and what the
# terminal is like afterwards. Not part of `make test`: it needs tmux and Python.
#
# Usage: tests/tui/tmux.sh [MUXLOOP]     (default: target/debug/muxloop)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
muxloop=$(realpath "${1:-$here/../../target/debug/muxloop}")
dir=$(mktemp -d)
socket=$dir/c.sock
daemon=
tmux() { command tmux -L "muxloop-$$" -f /dev/null "$@"; }
end() {
    tmux kill-server 2>/dev/null || true
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$dir"
}
trap end EXIT

start_daemon() {
    python3 "$here/daemon.py" "$socket" &
    daemon=$!
}
screen() { tmux capture-pane -p -t t; }
# sees TEXT: waits until it is on the screen.
sees() {
    tries=0
    until screen | grep -qF -- "$1"; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ]; then
            printf 'not ok: never saw %s in\n' "$1"
            screen
            exit 1
        fi
        sleep 0.1
    done
    printf 'ok: %s\n' "$1"
}
press() { tmux send-keys -t t "$@"; }
# restored: the main screen with its cursor, and a line discipline that echoes.
restored() {
    [ "$(tmux display -p -t t '#{alternate_on} #{cursor_flag}')" = '0 1' ] || { echo 'not ok: screen not restored'; exit 1; }
    press 'stty -a | grep -o " echo " && echo "the line is $((40 + 2))"' Enter
    sees 'the line is 42'
}

start_daemon
tmux new-session -d -s t -x 80 -y 24 "env PS1='$ ' sh"
tmux set -g status off
tmux resize-window -t t -x 80 -y 24
press "'$muxloop' tui --control '$socket'; echo \"code \$?\"" Enter
sees 'muxloop 0.1.0  degraded'
sees 'web    backoff'
sees 'j/k move'
press j
sees '── web ──'
sees 'stderr of web'
press r
sees 'restart web: done'
sees 'web    ready'
press S
sees 'web    stopped'
press s
sees 'web    ready'
press /
press mem
sees '/mem'
press Enter
sees 'Esc all'
press Escape
sees 'web    ready'
press '?'
sees 'PENDING: requests at the server'
press x
sees '── memory ──'

# Gone, and back.
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
sees 'GONE: not running'
press r
sees 'nothing was done'
start_daemon
sees 'web    backoff'

# Stopped, and going on.
kill -STOP "$daemon"
sees 'has not answered for'
kill -CONT "$daemon"
sees "process $daemon,"

# Another size while it runs.
tmux resize-window -t t -x 200 -y 60
sees 'REQUESTS ERRORS     PID'
tmux resize-window -t t -x 80 -y 24
sees 'j/k move'
press q
sees 'code 0'
restored

# Ended by a signal.
press "clear; '$muxloop' tui --control '$socket'; echo \"code \$?\"" Enter
sees 'j/k move'
kill -TERM "$(pgrep -f "^$muxloop tui --control $socket")"
sees 'code 143'
restored

# Nothing runs.
kill "$daemon"
wait "$daemon" 2>/dev/null || true
press "clear; '$muxloop' tui --control '$dir/none.sock'; echo \"code \$?\"" Enter
sees 'not running: there is no socket'
press q
sees 'code 0'
restored
# The terminal goes away.
start_daemon
press "clear; '$muxloop' tui --control '$socket'" Enter
sees 'j/k move'
pid=$(pgrep -f "^$muxloop tui --control $socket")
tmux kill-server
tries=0
while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || { echo 'not ok: it goes on without a terminal'; kill -9 "$pid"; exit 1; }
    sleep 0.1
done
echo 'ok: ends with its terminal'
echo 'all ok'
