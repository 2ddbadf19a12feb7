#!/usr/bin/env bash
# demo.sh [OPTION of examples/demo/run.py]...: sets up, builds and runs the demo.
source "$(dirname "$0")/lib.sh"

scripts/setup.sh demo
say "building the library, the command and the demo's programs"
use_stage
rust=$(build_examples demo_subscriber)
mkdir -p build/demo
compile build/demo/feed examples/demo/feed.c examples/demo/readings.c
compile build/demo/subscriber examples/demo/subscriber.c
cp "$rust/demo_subscriber" build/demo/subscriber-rust

exec "$VENV/bin/python" examples/demo/run.py --programs build/demo --library "$LIBPUBSUB" "$@"
