#!/usr/bin/env bash
# crash.sh: the crash tests with long storms, each of at least $PUBSUB_STORM_KILLS killed processes (20,000 by default, so
# 100,000 in the five storms) and $PUBSUB_STORM_SECONDS (300); formix-pubsub's programs are in one.
source "$(dirname "$0")/lib.sh"
need_cargo
scripts/setup.sh test

export PUBSUB_STORM_SECONDS=${PUBSUB_STORM_SECONDS:-300}
export PUBSUB_STORM_KILLS=${PUBSUB_STORM_KILLS:-20000}
export PUBSUB_FORMIX_PYTHON=${PUBSUB_FORMIX_PYTHON:-$VENV/bin/python}
cargo test --features chaos --test crash -- --include-ignored --nocapture --test-threads=1
