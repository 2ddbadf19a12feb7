#!/usr/bin/env bash
# bench.sh [ring|files] [--check] [--quick]: the benchmarks, both by default: the ring transport through the C ABI next to what
# the machine allows, and the files transport next to formix-pubsub and bare system calls. See benches/README.md.
source "$(dirname "$0")/lib.sh"
need_cargo

what="ring files"
case "${1:-}" in
ring | files)
    what=$1
    shift
    ;;
esac

bench_ring() {
    scripts/build.sh
    use_stage
    mkdir -p build/bench
    compile build/bench/ring benches/ring/*.c
    build/bench/ring "$@"
}

bench_files() {
    scripts/setup.sh demo
    PUBSUB_FORMIX_PYTHON=$VENV/bin/python cargo bench --bench files -- "$@"
}

status=0
for bench in $what; do
    "bench_$bench" "$@" || status=$?
done
exit "$status"
