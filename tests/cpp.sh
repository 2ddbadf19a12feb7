#!/usr/bin/env bash
# pubsub.hpp and the programs in bindings/c/README.md: compiled by g++ and clang++ with every warning an error; its tests, plain and under valgrind.
source "$(dirname "$0")/lib.sh"
use_stage

MEMCHECK="valgrind --quiet --error-exitcode=9 --leak-check=full --fair-sched=try
    --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect"

# builds COMPILER STANDARD TEST: with a second file where there is one, to see that they can be linked. DWARF 4: valgrind
# of Debian 12 does not read what newer compilers write by default.
builds() {
    local sources=("tests/cpp/$3.cpp")
    [ "$3" != traffic ] || sources+=(tests/cpp/other_unit.cpp)
    CXX=$1 compile_cxx "$scratch/$3" "${sources[@]}" "-std=$2" -gdwarf-4 -pthread
}

# in_a_store COMMAND...: that is empty before and after.
in_a_store() {
    local PUBSUB_HOME
    PUBSUB_HOME=$(mktemp -d "$STORES/store.XXXXXX")
    export PUBSUB_HOME
    "$@"
    [ -z "$(find "$PUBSUB_HOME" -mindepth 1 -maxdepth 1 -not -name '.*' -not -name tmp)" ]
}
STORES=$PUBSUB_HOME

compilers=("${CXX:-g++}")
if have clang++; then
    compilers+=(clang++)
else
    say "clang++ is not there: checked with ${compilers[0]} only"
fi
for compiler in "${compilers[@]}"; do
    # The last one built is the one that runs, in the standard that the header promises.
    for standard in c++20 c++17; do
        for program in values traffic topics misuse; do
            check "$compiler compiles $program as $standard without a warning" builds "$compiler" $standard $program
        done
    done
    for program in values traffic topics misuse; do
        check "$program holds ($compiler)" in_a_store timeout 600 "$scratch/$program"
    done
done
for program in values traffic topics misuse; do
    # shellcheck disable=SC2086  # words
    check "valgrind finds no error and no leak in $program" in_a_store timeout 600 $MEMCHECK "$scratch/$program"
done

# readme LANGUAGE: the program in that language in the README.
readme() { sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/{ /^\`\`\`/!p }" bindings/c/README.md >"$scratch/first.$1"; }
first_program() {
    local language=$1 wanted=$2
    shift 2
    readme "$language"
    "$@" "$scratch/first" "$scratch/first.$language"
    "$scratch/first" >"$scratch/printed"
    same "$scratch/printed" "$wanted"
}
check "the README's program in C compiles and runs" in_a_store first_program c "news.sports: 3:1" compile
check "the README's program in C++ compiles and runs" in_a_store first_program cpp "news.sports: 3:1, minute 88" compile_cxx
finish
