"""The demo's formix-pubsub process: the package from PyPI as it is, knowing nothing of libpubsub.

    formix_peer.py PREFIX PUBLISHED LEDGER PATTERN

Prints "READY" when its channel is open. A line "publish N" on its standard input makes it publish N heartbeats, while
it goes on receiving, and then print "PUBLISHED". Its standard input closes when all has been published: then it takes
what is still there, and ends. LEDGER gets a line a message received, as every subscriber's; PUBLISHED a line a message
sent, as the feed's.
"""

import json
import os
import select
import sys
import time
import zlib

from pubsub import Channel, fetch, publish

SAMPLES = 2  # messages shown
TOPICS = 4  # PREFIX.formix.heartbeat.0 ...
INTERVAL = 0.01  # seconds between two heartbeats
IDLE = 0.001  # formix offers no way to wait for a message: look again after this many seconds


class Heartbeats:
    """Publishes the heartbeats that are due, one a call."""

    def __init__(self, prefix, ledger, count):
        self.prefix, self.ledger, self.count = prefix, ledger, count
        self.sent = 0
        self.due = time.monotonic()

    @property
    def done(self):
        return self.sent == self.count

    def publish_if_due(self):
        if self.done or time.monotonic() < self.due:
            return
        topic = f"{self.prefix}.formix.heartbeat.{self.sent % TOPICS}"
        seq = self.sent // TOPICS
        content = json.dumps({"seq": seq, "pid": os.getpid()}).encode()
        taken = publish(topic, content, {"seq": seq, "sent_us": time.time_ns() // 1000})
        print(topic, seq, zlib.adler32(content), taken, sep="\t", file=self.ledger)
        self.sent += 1
        self.due += INTERVAL


class Receipts:
    def __init__(self, pattern, ledger):
        self.pattern, self.ledger = pattern, ledger
        self.latencies = []
        self.first_us = self.last_us = 0

    def drain(self, channel):
        """Takes what waits; bounded, so that heartbeats go out on time under a steady stream."""
        for _ in range(200):
            message = fetch(channel)
            if message is None:
                return False
            self.receive(message)
        return True

    def receive(self, message):
        now_us = time.time_ns() // 1000
        sent_us = message.headers["sent_us"]
        if len(self.latencies) < SAMPLES:
            print(message.topic, message.content.decode(), flush=True)
        self.first_us = self.first_us or now_us
        self.last_us = now_us
        self.latencies.append(now_us - sent_us)
        seq, checksum = message.headers["seq"], zlib.adler32(message.content)
        print(self.pattern, message.topic, seq, checksum, sent_us, now_us, sep="\t", file=self.ledger)

    def summary(self):
        count = len(self.latencies)
        if count == 0:
            return f"{self.pattern}: nothing received"
        latencies = sorted(self.latencies)
        rate = count / (max(self.last_us - self.first_us, 1) / 1e6)
        p50, p99 = latencies[count // 2], latencies[count * 99 // 100]
        return f"{self.pattern}: received {count}, {rate:.0f}/s, latency p50 {p50} us, p99 {p99} us"


def command(timeout):
    """The next line of standard input, "" when it has closed, None when there is none yet."""
    readable, _, _ = select.select([sys.stdin], [], [], timeout)
    return sys.stdin.readline() if readable else None


def run(channel, prefix, receipts, sent_ledger):
    heartbeats = None
    busy = False
    while True:
        line = command(0 if busy else IDLE)
        if line == "":
            while receipts.drain(channel):
                pass
            return
        if line is not None:
            heartbeats = Heartbeats(prefix, sent_ledger, int(line.split()[1]))
        if heartbeats is not None:
            heartbeats.publish_if_due()
            if heartbeats.done:
                print(f"published {heartbeats.sent} heartbeats on {TOPICS} topics", flush=True)
                heartbeats = None
                sent_ledger.close()  # complete, before anyone is told
                print("PUBLISHED", flush=True)
        busy = receipts.drain(channel)


def main(prefix, published_path, ledger_path, pattern):
    with open(ledger_path, "w", encoding="utf-8") as ledger, open(published_path, "w", encoding="utf-8") as sent:
        receipts = Receipts(pattern, ledger)
        with Channel(topic=pattern) as channel:
            print("READY", flush=True)
            run(channel, prefix, receipts, sent)
        print(receipts.summary(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: formix_peer.py PREFIX PUBLISHED LEDGER PATTERN")
    main(*sys.argv[1:])
