"""One formix-pubsub process that the benchmark tells what to do: a JSON object a line on standard input, one back.

Every measurement is taken in here, with formix-pubsub's own functions and nothing else inside the clock.
"""

import json
import logging
import sys
import time

from pubsub import Channel, fetch, publish, subscribe

PAYLOAD = b"\xa5" * 64


class Enough(BaseException):
    """Ends `subscribe` from its callback, which catches every `Exception`."""




def do_publish(count, channels, topic):
    """Seconds for `count` messages to one topic, with so many channels of this process matching it."""
    opened = [Channel(topic) for _ in range(channels)]
    for channel in opened:
        channel.open()
    begin = time.perf_counter()
    for _ in range(count):
        publish(topic, PAYLOAD)
    seconds = time.perf_counter() - begin
    for channel in opened:
        channel.close()
    return seconds


def fill(count, topic):
    """Publishes until `count` messages are in the queue: now and then one is lost because its id is taken."""
    done = 0
    while done < count:
        done += publish(topic, PAYLOAD)


def do_fetch(count, topic):
    with Channel(topic) as channel:
        fill(count, topic)
        begin = time.perf_counter()
        for _ in range(count):
            fetch(channel)
        return time.perf_counter() - begin


def do_subscribe(count, topic):
    """Seconds from the call of subscribe to the last callback, all messages having been published before."""
    left = count

    def take(message):
        nonlocal left
        left -= 1
        if left == 0:
            raise Enough

    with Channel(topic) as channel:
        fill(count, topic)
        begin = time.perf_counter()
        try:
            subscribe(channel, take)
        except Enough:
            pass
        return time.perf_counter() - begin


def do_open_close(count, topic):
    begin = time.perf_counter()
    for _ in range(count):
        channel = Channel(topic)
        channel.open()
        channel.close()
    return time.perf_counter() - begin


def do_echo(count, topic):
    """Answers `count` messages on `topic`.ping with one on `topic`.pong each."""
    left = count

    def take(message):
        nonlocal left
        publish(topic + ".pong", message.content)
        left -= 1
        if left == 0:
            raise Enough

    with Channel(topic + ".ping") as channel:
        answer("ready")
        try:
            subscribe(channel, take)
        except Enough:
            pass
    return "done"


def do_ping(count, topic):
    """Seconds of each of `count` round trips; another process echoes."""
    trips = []
    begin = 0.0

    def send():
        nonlocal begin
        begin = time.perf_counter()
        publish(topic + ".ping", PAYLOAD)

    def take(message):
        trips.append(time.perf_counter() - begin)
        if len(trips) == count:
            raise Enough
        send()

    with Channel(topic + ".pong") as channel:
        send()
        try:
            subscribe(channel, take)
        except Enough:
            pass
    return trips


def answer(value):
    print(json.dumps(value), flush=True)


# It warns of every message that it loses because two have the same id.
logging.disable(logging.WARNING)
for line in sys.stdin:
    request = json.loads(line)
    answer(globals()["do_" + request.pop("do")](**request))
