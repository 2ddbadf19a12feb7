"""Managed topics: histories, replay, resuming, deletion."""

import asyncio
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import pubsub
from pubsub import (
    Channel,
    CorruptError,
    ExistsError,
    InvalidArgumentError,
    InvalidTopicError,
    NotFoundError,
    Publisher,
    create_topic,
    delete_topic,
    publish,
    topic_history,
    topics,
)

from .support import HOME, PATIENCE, Case, eventually, finish, python

TRANSPORTS = ("ring", "files")

#: Publishes a letter and numbers to a managed topic, until a line comes.
FEED = """
import sys, threading, time
from pubsub import Publisher

end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), end.set()), daemon=True).start()
n = 0
with Publisher(sys.argv[1]) as publisher:
    while not end.is_set():
        publisher.publish(f"{sys.argv[2]} {n}".encode())
        n += 1
        if n % 8 == 0:
            time.sleep(0.001)
        if n == 200:
            print("running", flush=True)
print(n)
"""


def contents(messages):
    return [message.content.decode() for message in messages]


def place(message):
    return message.epoch, message.offset


class Topics(Case):
    def managed(self, topic, **options):
        create_topic(topic, **options)
        self.addCleanup(self.forget, topic, options.get("home"))

    def forget(self, topic, home=None):
        try:
            delete_topic(topic, home=home)
        except NotFoundError:
            pass

    def feed(self, topic, numbers):
        with Publisher(topic) as publisher:
            publisher.publish_many([b"%d" % n for n in numbers])

    def test_topics_are_created_listed_and_deleted(self):
        self.assertEqual(topics(), [])
        self.managed("t.b")
        self.managed("t.a", history_messages=3, history_bytes=1 << 20, history_ttl=3600)
        self.feed("t.a", range(5))
        with Channel("t.+"):
            a, b = topics()
        self.assertEqual((a.topic, b.topic), ("t.a", "t.b"))
        self.assertEqual((a.messages_published, a.messages_in_history, a.next_offset, a.subscribers), (5, 3, 6, 1))
        self.assertEqual((b.messages_published, b.messages_in_history, b.bytes_in_history, b.next_offset), (0, 0, 0, 1))
        self.assertNotEqual(a.epoch, b.epoch)
        self.assertGreater(a.bytes_in_history, 0)
        self.assertLess(abs(a.created - publish_time()), 3600e6)
        delete_topic("t.b")
        self.assertEqual([found.topic for found in topics()], ["t.a"])

    def test_a_history_has_what_was_published(self):
        self.managed("t.a")
        publish("t.a", b"\0one", {"n": 1, "unit": "°C"})
        publish("t.a", b"")
        first, second = topic_history("t.a")
        self.assertEqual((first.topic, first.content, first.headers), ("t.a", b"\0one", {"n": 1, "unit": "°C"}))
        self.assertEqual((second.content, second.headers, second.kind), (b"", {}, "data"))
        self.assertEqual([first.offset, second.offset], [1, 2])
        self.assertEqual(first.epoch, topics()[0].epoch)
        self.assertLess(first.id, second.id)
        self.assertEqual([m.offset for m in topic_history("t.a", 1)], [2])
        self.assertEqual(topic_history("t.a", last=0), [])

    def test_age_and_bytes_bound_a_history(self):
        self.managed("t.short", history_ttl=0.02)
        self.managed("t.small", history_bytes=300)
        publish("t.short", b"old")
        eventually(lambda: topic_history("t.short") == [], "the end of its age")
        self.feed("t.small", range(100, 150))
        kept = topic_history("t.small")
        self.assertTrue(0 < len(kept) < 10, kept)
        self.assertEqual(kept[-1].content, b"149")

    def test_another_store_has_topics_of_its_own(self):
        with tempfile.TemporaryDirectory(dir=HOME.parent) as directory:
            home = Path(directory) / "store"
            self.assertEqual(topics(home), [])
            create_topic("t.a", home=home)
            with Publisher("t.a", home=home) as publisher, Channel("back", home=home) as back:
                publisher.publish(b"question", {"response-topic": "back", "correlation-id": 1})
                (message,) = topic_history("t.a", home=str(home))
                self.assertEqual(message.reply(b"answer"), 1)
                self.assertEqual(back.fetch().content, b"answer")
            self.assertEqual(topics(), [])
            self.assertEqual([found.topic for found in topics(home)], ["t.a"])
            with Channel("t.=", home=home, replay_last=1) as channel:
                self.assertEqual(contents(channel.fetch_many()), ["question"])
            delete_topic("t.a", home=home)

    def test_errors_are_pythons_own(self):
        with self.assertRaises(NotFoundError) as caught:
            delete_topic("t.none")
        self.assertIsInstance(caught.exception, LookupError)
        self.assertIn("'t.none' is not managed", str(caught.exception))
        with self.assertRaises(LookupError):
            topic_history("t.none")
        with self.assertRaises(NotFoundError):
            Channel("t.none", resume=(1, 1))
        self.managed("t.a")
        with self.assertRaises(ExistsError) as caught:
            create_topic("t.a")
        self.assertIsInstance(caught.exception, FileExistsError)
        with self.assertRaises(InvalidArgumentError):
            Channel("t.=", resume=(1, 1))
        for call in (create_topic, delete_topic, topic_history):
            for wrong in ("t.=", "", "a b", "a\0b", "ä"):
                with self.subTest(call=call, topic=wrong), self.assertRaises(InvalidTopicError):
                    call(wrong)
            with self.assertRaises(TypeError):
                call(b"t.a")
        for options in ({"history_messages": -1}, {"history_messages": 1 << 32}, {"history_messages": (1 << 27)},
                        {"history_bytes": 1 << 63}, {"history_ttl": 0}, {"history_ttl": -1}, {"history_ttl": float("nan")},
                        {"history_ttl": float("inf")}, {"home": "a\0b"}):  # fmt: skip
            with self.subTest(options=options), self.assertRaises(ValueError):
                create_topic("t.b", **options)
        for options in ({"replay_last": -1}, {"replay_last": 1 << 32}, {"resume": (0, -1)}, {"resume": (1 << 64, 0)}, {"resume": (1,)}):
            with self.subTest(options=options), self.assertRaises(ValueError):
                Channel("t.a", **options)
        for options in ({"replay_last": "1"}, {"resume": 1}, {"resume": ("1", 1)}):
            with self.subTest(options=options), self.assertRaises(TypeError):
                Channel("t.a", **options)
        with self.assertRaises(ValueError):
            topic_history("t.a", -1)
        with tempfile.TemporaryDirectory(dir=HOME.parent) as directory:
            create_topic("t.a", home=directory)
            (history,) = Path(directory).glob(".topic.t.a/*")
            history.write_bytes(b"garbage" * 1000)
            with self.assertRaises(CorruptError):
                topic_history("t.a", home=directory)

    def test_a_replay_goes_on_live_in_every_way_to_receive(self):
        def by_fetch(channel):
            return [channel.fetch() for _ in range(5)]

        def by_batch(channel):
            return channel.fetch_many(3) + channel.fetch_many(timeout=PATIENCE)

        def by_iteration(channel):
            return list(channel.messages(timeout=0))

        def by_callback(channel):
            got = []
            self.assertEqual(pubsub.subscribe(channel, got.append, 0.05), 5)
            return got

        def by_asyncio(channel):
            async def receive():
                got = []
                async for message in channel:
                    got.append(message)
                    if len(got) == 5:
                        return got

            return asyncio.run(asyncio.wait_for(receive(), PATIENCE))

        for transport in TRANSPORTS:
            for receive in (by_fetch, by_batch, by_iteration, by_callback, by_asyncio):
                with self.subTest(transport=transport, receive=receive.__name__):
                    self.managed("t.a")
                    self.feed("t.a", range(10))
                    with Channel("t.=", replay_last=3, transport=transport) as channel:
                        publish("t.a", b"10")
                        publish("t.a", b"11")
                        messages = receive(channel)
                        self.assertEqual(contents(messages), ["7", "8", "9", "10", "11"])
                        self.assertEqual([m.offset for m in messages], [8, 9, 10, 11, 12])
                        self.assertEqual(len({m.epoch for m in messages} - {0}), 1)
                        self.assertIsNone(channel.fetch())
                    delete_topic("t.a")

    def test_a_replay_among_live_publishers_has_no_gap_and_no_duplicate(self):
        # More than this test falls behind on a busy machine.
        self.managed("t.a", history_messages=1_000_000)
        command = [sys.executable, "-c", FEED, "t.a"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        feeds = [subprocess.Popen([*command, name], **pipes) for name in "xy"]
        try:
            for feed in feeds:
                self.assertEqual(feed.stdout.readline(), "running\n")
            for turn in range(20):
                transport = TRANSPORTS[turn % 2]
                options = {"replay_last": 50, "capacity_messages": 1_000_000, "transport": transport}
                with Channel("t.=", **options) as channel, self.subTest(transport=transport):
                    began = topics()[0].next_offset
                    messages = []
                    # Until both have come live.
                    while len({m.content[:1] for m in messages if m.offset > began + 50}) < 2:
                        some = channel.fetch_many(timeout=PATIENCE)
                        self.assertTrue(some)
                        messages += some
                    self.assertLess(messages[0].offset, began)
                    offsets = [m.offset for m in messages]
                    self.assertEqual(len(set(offsets)), len(offsets))
                    # Their order live may differ between publishers, each has its own.
                    for name in b"x", b"y":
                        numbers = [int(m.content[2:]) for m in messages if m.content[:1] == name]
                        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        finally:
            for feed in feeds:
                feed.stdin.write("\n")
                feed.stdin.flush()
            published = sum(int(finish(feed)[0]) for feed in feeds)
        self.assertEqual(topics()[0].messages_published, published)

    def test_resuming_gives_what_was_missed(self):
        self.managed("t.a", history_messages=5)
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                with Channel("t.a", transport=transport) as channel:
                    self.feed("t.a", range(3))
                    last = channel.fetch_many()[-1]
                self.feed("t.a", range(3, 6))
                with Channel("t.a", resume=place(last), transport=transport) as channel:
                    publish("t.a", b"6")
                    missed = channel.fetch_many()
                    self.assertEqual(contents(missed), ["3", "4", "5", "6"])
                    self.assertEqual([m.dropped_before for m in missed], [0] * 4)
                self.feed("t.a", range(7, 20))
                with Channel("t.a", resume=place(missed[-1]), transport=transport) as channel:
                    first = channel.fetch()
                    self.assertEqual((first.content, first.dropped_before), (b"15", 8))
                    self.assertEqual(contents(channel.fetch_many()), ["16", "17", "18", "19"])
                with Channel("t.a", resume=(last.epoch, 0), transport=transport) as channel:
                    self.assertEqual(len(channel.fetch_many()), 5)

    def test_resuming_across_a_deletion_tells_of_another_epoch(self):
        self.managed("t.a")
        with Channel("t.a") as channel:
            self.feed("t.a", range(3))
            last = channel.fetch_many()[-1]
        delete_topic("t.a")
        with self.assertRaises(NotFoundError):
            Channel("t.a", resume=place(last))
        create_topic("t.a")
        self.feed("t.a", range(10, 12))
        with Channel("t.a", resume=place(last)) as channel:
            publish("t.a", b"12")
            messages = channel.fetch_many()
        self.assertEqual(contents(messages), ["10", "11", "12"])
        self.assertEqual([m.offset for m in messages], [1, 2, 3])
        self.assertEqual({m.epoch for m in messages}, {topics()[0].epoch})
        self.assertNotEqual(messages[0].epoch, last.epoch)

    def test_a_deletion_is_told_on_exactly_that_topic(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                self.managed("t.a")
                epoch = topics()[0].epoch
                with Channel("t.a", transport=transport) as one, Channel("t.a", transport=transport) as many:
                    with Channel("t.=", transport=transport) as wild:
                        publish("t.a", b"live")
                        delete_topic("t.a")
                        publish("t.a", b"ad hoc")
                        for messages in ([one.fetch() for _ in range(3)], many.fetch_many()):
                            self.assertEqual([m.kind for m in messages], ["data", "topic-deleted", "data"])
                            deleted = messages[1]
                            self.assertEqual((deleted.topic, deleted.content, deleted.epoch), ("t.a", b"", epoch))
                            self.assertEqual(place(messages[0]), (epoch, 1))
                            self.assertEqual(place(messages[2]), (0, 0))
                        self.assertEqual(contents(wild.fetch_many()), ["live", "ad hoc"])

    def test_a_history_outlives_its_publishers(self):
        python("from pubsub import create_topic, publish; create_topic('t.a'); publish('t.a', b'left', {'k': 'v'})")
        self.addCleanup(self.forget, "t.a")
        with Channel("t.a", replay_last=10) as channel:
            message = channel.fetch()
        self.assertEqual((message.content, message.headers, message.offset), (b"left", {"k": "v"}, 1))

    def test_lists_and_histories_leave_no_memory_behind(self):
        self.managed("t.a")
        self.feed("t.a", range(100))

        def grown(rounds):
            before = resident()
            for _ in range(rounds):
                topics()
                topic_history("t.a")
            return resident() - before

        grown(300)
        # Two thousand histories of a hundred messages would be 40 MB.
        self.assertLess(grown(2000), 8 << 20)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def publish_time():
    with Channel("t.now") as channel:
        publish("t.now", b"")
        return channel.fetch().timestamp


if __name__ == "__main__":
    unittest.main()
