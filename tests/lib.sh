# Shared by the shell tests; sourced. Counts checks, prints the totals as cargo does, keeps a store of its own.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

checks_passed=0 checks_failed=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/pubsub-test.XXXXXX")
if [ -d /dev/shm ]; then
    PUBSUB_HOME=$(mktemp -d /dev/shm/pubsub-test.XXXXXX)
else
    PUBSUB_HOME=$(mktemp -d "$scratch/store.XXXXXX")
fi
export PUBSUB_HOME
trap 'rm -rf "$scratch" "$PUBSUB_HOME"' EXIT

# check WHAT COMMAND...: one promise; the command's output is shown when it fails.
check() {
    local what=$1 status
    shift
    set +e # not `if`: under a condition, `set -e` would be without effect inside a function
    (
        set -e
        "$@"
    ) >"$scratch/output" 2>&1
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        checks_passed=$((checks_passed + 1))
        printf 'ok      %s\n' "$what"
    else
        checks_failed=$((checks_failed + 1))
        printf 'FAILED  %s (exit code %d): %s\n' "$what" "$status" "$*"
        sed 's/^/        /' "$scratch/output"
    fi
}

# same FILE TEXT: the file holds exactly that.
same() { diff <(printf '%s\n' "$2") "$1"; }

# finish: the totals; the exit code says whether all passed.
finish() {
    local verdict=ok
    [ "$checks_failed" -eq 0 ] || verdict=FAILED
    printf 'test result: %s. %d passed; %d failed;\n' "$verdict" "$checks_passed" "$checks_failed"
    [ "$checks_failed" -eq 0 ]
}

# start_listening NAME COMMAND...: in the background; returns when it says "listening on". Its output goes to
# $scratch/NAME, its standard input stays open until stop_listening. One at a time.
start_listening() {
    local name=$1 line
    shift
    coproc LISTENER { exec "$@" 2>&1; }
    listener=$LISTENER_PID
    exec {listener_in}>&"${LISTENER[1]}" {listener_out}<&"${LISTENER[0]}"
    exec {LISTENER[1]}>&- {LISTENER[0]}<&-
    listener_log=$scratch/$name
    IFS= read -r -t 300 line <&"$listener_out" || line="(nothing)"
    case $line in
        "listening on "*) ;;
        *) die "$name said '$line' instead of listening" ;;
    esac
}

# What it printed after "listening on" is in $scratch/NAME; the answer is its exit code.
end_listening() {
    local status=0
    timeout 300 cat <&"$listener_out" >"$listener_log" || { status=$?; kill -KILL "$listener"; }
    exec {listener_out}<&-
    wait "$listener" || status=$?
    return "$status"
}

close_input() { exec {listener_in}>&-; }
