"""The matrix's program in Python, for libpubsub's package and for formix-pubsub's: see README.md.

Which one is imported as `pubsub` decides. Nothing else differs but the wait, which formix-pubsub does not offer.
"""

import json
import pathlib
import struct
import sys
import time

import pubsub
from pubsub import Channel, fetch, publish

PATIENCE = 20  # seconds
IDLE = 0.0005  # formix-pubsub: look again after so many seconds
OURS = hasattr(pubsub, "Publisher")

channels = []


def unhex(digits):
    return bytes.fromhex(digits).decode()


READERS = {
    "n": lambda value: None,
    "b": lambda value: value == "1",
    "i": int,
    "d": lambda value: struct.unpack(">d", bytes.fromhex(value))[0],
    "s": unhex,
    "j": lambda value: json.loads(unhex(value)),
}


def read_headers(text):
    if text == "-":
        return None
    items = (item.split(":") for item in text.split(","))
    return {unhex(name): READERS[kind](value) for name, kind, value in items}


def written(value):
    if value is None:
        return "n:"
    if isinstance(value, bool):
        return f"b:{value:d}"
    if isinstance(value, int):
        return f"i:{value}"
    if isinstance(value, float):
        return f"d:{struct.pack('>d', value).hex()}"
    if isinstance(value, str):
        return f"s:{value.encode().hex()}"
    return f"j:{json.dumps(value).encode().hex()}"


def wait(channel):
    if OURS:
        return channel.fetch(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while (message := fetch(channel)) is None and time.monotonic() < deadline:
        time.sleep(IDLE)
    return message


def received(message, path):
    if message is None:
        return "nothing"
    pathlib.Path(path).write_bytes(message.content)
    headers = ",".join(f"{name.encode().hex()}:{written(value)}" for name, value in message.headers.items())
    return f"message {message.topic} {headers or '-'}"


def obey(command, *words):
    match command:
        case "open":
            channels.append(Channel(topic=words[0]))
            channels[-1].open()
            return "opened"
        case "fetch":
            return received(wait(channels[int(words[0])]), words[1])
        case "try":
            return received(fetch(channels[int(words[0])]), words[1])
        case "publish":
            topic, path, headers = words
            return f"published {publish(topic, pathlib.Path(path).read_bytes(), read_headers(headers))}"
        case "close":
            for channel in channels:
                channel.close()
            return "closed"
    raise ValueError(f"unknown command: {command}")


if __name__ == "__main__":
    for line in sys.stdin:
        print(obey(*line.rstrip("\n").split(" ")), flush=True)
