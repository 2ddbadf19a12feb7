#!/usr/bin/env python3
"""Measures this package against pyzmq and formix-pubsub, on this machine, in one run, and prints the ratios.

    pip install pyzmq
    python bench.py [--count N] [--formix DIRECTORY]

DIRECTORY is where ``pip install --target`` put formix-pubsub, whose package has the same name; without it formix is
left out, and so is pyzmq where it is not installed. Each figure is the best of some runs of one process that sends and
receives 64 bytes: the cost of the calls, without a second process's scheduling. They take turns, since a machine is not as
fast at one moment as at the next. On a machine that is busy otherwise,
--cpu counts the calling thread's processor time instead (pyzmq's own thread, which does the writing, is then not counted).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TURNS = 4
RUNS = 6
BATCH = 1000
DATA = bytes(64)

clock = time.perf_counter


def timed(count: int, run: Callable[[int], None], before: Callable[[int], None], after: Callable[[int], None]) -> float:
    """Microseconds a message, the best of some runs."""
    best = float("inf")
    for _ in range(RUNS):
        before(count)
        start = clock()
        run(count)
        best = min(best, clock() - start)
        after(count)
    return best / count * 1e6


def nothing(count: int) -> None:
    pass


@contextmanager
def store() -> Iterator[str]:
    """An empty store, in memory where there is such a place."""
    place = tempfile.mkdtemp(prefix="pubsub-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure_pubsub(count: int) -> dict[str, float]:
    import pubsub

    figures = {}
    with pubsub.Channel("bench.topic") as channel, pubsub.Publisher("bench.topic") as publisher:

        def publish(n: int) -> None:
            function = pubsub.publish
            for _ in range(n):
                function("bench.topic", DATA)

        def publisher_publish(n: int) -> None:
            function = publisher.publish
            for _ in range(n):
                function(DATA)

        def publish_many(n: int) -> None:
            payloads = [DATA] * BATCH
            for _ in range(n // BATCH):
                publisher.publish_many(payloads)

        def drain(n: int) -> None:
            left = n
            while left:
                left -= len(channel.fetch_many())

        def fetch(n: int) -> None:
            for _ in range(n):
                channel.fetch()

        def iterate(n: int) -> None:
            messages = iter(channel)
            for _ in range(n):
                next(messages)

        def subscribe(n: int) -> None:
            left = n

            def callback(message: pubsub.Message) -> None:
                nonlocal left
                left -= 1
                if not left:
                    raise SystemExit

            try:
                pubsub.subscribe(channel, callback)
            except SystemExit:
                pass

        figures["send one: publish()"] = timed(count, publish, nothing, drain)
        figures["send one: Publisher.publish"] = timed(count, publisher_publish, nothing, drain)
        figures["send many: publish_many"] = timed(count, publish_many, nothing, drain)
        figures["receive one: fetch"] = timed(count, fetch, publish_many, nothing)
        figures["receive many: fetch_many"] = timed(count, drain, publish_many, nothing)
        figures["receive many: iteration"] = timed(count, iterate, publish_many, nothing)
        figures["receive many: subscribe"] = timed(count, subscribe, publish_many, nothing)
    return figures


def measure_formix(count: int) -> dict[str, float]:
    from pubsub import Channel, fetch, publish, subscribe

    count = min(count, 500)
    figures = {}
    with Channel("bench.topic") as channel:

        def send(n: int) -> None:
            for _ in range(n):
                publish("bench.topic", DATA)

        def receive(n: int) -> None:
            # It loses some: see docs/store-format.md.
            for _ in range(n):
                fetch(channel)

        figures["send one: publish()"] = timed(count, send, nothing, receive)
        figures["receive one: fetch"] = timed(count, receive, send, nothing)
        # It sleeps 10 ms after each message.
        few = 50
        send(few)
        start = time.perf_counter()
        handled = subscribe(channel, lambda message: None, few * 0.012)
        figures["receive many: subscribe"] = (time.perf_counter() - start) / max(handled, 1) * 1e6
    return figures


def measure_zmq(count: int) -> dict[str, float]:
    import zmq

    context = zmq.Context()
    sender, receiver = context.socket(zmq.PUB), context.socket(zmq.SUB)
    try:
        for socket in (sender, receiver):
            socket.set_hwm(0)
        with store() as place:
            sender.bind(f"ipc://{place}/socket")
            receiver.connect(f"ipc://{place}/socket")
            receiver.subscribe(b"bench")
            # Nothing says when the subscription has arrived, but a message that did.
            while not receiver.poll(10):
                sender.send_multipart([b"bench.topic", DATA])
            while receiver.poll(100):
                receiver.recv_multipart()

            def send(n: int) -> None:
                function = sender.send
                for _ in range(n):
                    function(b"bench.topic" + DATA)

            def receive(n: int) -> None:
                function = receiver.recv
                for _ in range(n):
                    function()

            def arrived(n: int) -> None:
                send(n)
                time.sleep(0.5)

            return {
                "send one: Publisher.publish": timed(count, send, nothing, receive),
                "receive one: fetch": timed(count, receive, arrived, nothing),
            }
    finally:
        context.destroy(linger=0)


MEASURES = {"pubsub": measure_pubsub, "pyzmq": measure_zmq, "formix": measure_formix}


def measured(name: str, count: int, cpu: bool, path: str | None) -> dict[str, float] | None:
    """Runs one of them in a process of its own; None when it is not installed."""
    with store() as home:
        environment = {**os.environ, "PUBSUB_HOME": home}
        if path:
            environment["PYTHONPATH"] = path
        command = [sys.executable, os.path.abspath(__file__), "--only", name, "--count", str(count)] + ["--cpu"] * cpu
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{name} could not be measured", file=sys.stderr)
        return None
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> int:
    global clock
    parser = argparse.ArgumentParser(description="compare with pyzmq and formix-pubsub")
    parser.add_argument("--count", type=int, default=2000, help="messages a run, a multiple of 1000 (default 2000)")
    parser.add_argument("--cpu", action="store_true", help="count processor time of the calling thread")
    parser.add_argument("--formix", metavar="DIRECTORY", help="where formix-pubsub is installed")
    parser.add_argument("--only", choices=list(MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count < BATCH or options.count % BATCH or options.count > 16_000:
        parser.error("--count must be a multiple of 1000, from 1000 to 16000 (what a queue holds)")
    if options.cpu:
        clock = time.thread_time
    if options.only:
        print(json.dumps(MEASURES[options.only](options.count)))
        return 0
    best: dict[str, dict[str, float]] = {"pubsub": {}, "pyzmq": {}, "formix": {}}
    left_out = set() if options.formix else {"formix"}
    for _ in range(TURNS):
        for name in [name for name in best if name not in left_out]:
            figures = measured(name, options.count, options.cpu, options.formix if name == "formix" else None)
            if figures is None:
                left_out.add(name)
                continue
            for what, figure in figures.items():
                best[name][what] = min(figure, best[name].get(what, figure))
    ours, zmq, formix = best.values()
    if not ours:
        return 1
    kind = "processor time" if options.cpu else "time"
    print(f"64-byte messages, {options.count} a run, microseconds of {kind} a message (ratio: times as fast as ...)")
    print(f"{'':32}{'pubsub':>9}{'pyzmq':>9}{'ratio':>10}{'formix':>10}{'ratio':>10}")
    for what, figure in ours.items():
        peer = "send one: Publisher.publish" if what.startswith("send") else "receive one: fetch"
        other = "send one: publish()" if what.startswith("send") else "receive one: fetch"
        line = f"{what:32}{figure:9.2f}"
        for figures, name, width in ((zmq, peer, 9), (formix, what if what in formix else other, 10)):
            if name in figures:
                line += f"{figures[name]:{width}.2f}{figures[name] / figure:9.2f}x"
            else:
                line += " " * (width - 1) + "-" + " " * 9 + "-"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
