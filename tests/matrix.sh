#!/usr/bin/env bash
# Every language publishes to and receives from every other and formix-pubsub, and answers its requests: see tests/matrix/README.md.
source "$(dirname "$0")/lib.sh"

scripts/setup.sh demo
say "building the matrix's programs"
use_stage
rust=$(build_examples matrix_peer)
compile "$scratch/c" tests/matrix/peer.c
compile_cxx "$scratch/cpp" tests/matrix/peer.cpp
compile_go "$scratch/go" tests/matrix/go

for part in request reply; do
    build_examples "$part" >/dev/null
    compile "$scratch/c-$part" "examples/c/$part.c"
    compile_cxx "$scratch/cpp-$part" "examples/cpp/$part.cpp"
    compile_go "$scratch/go-$part" "examples/go/$part"
done
# Where they find the package without its being installed.
mkdir -p "$scratch/node/node_modules"
cp examples/node/request.js examples/node/reply.mjs "$scratch/node"
ln -s "$ROOT/bindings/node" "$scratch/node/node_modules/pubsub"

# Every language's requests, answered by every language.
requests() {
    local node="env PUBSUB_LIBRARY='$LIBPUBSUB' node '$scratch/node"
    local python="env PUBSUB_LIBRARY='$LIBPUBSUB' PYTHONPATH='$ROOT/bindings/python/src' PYTHONDONTWRITEBYTECODE=1 python3"
    local formix="'$VENV/bin/python' tests/matrix/formix_request.py"
    python3 tests/matrix/requests.py \
        C "$scratch/c-request" "$scratch/c-reply" \
        C++ "$scratch/cpp-request" "$scratch/cpp-reply" \
        Rust "$rust/request" "$rust/reply" \
        Go "$scratch/go-request" "$scratch/go-reply" \
        Node "$node/request.js'" "$node/reply.mjs'" \
        Python "$python examples/python/request.py" "$python examples/python/reply.py" \
        formix-pubsub "$formix request" "$formix reply"
}

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
    PUBSUB_TRANSPORT=$transport requests || status=1 # as this does
done
finish || status=1
exit "$status"
