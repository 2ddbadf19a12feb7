#!/usr/bin/env bash
# crash.sh: the crash tests with long storms, each of $PUBSUB_STORM_SECONDS (300 by default), formix-pubsub's programs in one.
source "$(dirname "$0")/lib.sh"
need_cargo
scripts/setup.sh test

export PUBSUB_STORM_SECONDS=${PUBSUB_STORM_SECONDS:-300}
export PUBSUB_FORMIX_PYTHON=${PUBSUB_FORMIX_PYTHON:-$VENV/bin/python}
cargo test --features chaos --test crash -- --include-ignored --nocapture --test-threads=1
