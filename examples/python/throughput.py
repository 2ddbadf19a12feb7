#!/usr/bin/env python3
"""How fast one process publishes and another receives: throughput.py [MESSAGES [BYTES]]"""

import multiprocessing
import sys
import time

from pubsub import Channel, Publisher

TOPIC = "example.throughput"


def publish(messages: int, size: int) -> None:
    payload = bytes(size)
    # A queue that is full is waited for, instead of losing the message.
    with Publisher(TOPIC, full_timeout=10) as publisher:
        left = messages
        while left:
            left -= publisher.publish_many([payload] * min(left, 1000))


def main() -> int:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    # "spawn": the other process is a fresh interpreter, and inherits no channel.
    other = multiprocessing.get_context("spawn").Process(target=publish, args=(messages, size))
    with Channel(TOPIC) as channel:
        other.start()
        received = 0
        start = None
        while received < messages:
            batch = channel.fetch_many(timeout=10)
            if not batch:
                print(f"nothing came for 10 seconds after {received} messages", file=sys.stderr)
                return 1
            start = start or time.perf_counter()
            received += len(batch)
        seconds = time.perf_counter() - (start or 0)
    other.join()
    print(f"{received} messages of {size} bytes in {seconds:.3f} s: {received / seconds:,.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
