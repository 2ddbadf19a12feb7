#!/usr/bin/env bash
# gateway.sh: `pubsub serve` as its clients meet it: the dashboard in a browser, and schemathesis, which tries what the OpenAPI
# document allows and what it does not. (The tests in tests/gateway/ run with those of cargo.)
source "$(dirname "$0")/lib.sh"

cargo build --features serve --bin pubsub
PUBSUB=$(target_dir)/debug/pubsub
export PUBSUB

# A C program publishes to the page, where its library is staged already.
if [ -f "$STAGE/lib/libpubsub.so" ]; then
    use_stage
    compile "$scratch/sender" tests/gateway/sender.c
    export SENDER=$scratch/sender
fi
node tests/gateway/browser/dashboard.mjs || checks_failed=$((checks_failed + 1))

# schemathesis: no answer that the document does not have, none of the server's faults. Streams have no end to wait for.
try_description() {
    "$PUBSUB" --quiet serve --bind 127.0.0.1:0 --no-recorder >"$scratch/address" &
    local gateway=$! url
    # shellcheck disable=SC2064  # now
    trap "kill $gateway" EXIT
    until url=$(sed -n 's/^listening on //p' "$scratch/address") && [ -n "$url" ]; do sleep 0.05; done
    curl -sf -X POST "$url/topics" -H 'Content-Type: application/json' -d '{"name":"a"}'
    "$VENV/bin/schemathesis" run "$url/openapi.json" --exclude-path '/topics/{name}/events' --exclude-path /ws \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        --max-examples 50 --generation-deterministic --no-color
    curl -sf "$url/health"
}
check "schemathesis finds no answer that the OpenAPI document does not have" try_description
finish
