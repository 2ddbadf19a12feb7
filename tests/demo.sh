#!/usr/bin/env bash
# The demo succeeds, fails when a ledger is wrong, and ends cleanly when interrupted.
source "$(dirname "$0")/lib.sh"

store_is_empty() { [ -z "$(find "$PUBSUB_HOME" -mindepth 1 -maxdepth 1 -name 'demo-*')" ]; }
fails_and_says() {
    local words=$1 status=0
    shift
    "$@" >"$scratch/said" 2>&1 || status=$?
    cat "$scratch/said"
    [ "$status" -eq 1 ] && grep -q "$words" "$scratch/said" && grep -q 'The demo FAILED' "$scratch/said"
}

# The demo's programs that use this test's store: each was given a ledger below pubsub-demo-*.
programs() {
    local process found=1
    for process in /proc/[0-9]*; do
        if grep -qs 'pubsub-demo-' "$process/cmdline" && grep -qsF "PUBSUB_HOME=$PUBSUB_HOME" "$process/environ"; then
            printf '%s ' "$process" && tr '\0' ' ' <"$process/cmdline" && echo
            found=0
        fi
    done
    return "$found"
}

# Interrupted when all programs run and publish: they end, and their channels go.
interrupted() {
    local status=0 line demo
    coproc DEMO { exec scripts/demo.sh --seconds 60 2>&1; }
    demo=$DEMO_PID
    exec {demo_out}<&"${DEMO[0]}"
    while IFS= read -r -t 300 line <&"$demo_out"; do
        [[ "$line" != *.host.*.cpu.* ]] || break
    done
    programs || { echo "the demo runs no program: $line"; return 1; }
    kill -INT "$demo"
    timeout 300 cat <&"$demo_out" || return 1
    wait "$demo" || status=$?
    [ "$status" -eq 130 ] || { echo "exit code $status"; return 1; }
    ! programs || { echo "still running"; return 1; }
    store_is_empty
}

check "the demo runs, in a private store, in full" scripts/demo.sh
sed 's/^/        /' "$scratch/output"
check "and leaves nothing" store_is_empty
check "a message missing from a ledger is found" fails_and_says '1 lost' env DEMO_SPOIL=lost scripts/demo.sh --seconds 0.3
check "a message doubled in a ledger is found" fails_and_says '1 received twice' \
    env DEMO_SPOIL=twice scripts/demo.sh --seconds 0.3
check "interrupted, it ends its programs and leaves nothing" interrupted
finish
