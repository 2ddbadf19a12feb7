#!/usr/bin/env bash
# Removes what was built here. What `make setup` installed in the system stays.
source "$(dirname "$0")/lib.sh"
have cargo && cargo clean
rm -rf build
