"""A subscriber of the demo, in Python: select() over the descriptors of its channels.

    subscriber.py LEDGER PATTERN...

Prints "READY" when its channels are open. Its standard input closes when all has been published: then it takes what is
still there, and ends. The ledger gets a line a message: pattern, topic, seq, checksum, when it was sent and when
received (microseconds since the epoch).
"""

import select
import sys
import time
import zlib
from contextlib import ExitStack

from pubsub import Channel

SAMPLES = 2  # messages shown of each channel


class Subscription:
    def __init__(self, channel, ledger):
        self.channel, self.ledger = channel, ledger
        self.latencies = []
        self.first_us = self.last_us = 0

    def drain(self):
        """Takes everything that waits; the descriptor stays readable until that is done."""
        while messages := self.channel.fetch_many():
            for message in messages:
                self.receive(message)

    def receive(self, message):
        now_us = time.time_ns() // 1000
        seq, sent_us = message.headers["seq"], message.headers["sent_us"]
        if len(self.latencies) < SAMPLES:
            print(message.topic, message.content.decode(), flush=True)
        self.first_us = self.first_us or now_us
        self.last_us = now_us
        self.latencies.append(now_us - sent_us)
        checksum = zlib.adler32(message.content)
        print(self.channel.topic, message.topic, seq, checksum, sent_us, now_us, sep="\t", file=self.ledger)

    def summary(self):
        count = len(self.latencies)
        if count == 0:
            return f"{self.channel.topic}: nothing received"
        latencies = sorted(self.latencies)
        rate = count / (max(self.last_us - self.first_us, 1) / 1e6)
        p50, p99 = latencies[count // 2], latencies[count * 99 // 100]
        return f"{self.channel.topic}: received {count}, {rate:.0f}/s, latency p50 {p50} us, p99 {p99} us"


def main(ledger_path, *patterns):
    with ExitStack() as opened:
        ledger = opened.enter_context(open(ledger_path, "w", encoding="utf-8"))
        channels = [opened.enter_context(Channel(pattern)) for pattern in patterns]
        subscriptions = {channel.fileno(): Subscription(channel, ledger) for channel in channels}
        print("READY", flush=True)
        ended = False
        while not ended:
            readable, _, _ = select.select([sys.stdin, *subscriptions], [], [])
            # What was published before the input closed is in the channels by then, and drained below.
            ended = sys.stdin in readable
            for fd in subscriptions if ended else readable:
                subscriptions[fd].drain()
        for subscription in subscriptions.values():
            print(subscription.summary(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: subscriber.py LEDGER PATTERN...")
    main(*sys.argv[1:])
