#!/usr/bin/env bash
# Every language publishes to and receives from every other and formix-pubsub: see tests/matrix/README.md.
source "$(dirname "$0")/lib.sh"

scripts/setup.sh demo
say "building the matrix's programs"
use_stage
rust=$(build_examples matrix_peer)
compile "$scratch/c" tests/matrix/peer.c
compile_cxx "$scratch/cpp" tests/matrix/peer.cpp
compile_go "$scratch/go" tests/matrix/go

# The matrix of the named languages; all by default.
matrix() {
    declare -A commands=(
        [C]="$scratch/c"
        [C++]="$scratch/cpp"
        [Rust]="$rust/matrix_peer"
        [Go]="$scratch/go"
        [Node]="env PUBSUB_LIBRARY='$LIBPUBSUB' node tests/matrix/peer.js"
        [Python]="env PUBSUB_LIBRARY='$LIBPUBSUB' PYTHONPATH='$ROOT/bindings/python/src' PYTHONDONTWRITEBYTECODE=1 python3 tests/matrix/peer.py"
        [formix-pubsub]="'$VENV/bin/python' tests/matrix/peer.py"
    )
    local language words=()
    [ $# -gt 0 ] || set -- C C++ Rust Go Node Python formix-pubsub
    for language in "$@"; do
        words+=("$language=${commands[$language]}")
    done
    python3 tests/matrix/matrix.py "${words[@]}"
}

finds() { # HOW WORDS: damage is found, and said
    ! MATRIX_SPOIL=$1 matrix C Python >"$scratch/said" && grep "$2" "$scratch/said"
}

check "a damaged content is found" finds content 'C to Python, content text: .* wrong content'
check "a header of another type is found" finds headers 'Python to C, content text: .* headers'
status=0
for transport in ring files; do
    say "the matrix, channels on the transport '$transport'"
    PUBSUB_TRANSPORT=$transport matrix || status=1 # it prints its own totals
done
finish || status=1
exit "$status"
