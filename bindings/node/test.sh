#!/bin/sh
# Tests the Node package and its examples: bindings/node/test.sh
#
# It needs Node 20 or later with npm, which installs the packages that the lock files name (koffi, and for the tests
# typescript, zeromq, ffi-napi), without their install scripts; and a release build of the library (cargo build --release
# --lib), in CARGO_TARGET_DIR or the repository's target directory, or where PUBSUB_LIBRARY says. It ends non-zero unless
# all of it passed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
examples=$root/examples/node
PUBSUB_LIBRARY=${PUBSUB_LIBRARY:-${CARGO_TARGET_DIR:-$root/target}/release/libpubsub.so}
export PUBSUB_LIBRARY

fail() {
    echo "bindings/node/test.sh: $*" >&2
    exit 1
}

for tool in node npm; do
    command -v $tool >/dev/null || fail "$tool is missing; install Node.js 20 or later with npm (https://nodejs.org)"
done
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || fail "Node.js 20 or later is needed, this is $(node --version)"
[ -f "$PUBSUB_LIBRARY" ] || fail "there is no $PUBSUB_LIBRARY; run cargo build --release --lib in $root"

install_packages() { # DIRECTORY: once for each state of its lock file
    cd "$1"
    cmp -s package-lock.json node_modules/.installed && return
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || fail "npm could not install the packages of $1"
    cp package-lock.json node_modules/.installed
}

store=$(mktemp -d "$([ -d /dev/shm ] && echo /dev/shm/ || echo /tmp/)t-node-examples-XXXXXX")
scratch=$(mktemp -d)
background=
finish() {
    status=$?
    [ -z "$background" ] || kill $background 2>/dev/null || :
    rm -rf "$store" "$scratch"
    exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM

echo "== packages"
install_packages "$here"
install_packages "$examples"

echo "== types"
cd "$here"
node node_modules/typescript/bin/tsc --noEmit -p test/types
# Those of the gateway's client for browsers, since the compiler is here.
node node_modules/typescript/bin/tsc --noEmit -p ../../tests/gateway/browser/types

echo "== tests"
status=0
node --test --test-timeout=300000 --test-reporter=spec test/*.test.js >"$scratch/tests.out" 2>&1 || status=$?
cat "$scratch/tests.out"
[ $status -eq 0 ] || fail "tests failed"

echo "== examples"
export PUBSUB_HOME="$store"
cd "$scratch"

listening() { # FILE: until the program that writes it listens
    tries=0
    until grep -qs '^listening on' "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "an example does not begin to listen: $(cat "$1")"
        sleep 0.05
    done
}

same() { # WHAT EXPECTED FILE
    [ "$2" = "$(cat "$3")" ] || fail "$1 printed
$(cat "$3")
instead of
$2"
}

ends() { # WHAT PID ERRORS
    wait "$2" || fail "$1 ended with $?: $(cat "$3")"
}

node "$examples/subscribe.mjs" 'news.+' 2 >subscribe.out 2>subscribe.err &
subscriber=$!
node "$examples/ffi-napi.js" 'news.+' 2 >ffi.out 2>ffi.err &
ffi=$!
background="$subscriber $ffi"
listening subscribe.err
listening ffi.err
node "$examples/publish.js" news.sport 3:1 ground=home minute=90 >publish.out
same publish "2 channels took it" publish.out
node "$examples/publish.js" news.weather rain >publish.out
ends subscribe $subscriber subscribe.err
ends ffi-napi $ffi ffi.err
same subscribe 'news.sport {"ground": "home", "minute": 90} 3:1
  ground: home (string)
  minute: 90 (number)
news.weather {} rain' subscribe.out
same ffi-napi 'news.sport {"ground": "home", "minute": 90} 3:1
news.weather {} rain' ffi.out
background=

printf 'one\ntwo\n' | node "$examples/event-loop.js" 'loop.+' loop.lines >loop.out 2>loop.err || fail "event-loop: $(cat loop.err)"
same event-loop 'loop.lines: one
loop.lines: two' loop.out
node "$examples/reply.mjs" 'shout.=' 2 >reply.out 2>reply.err &
replier=$!
background=$replier
listening reply.err
node "$examples/request.js" shout.loud hello there >request.out || fail "request: $(cat request.out)"
same request 'hello: HELLO
there: THERE' request.out
ends reply $replier reply.err
background=
same reply 'shout.loud: answered
shout.loud: answered' reply.out
if node "$examples/request.js" shout.loud nobody 2>error.err; then fail "request was answered by nobody"; fi
node "$examples/history.js" kept.news place >history.out # makes the topic
node "$examples/publish.js" kept.news hello >/dev/null
node "$examples/publish.js" kept.news there >/dev/null
node "$examples/history.js" kept.news place >history.out
same history '1 hello
2 there' history.out
node "$examples/publish.js" kept.news again >/dev/null
node "$examples/history.js" kept.news place >history.out
same history '3 again' history.out
node "$examples/throughput.js" 2000
if node "$examples/publish.js" 'not a topic' x 2>error.err; then fail "publish took 'not a topic'"; fi
grep -q 'not a topic' error.err || fail "publish does not say which topic: $(cat error.err)"

node "$examples/subscribe.mjs" news.interrupted >interrupted.out 2>interrupted.err &
background=$!
listening interrupted.err
kill -INT $background
ends subscribe $background interrupted.err
background=

node "$here/bench/main.js" 0.02 >/dev/null
left=$(find "$store" -name queue) # a channel's FIFO
[ -z "$left" ] || fail "the examples left channels in the store: $left"
echo "bindings/node: all passed"
# As cargo says it, for the totals of scripts/test.sh.
passed=$(sed -n 's/^ℹ pass \([0-9]*\)$/\1/p' "$scratch/tests.out")
echo "test result: ok. $((passed + 10)) passed; 0 failed; the tests, and ten programs"
