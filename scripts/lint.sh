#!/usr/bin/env bash
# lint.sh [fmt|clippy|header|scripts]...: all of them by default.
source "$(dirname "$0")/lib.sh"
need_cargo

lint_fmt() { cargo fmt --all --check; }

lint_clippy() { cargo clippy --all-targets --all-features -- -D warnings; }

# pubsub.h by itself, twice, as the strictest C99 and as C++17; each header of pubsub.hpp likewise.
lint_header() {
    local flags=(-pedantic -Wall -Wextra -Werror -fsyntax-only -Iinclude)
    printf '#include "pubsub.h"\n#include "pubsub.h"\n' | "${CC:-cc}" -x c -std=c99 "${flags[@]}" -
    printf '#include "pubsub.h"\n#include "pubsub.h"\n' | "${CXX:-c++}" -x c++ -std=c++17 "${flags[@]}" -
    local header
    # shellcheck disable=SC2086  # words
    for header in pubsub.hpp pubsub/{values,headers,message,channel,publisher}.hpp; do
        printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
            "${CXX:-c++}" -x c++ -std=c++17 $CXX_WARNINGS "${flags[@]}" -
    done
}

lint_scripts() {
    local script
    for script in scripts/*.sh tests/*.sh .ci/run; do
        bash -n "$script"
    done
    python3 -c 'import sys
for name in sys.argv[1:]:
    compile(open(name, encoding="utf-8").read(), name, "exec")' examples/demo/*.py
}

[ $# -gt 0 ] || set -- fmt clippy header scripts
for check in "$@"; do
    say "lint: $check"
    "lint_$check"
done
