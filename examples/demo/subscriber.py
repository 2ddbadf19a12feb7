"""A subscriber of the demo, in Python: the C interface through ctypes, and select() over its descriptors.

    subscriber.py LIBRARY LEDGER PATTERN...

Prints "READY" when its channels are open. Its standard input closes when all has been published: then it takes what is
still there, and ends. The ledger gets a line a message: pattern, topic, seq, checksum, when it was sent and when
received (microseconds since the epoch).
"""

import ctypes
import json
import select
import sys
import time
import zlib

SAMPLES = 2  # messages shown of each channel


class PsMessage(ctypes.Structure):
    """ps_message of pubsub.h: the fields that this program needs, from the first."""

    _fields_ = [
        ("id", ctypes.c_uint64),
        ("timestamp_us", ctypes.c_int64),
        ("topic", ctypes.c_void_p),
        ("topic_len", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("data_len", ctypes.c_size_t),
        ("headers_json", ctypes.c_void_p),
        ("headers_json_len", ctypes.c_size_t),
    ]


PsMessagePointer = ctypes.POINTER(PsMessage)

SIGNATURES = {
    "ps_error_name": (ctypes.c_char_p, [ctypes.c_int]),
    "ps_last_error": (ctypes.c_char_p, []),
    "ps_channel_open": (ctypes.c_int, [ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]),
    "ps_channel_fd": (ctypes.c_int, [ctypes.c_void_p]),
    "ps_channel_close": (ctypes.c_int, [ctypes.c_void_p]),
    "ps_fetch": (ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(PsMessagePointer)]),
    "ps_message_free": (None, [PsMessagePointer]),
}


class Library:
    """libpubsub with every signature declared; a failed call raises."""

    def __init__(self, path):
        self._dll = ctypes.CDLL(path)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self._dll, name)
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name):
        return getattr(self._dll, name)

    def check(self, answer):
        if answer < 0:
            name = self._dll.ps_error_name(answer).decode()
            raise RuntimeError(f"{name}: {self._dll.ps_last_error().decode()}")
        return answer


class Subscription:
    def __init__(self, library, pattern, ledger):
        self.library, self.pattern, self.ledger = library, pattern, ledger
        self.latencies = []
        self.first_us = self.last_us = 0
        self.channel = ctypes.c_void_p()
        library.check(library.ps_channel_open(pattern.encode(), None, ctypes.byref(self.channel)))
        self.fd = library.check(library.ps_channel_fd(self.channel))

    def drain(self):
        """Takes everything that waits; the descriptor stays readable until that is done."""
        message = PsMessagePointer()
        while self.library.check(self.library.ps_fetch(self.channel, ctypes.byref(message))) == 1:
            try:
                self.receive(message.contents)
            finally:
                self.library.ps_message_free(message)

    def receive(self, message):
        now_us = time.time_ns() // 1000
        topic = ctypes.string_at(message.topic, message.topic_len).decode()
        content = ctypes.string_at(message.data, message.data_len)
        headers = json.loads(ctypes.string_at(message.headers_json, message.headers_json_len))
        sent_us = headers["sent_us"]
        if len(self.latencies) < SAMPLES:
            print(topic, content.decode(), flush=True)
        self.first_us = self.first_us or now_us
        self.last_us = now_us
        self.latencies.append(now_us - sent_us)
        seq, checksum = headers["seq"], zlib.adler32(content)
        print(self.pattern, topic, seq, checksum, sent_us, now_us, sep="\t", file=self.ledger)

    def summary(self):
        count = len(self.latencies)
        if count == 0:
            return f"{self.pattern}: nothing received"
        latencies = sorted(self.latencies)
        rate = count / (max(self.last_us - self.first_us, 1) / 1e6)
        p50, p99 = latencies[count // 2], latencies[count * 99 // 100]
        return f"{self.pattern}: received {count}, {rate:.0f}/s, latency p50 {p50} us, p99 {p99} us"

    def close(self):
        channel, self.channel = self.channel, None
        self.library.check(self.library.ps_channel_close(channel))


def main(library_path, ledger_path, *patterns):
    library = Library(library_path)
    with open(ledger_path, "w", encoding="utf-8") as ledger:
        subscriptions = [Subscription(library, pattern, ledger) for pattern in patterns]
        by_fd = {subscription.fd: subscription for subscription in subscriptions}
        print("READY", flush=True)
        ended = False
        while not ended:
            readable, _, _ = select.select([sys.stdin, *by_fd], [], [])
            # What was published before the input closed is in the channels by then, and drained below.
            ended = sys.stdin in readable
            for subscription in subscriptions if ended else [by_fd[fd] for fd in readable]:
                subscription.drain()
        for subscription in subscriptions:
            print(subscription.summary(), flush=True)
            subscription.close()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: subscriber.py LIBRARY LEDGER PATTERN...")
    main(*sys.argv[1:])
