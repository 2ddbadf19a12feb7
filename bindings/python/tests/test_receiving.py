"""Channels beyond formix-pubsub."""

import asyncio
import select
import threading
import time
import unittest
from contextlib import suppress

import pubsub
from pubsub import Channel, ClosedError, Publisher, publish
from pubsub.channel import _BUFFER
from pubsub._paths import matches

from .support import PATIENCE, Case, Thread, eventually


class Fetching(Case):
    def test_fetch_waits_for_what_comes(self):
        with Channel("wait") as channel:
            other = Thread(channel.fetch, PATIENCE)
            eventually(lambda: channel._waiting, "the wait")
            publish("wait", b"x")
            self.assertEqual(other.finish().content, b"x")

    def test_fetch_gives_up_after_its_timeout_and_no_sooner(self):
        with Channel("timeout") as channel:
            start = time.monotonic()
            self.assertIsNone(channel.fetch(timeout=0.05))
            self.assertEqual(channel.fetch_many(timeout=0.05), [])
            self.assertEqual(list(channel.messages(timeout=0.05)), [])
            self.assertGreaterEqual(time.monotonic() - start, 0.15)
            self.assertIsNone(channel.fetch())

    def test_bad_timeouts_and_limits(self):
        with Channel("bad") as channel:
            calls = (channel.fetch, lambda t: channel.fetch_many(None, t), lambda t: list(channel.messages(t)))
            # What is false is no 0, nor None.
            wrong = {ValueError: (-1, float("nan")), TypeError: ("soon", "", [], 1j)}
            for error, timeouts in wrong.items():
                for timeout in timeouts:
                    for call in calls:
                        with self.assertRaises(error):
                            call(timeout)
            with self.assertRaises(ValueError):
                channel.fetch_many(-1)
            self.assertEqual(channel.fetch_many(0), [])

    def test_every_way_to_receive_gets_the_same_in_order(self):
        wanted = [b"%d" % n * (n % 7) for n in range(50)] + [bytes(_BUFFER - 200), b"y" * _BUFFER, b"z" * 3 * _BUFFER, b"last"]
        with Channel("same.+") as channel, Publisher("same.x") as publisher:

            def by_fetch():
                return [m for m in iter(channel.fetch, None)]

            def by_many():
                got = []
                while batch := channel.fetch_many():
                    got += batch
                return got

            def by_iteration():
                return list(channel.messages(timeout=0.01))

            def by_subscribe():
                got = []
                pubsub.subscribe(channel, got.append, 0.3)
                return got

            def by_mixing():
                got = [next(iter(channel)), channel.fetch(), *channel.fetch_many(3), *channel.fetch_many(1000)]
                return got + [m for m in iter(channel.fetch, None)]

            for way in (by_fetch, by_many, by_iteration, by_subscribe, by_mixing):
                with self.subTest(way=way.__name__):
                    for n, data in enumerate(wanted):
                        publisher.publish(data, {"n": n} if n % 3 else None)
                    got = way()
                    self.assertEqual([m.content for m in got], wanted)
                    self.assertEqual([m.headers for m in got], [{"n": n} if n % 3 else {} for n in range(len(wanted))])
                    self.assertEqual({m.topic for m in got}, {"same.x"})
                    self.assertEqual([m.id for m in got], sorted({m.id for m in got}))
                    self.assertLess(abs(got[0].timestamp / 1e6 - time.time()), PATIENCE)

    def test_fetch_many_takes_no_more_than_asked(self):
        with Channel("limit") as channel:
            for n in range(10):
                publish("limit", b"%d" % n)
            self.assertEqual([m.content for m in channel.fetch_many(4)], [b"0", b"1", b"2", b"3"])
            self.assertEqual(len(channel.fetch_many(100)), 6)

    def test_fetch_brings_one_and_leaves_the_rest_in_the_queue(self):
        with Channel("one") as channel:
            for _ in range(3):
                publish("one", b"")
            channel.fetch()
            self.assertEqual(channel.stats().unread_messages, 2)

    def test_iteration_ends_when_the_channel_is_closed(self):
        channel = Channel("ends")
        with channel:
            publish("ends", b"1")
            publish("ends", b"2")
            got = []
            for message in channel:
                got.append(message.content)
                channel.close()
        self.assertEqual(got, [b"1"])
        with self.assertRaises(ClosedError):
            next(iter(channel))

    def test_unread_messages_go_with_the_channel(self):
        with Channel("gone") as channel:
            publish("gone", b"1")
            publish("gone", b"2")
            next(iter(channel))
        with self.assertRaises(ClosedError):
            channel.fetch()

    def test_select_and_epoll(self):
        with Channel("poll") as channel:
            channel.fileno()
            self.assertEqual(select.select([channel], [], [], 0)[0], [])
            publish("poll", b"x")
            self.assertEqual(select.select([channel], [], [], PATIENCE)[0], [channel])
            self.assertEqual(channel.fetch().content, b"x")
            self.assertIsNone(channel.fetch())
            self.assertEqual(select.select([channel], [], [], 0)[0], [])


class Options(Case):
    def test_drop_oldest_says_what_was_lost(self):
        with Channel("drop", capacity_messages=4, policy="drop-oldest") as channel:
            for n in range(10):
                self.assertEqual(publish("drop", b"%d" % n), 1)
            for got in (channel.fetch_many(), None):
                if got is None:
                    for n in range(10):
                        publish("drop", b"%d" % n)
                    got = [m for m in iter(channel.fetch, None)]
                self.assertEqual(got[-1].content, b"9")
                self.assertEqual(sum(m.dropped_before for m in got) + len(got), 10)
                self.assertLessEqual(len(got), 4)

    def test_bounds_are_as_given(self):
        with Channel("bounds", capacity_messages=5, capacity_bytes=1000, transport="files") as channel:
            stats = channel.stats()
            self.assertEqual((stats.capacity_messages, stats.capacity_bytes, stats.transport), (5, 1000, "files"))

    def test_another_store(self):
        import tempfile

        with tempfile.TemporaryDirectory() as home, Channel("here", home=home) as channel:
            self.assertTrue(str(channel.directory_path).startswith(home))
            self.assertEqual(publish("here", b""), 0)
            with Publisher("here", home=home) as publisher:
                self.assertEqual(publisher.publish(b"x"), 1)
            self.assertEqual(channel.fetch().content, b"x")

    def test_what_cannot_be_is_refused(self):
        for named, error in (
            ({"policy": "drop"}, ValueError),
            ({"policy": []}, ValueError),
            ({"transport": "carrier pigeon"}, ValueError),
            ({"capacity_bytes": -1}, ValueError),
            ({"capacity_messages": 1 << 64}, ValueError),
            ({"capacity_messages": 1.5}, TypeError),
            ({"home": "/proc/nothing/here"}, OSError),
            ({"home": "/proc/nothing/here"}, RuntimeError),
            ({"home": "a\0b"}, ValueError),
            ({"home": 7}, TypeError),
        ):
            with self.subTest(named=named), self.assertRaises(error):
                Channel("refused", **named)


class Async(Case):
    def test_async_iteration_with_others_in_the_loop(self):
        async def main():
            got, ticks = [], 0

            async def listen(channel, count):
                async for message in channel:
                    got.append(message.content)
                    if len(got) >= count:
                        break

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += 1

            with Channel("async.=") as channel:
                clock = asyncio.create_task(tick())
                listening = asyncio.create_task(listen(channel, 2000))
                await asyncio.sleep(0.01)
                sender = Thread(self.send, "async.x", 2000)
                await asyncio.wait_for(listening, PATIENCE)
                clock.cancel()
                sender.finish()
            self.assertEqual(got, [b"%d" % n for n in range(2000)])
            self.assertGreater(ticks, 10)

        asyncio.run(main())

    @staticmethod
    def send(topic, count):
        with Publisher(topic, full_timeout=PATIENCE) as publisher:
            publisher.publish_many(b"%d" % n for n in range(count))

    def test_close_ends_the_iterations_of_all_tasks(self):
        async def main():
            async def listen(channel):
                return [m.content async for m in channel]

            channel = Channel("async.close")
            with channel:
                tasks = [asyncio.create_task(listen(channel)) for _ in range(3)]
                await asyncio.sleep(0.01)
                publish("async.close", b"x")
                while channel.stats().unread_messages:
                    await asyncio.sleep(0.001)
                Thread(channel.close).finish()
                got = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
            self.assertEqual(sorted(got), [[], [], [b"x"]])

        asyncio.run(main())

    def test_a_wait_can_be_cancelled_and_begun_again(self):
        async def main():
            with Channel("async.cancel") as channel:
                for round in range(3):
                    with self.assertRaises(asyncio.TimeoutError):
                        await asyncio.wait_for(channel.__aiter__().__anext__(), 0.01)
                publish("async.cancel", b"x")
                message = await asyncio.wait_for(channel.__aiter__().__anext__(), PATIENCE)
                self.assertEqual(message.content, b"x")

        asyncio.run(main())


class Threads(Case):
    def test_several_threads_share_a_channel(self):
        with Channel("share") as channel:
            got, lock = [], threading.Lock()

            def work():
                def callback(message):
                    with lock:
                        got.append(int(message.content))

                try:
                    pubsub.subscribe(channel, callback)
                except ClosedError:
                    return "closed"

            threads = [Thread(work) for _ in range(4)]
            with Publisher("share", full_timeout=PATIENCE) as publisher:
                publisher.publish_many(b"%d" % n for n in range(1000))
            eventually(lambda: len(got) >= 1000, "all messages")
            # While all of them wait there is nothing, and who asks is told so at once.
            self.assertIsNone(channel.fetch())
            channel.close()
            self.assertEqual([thread.finish() for thread in threads], ["closed"] * 4)
            self.assertEqual(sorted(got), list(range(1000)))

    def test_close_ends_the_waits_of_other_threads(self):
        for wait in (
            lambda c: c.fetch(None),
            lambda c: c.fetch_many(None, None),
            lambda c: pubsub.subscribe(c, print),
        ):
            channel = Channel("close")
            channel.open()
            other = Thread(wait, channel)
            eventually(lambda: channel._waiting, "the wait")
            channel.close()
            with self.assertRaises(ClosedError):
                other.finish()

    def test_close_while_others_receive_publish_and_close(self):
        for _ in range(30):
            channel = Channel("storm")
            channel.open()
            publisher = Publisher("storm")

            def receive():
                while True:
                    channel.fetch_many(timeout=None)

            def send():
                while True:
                    with suppress(pubsub.QueueFullError):  # the receivers may be slower
                        publisher.publish(b"x")

            receivers, sender = [Thread(receive), Thread(receive)], Thread(send)
            eventually(lambda: channel.stats().received > 10, "messages")
            for closer in [Thread(channel.close), Thread(channel.close), Thread(publisher.close)]:
                closer.finish()
            for thread in (*receivers, sender):
                with self.assertRaises(ClosedError):
                    thread.finish()


class Matching(unittest.TestCase):
    def test_patterns(self):
        for pattern, yes, no in (
            ("a.b", ["a.b"], ["a.c", "a", "a.b.c", "axb"]),
            ("a.=", ["a.b", "a.-", "a.xyz"], ["a", "a.", "a.b.c", "b.a"]),
            ("tes=.match", ["test.match", "testing.match"], ["tes.match", "test.m"]),
            ("a.+", ["a.b", "a.b.c.d"], ["a", "a.", "a.b.", "a..b"]),
            ("+.z", ["a.z", "a.b.z", "z.z"], ["z", ".z", "a..z"]),
            ("=.=", ["a.b"], ["a", "a.b.c"]),
            ("a..=", ["a..b"], ["a.b"]),
        ):
            for topic in yes:
                self.assertTrue(matches(pattern, topic), (pattern, topic))
            for topic in no:
                self.assertFalse(matches(pattern, topic), (pattern, topic))
        # Others take minutes.
        self.assertFalse(matches("a+a+a+a+a+a+a+a+a+a+.Z", "a" * 2000))
