#!/bin/sh
# Makes fuzz/corpus/TARGET anew: the seeds, what it held and what runs found (fuzz/found/TARGET), without
# the inputs that reach no new branch. Inputs kept for a bug (regression-*) stay whatever they reach.
#
#   tools/fuzz_corpus.sh TARGET
set -eu
cd "$(dirname "$0")/.."
target=${1:?which target?}
corpus=fuzz/corpus/$target
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/in" "$stage/out" "$corpus" "fuzz/found/$target"

one_per_line() { # PREFIX FILE: the bytes of PREFIX, then a line
    split -l 1 -a 4 "$2" "$stage/line-"
    for line in "$stage"/line-*; do
        { printf "$1"; cat "$line"; } >"$stage/in/$(basename "$2")-${line##*-}"
    done
    rm "$stage"/line-*
}

case $target in
    envelope)
        one_per_line '' fuzz/seeds/messages.jsonl
        one_per_line '' fuzz/seeds/hostile.jsonl ;;
    splice) # eight bytes choose the number and the edits
        one_per_line '\001\000\000\000\000\000\000\000' fuzz/seeds/messages.jsonl
        one_per_line '\112\043\177\311\252\125\301\003' fuzz/seeds/hostile.jsonl ;;
    line) # a byte of limit, a byte of piece length
        split -l 6 -a 4 fuzz/seeds/messages.jsonl "$stage/in/messages-"
        split -l 9 -a 4 fuzz/seeds/hostile.jsonl "$stage/in/hostile-"
        for lines in "$stage"/in/*; do
            { printf '\100\006'; cat "$lines"; } >"$lines.short"
            { printf '\377\177'; sed 's/$/\r/' "$lines"; } >"$lines.crlf"
            rm "$lines"
        done ;;
    config)
        cp fuzz/seeds/config/*.toml "$stage/in/" ;;
    http | sse | ws) # they begin with a byte of limits and a byte of piece length
        cp fuzz/seeds/wire/"$target"/* "$stage/in/" ;;
esac

cargo +nightly fuzz run "$target" "$stage/out" "$stage/in" "$corpus" "fuzz/found/$target" -- \
    -set_cover_merge=1 -use_counters=0 -timeout=10 2>"$stage/log" || { cat "$stage/log" >&2; exit 1; }
find "$corpus" -type f ! -name 'regression-*' -delete
cp "$stage"/out/* "$corpus/"
echo "$corpus: $(ls "$corpus" | wc -l) inputs, $(cat "$corpus"/* | wc -c) bytes"
