"""A process that uses the published formix-pubsub as it is, told by a test what to do.

Each line of standard input is a JSON string of Python: an expression, or statements that set `answer`. Each is answered by
one line of JSON, {"answer": ...} or {"error": traceback}. A peer that is asked nothing new for ten minutes ends.
"""

import faulthandler
import importlib.metadata
import json
import logging
import os
import signal
import sys
import time
import traceback

import pubsub
from pubsub import Channel, Message, fetch, publish, subscribe

assert importlib.metadata.version("formix-pubsub") == "1.0.0", "the tests are about formix-pubsub 1.0.0"

warnings = []  # what formix logged


class Collector(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())


logging.getLogger().addHandler(Collector())


def become(user, groups=()):
    """Drops root's rights for those of a user without an entry in any table."""
    os.setgroups(list(groups))
    os.setgid(user)
    os.setuid(user)


def told(message):
    """A message as JSON."""
    if message is None:
        return None
    return {
        "id": message.id,
        "timestamp": message.timestamp,
        "topic": message.topic,
        "headers": json.dumps(message.headers, ensure_ascii=False),
        "data": message.content.hex(),
    }


def publish_apart(topic, data, headers=None):
    """`publish`, and again when the id was taken: those of formix-pubsub have 16 random bits and collide in 65 ms."""
    while True:
        before = len(warnings)
        count = publish(topic, data, headers)
        if count or not any("File exists" in warning for warning in warnings[before:]):
            return count
        del warnings[before:]


def fetch_all(channel):
    found = []
    while (message := fetch(channel)) is not None:
        found.append(told(message))
    return found


def subscribe_until(channel, count):
    """`subscribe`, ended as its documentation says, by SIGTERM, with the message of that number."""
    found = []

    def take(message):
        found.append(told(message))
        if len(found) == count:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    subscribe(channel, take)
    signal.signal(signal.SIGTERM, before)
    return found


def wipe_one_level_deep(base):
    """Removes what the test suite of formix-pubsub removes before one of its tests."""
    for name in os.listdir(base):
        directory = os.path.join(base, name)
        if not os.path.isdir(directory):
            continue
        for entry in os.listdir(directory):
            try:
                os.unlink(os.path.join(directory, entry))
            except OSError:
                pass
        try:
            os.rmdir(directory)
        except OSError:
            pass


def main():
    names = globals()
    for line in sys.stdin:
        faulthandler.dump_traceback_later(600, exit=True)
        names["answer"] = None
        try:
            text = json.loads(line)
            try:
                expression = compile(text, "test", "eval")
            except SyntaxError:
                exec(compile(text, "test", "exec"), names)
                reply = {"answer": names["answer"]}
            else:
                reply = {"answer": eval(expression, names)}
            reply = json.dumps(reply)
        except BaseException:
            reply = json.dumps({"error": traceback.format_exc()})
        print(reply, flush=True)


main()
