#!/bin/sh
# Tests the Go package and its examples: bindings/go/test.sh
#
# It needs a release build of the library (cargo build --release --lib), in CARGO_TARGET_DIR or the repository's target
# directory; PUBSUB_LIB_DIR names another directory with libpubsub.so and libpubsub.a. It installs nothing but apt's
# golang-go, and that only where Go is missing. It ends non-zero unless all of it passed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
libraries=${PUBSUB_LIB_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}

fail() {
    echo "bindings/go/test.sh: $*" >&2
    exit 1
}

install() { # PACKAGE COMMAND
    command -v "$2" >/dev/null && return
    command -v apt-get >/dev/null || fail "$2 is missing; install it (Debian's package $1)"
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "$2 is missing; as root: apt-get install $1"
        as_root=sudo
    fi
    { $as_root apt-get install -y --no-install-recommends "$1" ||
        { $as_root apt-get update && $as_root apt-get install -y --no-install-recommends "$1"; }; } >&2 ||
        fail "$2 is missing, and apt-get could not install $1"
    command -v "$2" >/dev/null || fail "$1 is installed, and still there is no $2"
}

install golang-go go
install golang-go gofmt
install gcc gcc
install pkg-config pkg-config
for library in libpubsub.so libpubsub.a; do
    [ -f "$libraries/$library" ] || fail "there is no $libraries/$library; run cargo build --release --lib in $root"
done

# What `make install` would make, so that the tests go a user's way: pkg-config and the shared library.
stage=$(mktemp -d)
store=$(mktemp -d "$([ -d /dev/shm ] && echo /dev/shm/ || echo /tmp/)t-go-examples-XXXXXX")
background=
finish() {
    status=$?
    [ -z "$background" ] || kill $background 2>/dev/null || :
    rm -rf "$stage" "$store"
    exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM
ln -s "$libraries/libpubsub.so" "$stage/libpubsub.so"
ln -s libpubsub.so "$stage/libpubsub.so.0"
cat >"$stage/pubsub.pc" <<EOF
Name: pubsub
Description: libpubsub, not installed
Version: 0
Cflags: -I$root/include
Libs: -L$stage -lpubsub
EOF
export PKG_CONFIG_PATH="$stage" LD_LIBRARY_PATH="$stage" PUBSUB_HOME="$store"
# Go does not see what pkg-config answers when it looks into its cache, and would link with a stage that is gone. These
# flags it sees.
export CGO_LDFLAGS="-g -O2 -L$stage"
# Nothing is fetched: there is no dependency.
export GOPROXY=off GOTOOLCHAIN=local

cd "$here"
echo "== gofmt, vet"
unformatted=$(gofmt -l "$here" "$root/examples/go" "$root/examples/demo" "$root/tests/matrix")
[ -z "$unformatted" ] || fail "not as gofmt writes it: $unformatted"
go vet ./...
for programs in examples/go examples/demo/go tests/matrix/go; do
    (cd "$root/$programs" && go vet ./...)
done

echo "== tests, with the race detector"
# -count=1: Go does not see that the library changed.
go test -race -count=1 -timeout 500s ./...

echo "== examples, with the library inside"
# They must not need the shared one.
unset LD_LIBRARY_PATH PKG_CONFIG_PATH CGO_LDFLAGS
(cd "$root/examples/go" && CGO_LDFLAGS="-L$libraries" go build -tags pubsub_static -o "$stage/" ./...)
(cd "$here" && CGO_LDFLAGS="-L$libraries" go build -tags pubsub_static -o "$stage/bench" ./bench)
cd "$stage"

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

./subscribe 'news.+' 2 >subscribe.out 2>subscribe.err &
subscriber=$!
./eventloop >eventloop.out 2>eventloop.err &
loop=$!
background="$subscriber $loop"
listening subscribe.err
listening eventloop.err
./publish news.sport 3:1 ground=home minute=90 >publish.out
same publish "1 channels took it" publish.out
./publish news.weather rain >/dev/null
./publish loop.sensor.door open >/dev/null
wait $subscriber || fail "subscribe ended with $?: $(cat subscribe.err)"
same subscribe 'news.sport 3:1 {"ground": "home", "minute": 90}
  ground: home (string)
  minute: 90 (int64)
news.weather rain {}' subscribe.out
# Two streams have no order between them: the reading first.
tries=0
until grep -qs door eventloop.out; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "eventloop does not print its reading: $(cat eventloop.out eventloop.err)"
    sleep 0.05
done
./publish loop.control stop >/dev/null
wait $loop || fail "eventloop ended with $?: $(cat eventloop.err)"
same eventloop 'loop.sensor.door: open
stopped after 1 readings' eventloop.out
background=
./reply 'shout.=' 2 >reply.out 2>reply.err &
background=$!
listening reply.err
./request shout.loud hello there >request.out
same request 'hello: HELLO
there: THERE' request.out
wait $background || fail "reply ended with $?: $(cat reply.err)"
background=
same reply 'shout.loud: answered
shout.loud: answered' reply.out
if ./request shout.loud nobody 2>error.err; then fail "request was answered by nobody"; fi
./history kept.news place >history.out # makes the topic
./publish kept.news hello >/dev/null
./publish kept.news there >/dev/null
./history kept.news place >history.out
same history '1 hello
2 there' history.out
./publish kept.news again >/dev/null
./history kept.news place >history.out
same history '3 again' history.out
./throughput 2000
if ./publish 'not a topic' x 2>error.err; then fail "publish took 'not a topic'"; fi
./bench 0.02 >/dev/null

./subscribe news.interrupted >interrupted.out 2>interrupted.err &
background=$!
listening interrupted.err
kill -INT $background
wait $background || fail "subscribe ended with $? by Ctrl-C: $(cat interrupted.err)"
background=
left=$(find "$store" -name queue) # a channel's FIFO
[ -z "$left" ] || fail "the examples left channels in the store: $left"
echo "bindings/go: all passed"
