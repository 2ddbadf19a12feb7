"""A formix-pubsub program that takes part in a storm: `publish TOPICS NUMBER RUN` or `receive PATTERN NUMBER RUN`.

Contents are those of payload.rs. It fails when it receives one that is not whole.
"""

import os
import struct
import sys
import time
import zlib

from pubsub import Channel, fetch, publish

TOPICS = ["t.one", "t.two", "t.three.deep", "u.one", "solo.a", "solo.b"]
MAGIC = b"crashtst"
HEAD = 40


def content(publisher, seq, length):
    seed = publisher * 31 + seq * 17
    pattern = bytes((seed + i * 7) & 255 for i in range(251))
    rest = (pattern * (length // 251 + 1))[HEAD:length]
    return MAGIC + struct.pack(">QQQQ", publisher, seq, length, zlib.adler32(rest)) + rest


def check(message):
    data, headers = message.content, message.headers or {}
    if len(data) >= HEAD:
        magic, (publisher, seq, length, _) = data[:8], struct.unpack(">QQQQ", data[8:HEAD])
        if magic != MAGIC or length != len(data) or data != content(publisher, seq, length):
            sys.exit(f"NOT WHOLE: message {seq} of publisher {publisher}, {len(data)} of {length} bytes")
    elif headers.get("len") != len(data):
        sys.exit(f"NOT WHOLE: {len(data)} bytes, {headers}")


def main():
    role, what, number, run = sys.argv[1:]
    number = int(number)
    if role == "publish":
        topics = [TOPICS[int(topic)] for topic in what.split(",")]
        seq = 0
        while not os.path.exists(os.path.join(run, "stop")):
            try:
                publish(topics[seq % len(topics)], content(number, seq, HEAD + seq * 37 % 3000))
            except OSError:
                pass  # it trips over channels that come and go
            seq += 1
    else:
        with Channel(topic=what) as channel:
            while not os.path.exists(os.path.join(run, "end")):
                message = fetch(channel)
                if message is None:
                    time.sleep(0.001)
                else:
                    check(message)


main()
