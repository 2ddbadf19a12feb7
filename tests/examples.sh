#!/usr/bin/env bash
# Every example compiles without a warning and does what it says, with programs of its own and the other language.
source "$(dirname "$0")/lib.sh"
use_stage

c=$scratch/c
cpp=$scratch/cpp
rust=$(build_examples)
mkdir "$c" "$cpp"

# Of the examples themselves; the library's are clippy's business.
no_warnings() {
    touch examples/rust/*.rs
    ! build_examples 2>&1 | grep -B 3 -A 12 'examples/rust/'
}

for example in publish subscribe request reply history event_loop throughput; do
    check "examples/c/$example.c compiles without a warning" compile "$c/$example" "examples/c/$example.c"
    check "examples/cpp/$example.cpp compiles without a warning" compile_cxx "$cpp/$example" "examples/cpp/$example.cpp"
done
check "examples/rust compile without a warning" no_warnings
[ "$checks_failed" -eq 0 ] || finish

# hears NAME PUBLISHER SUBSCRIBER: two messages from one to the other; the subscriber ends by itself after two.
hears() {
    start_listening "$1" "$3" 'news.=' 2
    "$2" news.sports 'first one' second >"$scratch/published"
    same "$scratch/published" "1 channels took 'first one'
1 channels took 'second'"
    end_listening
    close_input
    same "$scratch/$1" 'news.sports {"number": 1} first one
news.sports {"number": 2} second'
}

# answers NAME REQUESTER REPLIER: two questions; the replier ends by itself after two. Then there is nobody.
answers() {
    start_listening "$1" "$3" 'shout.=' 2
    "$2" shout.loud 'first one' second >"$scratch/asked"
    same "$scratch/asked" 'first one: FIRST ONE
second: SECOND'
    end_listening
    close_input
    same "$scratch/$1" 'shout.loud: answered
shout.loud: answered'
    ! "$2" shout.loud nobody >"$scratch/asked" 2>&1
    grep -qi 'nobody listens' "$scratch/asked"
    store_is_empty
}

# keeps NAME PROGRAM OTHER: what is published between two runs is printed by the second; either goes on where the other stopped.
keeps() {
    local topic=kept.$1 place=$scratch/$1.place
    news() { "$1" "$topic" "$place" >"$scratch/news"; }
    news "$2"
    [ ! -s "$scratch/news" ]
    "$c/publish" "$topic" 'first one' second >"$scratch/published"
    news "$2"
    same "$scratch/news" '1 first one
2 second'
    "$c/publish" "$topic" third >"$scratch/published"
    news "$3"
    same "$scratch/news" '3 third'
    news "$2"
    [ ! -s "$scratch/news" ]
    "$STAGE/bin/pubsub" topics delete "$topic"
    news "$2"
    "$c/publish" "$topic" fourth >"$scratch/published"
    news "$3"
    same "$scratch/news" '(the topic was created anew)
1 fourth'
    "$c/publish" "$topic" {1..1005} >"$scratch/published"
    news "$2"
    [ "$(head -n 1 "$scratch/news")" = '(5 before this are not kept any more)' ]
    [ "$(wc -l <"$scratch/news")" = 1001 ]
    "$STAGE/bin/pubsub" topics delete "$topic"
    store_is_empty
}

# ends_on_interrupt: a subscriber that waits without end closes its channel when it is told to.
ends_on_interrupt() {
    start_listening "$1" "$2" 'news.+'
    kill -INT "$listener"
    end_listening
    close_input
    store_is_empty
}

ends_with_its_input() {
    start_listening "$1" "$2" 'news.+'
    close_input
    end_listening
    store_is_empty
}

# loops NAME PROGRAM: it publishes what it reads, and receives that and what others publish.
loops() {
    start_listening "$1" "$2" 'room.=' room.one
    "$c/publish" room.two 'from outside' >"$scratch/published"
    printf 'hello\na second line\n' >&"$listener_in"
    close_input
    end_listening
    same "$scratch/$1" 'room.two: from outside
room.one: hello
room.one: a second line'
    store_is_empty
}

measures() { [[ "$("$@")" =~ ^3000\ messages\ of\ 100\ bytes:\ published\ [0-9]+/s,\ all\ received\ [0-9]+/s$ ]]; }

# No channel is left: nothing in the store but what begins with a dot, and the directory for what is half made.
store_is_empty() { [ -z "$(find "$PUBSUB_HOME" -mindepth 1 -maxdepth 1 -not -name '.*' -not -name tmp)" ]; }

check "C hears C" hears c-c "$c/publish" "$c/subscribe"
check "C hears Rust" hears rust-c "$rust/publish" "$c/subscribe"
check "Rust hears C" hears c-rust "$c/publish" "$rust/subscribe"
check "Rust hears Rust" hears rust-rust "$rust/publish" "$rust/subscribe"
check "C++ hears C++" hears cpp-cpp "$cpp/publish" "$cpp/subscribe"
check "C++ hears C" hears c-cpp "$c/publish" "$cpp/subscribe"
check "Rust hears C++" hears cpp-rust "$cpp/publish" "$rust/subscribe"
check "C: subscribe ends on Ctrl-C and leaves nothing" ends_on_interrupt c-interrupt "$c/subscribe"
check "C++: subscribe ends on Ctrl-C and leaves nothing" ends_on_interrupt cpp-interrupt "$cpp/subscribe"
check "Rust: subscribe ends with its input and leaves nothing" ends_with_its_input rust-end "$rust/subscribe"
check "C answers C" answers c-c-rpc "$c/request" "$c/reply"
check "Rust answers C" answers rust-c-rpc "$c/request" "$rust/reply"
check "C++ answers Rust" answers cpp-rust-rpc "$rust/request" "$cpp/reply"
check "C answers C++" answers c-cpp-rpc "$cpp/request" "$c/reply"
check "C: reply ends on Ctrl-C and leaves nothing" ends_on_interrupt c-reply-interrupt "$c/reply"
check "C++: reply ends on Ctrl-C and leaves nothing" ends_on_interrupt cpp-reply-interrupt "$cpp/reply"
check "Rust: reply ends with its input and leaves nothing" ends_with_its_input rust-reply-end "$rust/reply"
check "C goes on where C++ stopped" keeps cpp-c-history "$cpp/history" "$c/history"
check "C++ goes on where Rust stopped" keeps rust-cpp-history "$rust/history" "$cpp/history"
check "Rust goes on where C stopped" keeps c-rust-history "$c/history" "$rust/history"
check "C: event_loop" loops c-loop "$c/event_loop"
check "C++: event_loop" loops cpp-loop "$cpp/event_loop"
check "Rust: event_loop" loops rust-loop "$rust/event_loop"
check "C: throughput" measures "$c/throughput" 3000 100
check "C++: throughput" measures "$cpp/throughput" 3000 100
check "Rust: throughput" measures "$rust/throughput" 3000 100
check "nothing is left in the store" store_is_empty
finish
