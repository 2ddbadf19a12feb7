#!/usr/bin/env bash
# test.sh [STEP]...: the set-up, then every check and test, or only the named steps. `test.sh --list` names them.
#
# A step is a line of STEPS: its name, the seconds it may take, its command. To add one, add a line. What a step
# prints like cargo ("test result: ok. 3 passed; 0 failed; ...") is added to the totals; a step without such a line
# counts as one. The last line says "N passed, N failed"; the exit code is non-zero if anything failed.

# Tests send signals, some of which whoever started this may ignore (nohup, a job in the background), and so would everything here.
if [ -n "$(trap -p)" ]; then
    exec env --default-signal "$0" "$@"
fi

source "$(dirname "$0")/lib.sh"

STEPS="
fmt       120   scripts/lint.sh fmt
clippy    900   scripts/lint.sh clippy
header    120   scripts/lint.sh header
scripts   60    scripts/lint.sh scripts
cargo     1800  cargo test --features serve --no-fail-fast
crash     900   cargo test --features chaos --test crash
build     900   scripts/build.sh
model     900   cargo test --release --manifest-path models/Cargo.toml
install   900   tests/install.sh
cpp       900   tests/cpp.sh
examples  600   tests/examples.sh
python    600   env PUBSUB_LIBRARY=$PWD/build/release/libpubsub.so bindings/python/test.sh
go        600   env PUBSUB_LIB_DIR=$PWD/build/release bindings/go/test.sh
node      900   env PUBSUB_LIBRARY=$PWD/build/release/libpubsub.so bindings/node/test.sh
matrix    900   tests/matrix.sh
gateway   900   tests/gateway.sh
checker   60    build/venv/bin/python tests/demo_checker.py
demo      600   tests/demo.sh
"

passed=0 failed=0 failures=()
logs=build/test-logs

# count LOG STATUS: adds a step's results to the totals.
count() {
    local p f
    read -r p f < <(awk '/^test result: / {
        for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i - 1); if ($i == "failed;") f += $(i - 1) }
    } END { print p + 0, f + 0 }' "$1")
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
    elif [ "$2" -eq 0 ] && [ "$p" -eq 0 ]; then
        p=1
    fi
    passed=$((passed + p)) failed=$((failed + f))
}

run_step() {
    local name=$1 limit=$2 status=0 began=$SECONDS
    shift 2
    say "$name: $*"
    # shellcheck disable=SC2068  # the command is words
    timeout --kill-after=20 "$limit" $@ </dev/null 2>&1 | tee "$logs/$name.log" || status=$?
    [ "$status" -ne 124 ] || say "$name: no end after $limit s, stopped"
    count "$logs/$name.log" "$status"
    if [ "$status" -eq 0 ]; then
        say "$name: ok ($((SECONDS - began)) s)"
    else
        say "$name: FAILED, exit code $status ($((SECONDS - began)) s); its output: $logs/$name.log"
        failures+=("$name")
    fi
}

if [ "${1:-}" = --list ]; then
    awk 'NF { print $1 }' <<<"$STEPS"
    exit
fi
for wanted in "$@"; do
    awk -v name="$wanted" '$1 == name { found = 1 } END { exit !found }' <<<"$STEPS" ||
        die "no step is called '$wanted'; see: scripts/test.sh --list"
done

scripts/setup.sh test
mkdir -p "$logs"
export PUBSUB_FORMIX_PYTHON=$VENV/bin/python # an interpreter that has formix-pubsub, for the tests of every language

while read -r name limit command; do
    [ -n "$name" ] || continue
    if [ $# -eq 0 ] || [[ " $* " == *" $name "* ]]; then
        run_step "$name" "$limit" "$command"
    fi
done <<<"$STEPS"

[ ${#failures[@]} -eq 0 ] || say "failed: ${failures[*]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
