# Shared by the scripts beside it; sourced, never run. Sets ROOT and changes to it.
# shellcheck shell=bash

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

VENV=$ROOT/build/venv       # Python with formix-pubsub
OUT=$ROOT/build/release     # what `make` built, for `make install` (which may run where there is no cargo)
STAGE=$ROOT/build/stage     # an installation of it, for examples, demo and tests

say() { printf '==> %s\n' "$*" >&2; }
die() { printf '%s: error: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

need_cargo() {
    have cargo || die "cargo was not found: install Rust 1.85 or newer (https://rustup.rs), or add it to PATH" \
        "(with sudo: sudo env \"PATH=\$PATH\" make ...)"
}

# Where cargo puts what it builds: CARGO_TARGET_DIR, its configuration, or ./target.
target_dir() {
    local dir
    dir=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    [ -n "$dir" ] || die "cargo metadata did not say where the target directory is"
    printf '%s\n' "$dir"
}

# The package's version, from the one place that states it.
version() {
    local v
    v=$(sed -n 's/^version = "\([0-9.]*\)"$/\1/p' Cargo.toml | head -n 1)
    [ -n "$v" ] || die "Cargo.toml states no version"
    printf '%s\n' "$v"
}

# An installation below build/stage, and the environment in which programs are compiled against it and run.
use_stage() {
    scripts/install.sh install "$STAGE" '' >/dev/null
    export PKG_CONFIG_PATH=$STAGE/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
    export LIBPUBSUB=$STAGE/lib/libpubsub.so
}

# build_examples [NAME]: builds the Rust examples, or one, and says where they are.
build_examples() {
    local target
    target=$(target_dir)
    if [ $# -gt 0 ]; then set -- --example "$1"; else set -- --examples; fi
    cargo build --profile example "$@" >&2
    printf '%s\n' "$target/example/examples"
}

CXX_WARNINGS="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"

# compile_cxx PROGRAM SOURCE... [FLAG...]: as compile does, in C++17. CXX names the compiler.
compile_cxx() {
    local program=$1
    shift
    # shellcheck disable=SC2046,SC2086  # words
    "${CXX:-c++}" -std=c++17 -O2 $CXX_WARNINGS -o "$program" "$@" $(pkg-config --cflags --libs pubsub) \
        -Wl,-rpath,"$STAGE/lib"
}

# compile PROGRAM SOURCE...: a C program against the staged library. Warnings are errors: the examples teach.
compile() {
    local program=$1
    shift
    # shellcheck disable=SC2046  # pkg-config's answer is words
    "${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -o "$program" "$@" $(pkg-config --cflags --libs pubsub) \
        -Wl,-rpath,"$STAGE/lib"
}
