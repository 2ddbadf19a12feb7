#!/usr/bin/env bash
# bench.sh [OPTION of cargo bench]...: the benchmarks, with formix-pubsub to compare with.
source "$(dirname "$0")/lib.sh"
scripts/setup.sh demo
export PUBSUB_FORMIX_PYTHON=$VENV/bin/python
exec cargo bench --benches "$@"
