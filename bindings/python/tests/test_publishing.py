"""publish() and publishers."""

import time

import pubsub
from pubsub import Channel, ClosedError, Publisher, QueueFullError, publish

from .support import PATIENCE, Case, Thread, eventually


class Publishing(Case):
    def test_anything_with_bytes_in_it(self):
        from array import array

        with Channel("data") as channel, Publisher("data") as publisher:
            readonly = memoryview(b"abcdef")
            for data, wanted in (
                (b"", b""),
                (b"a\0b", b"a\0b"),
                (bytearray(b"xyz"), b"xyz"),
                (readonly[1:3], b"bc"),
                (readonly[::2], b"ace"),
                (array("H", [1, 2]), array("H", [1, 2]).tobytes()),
            ):
                self.assertEqual(publish("data", data), 1)
                self.assertEqual(publisher.publish(data), 1)
                self.assertEqual(publisher.publish_many([data, b"x"]), 2)
                self.assertEqual([m.content for m in channel.fetch_many()], [wanted] * 3 + [b"x"])

    def test_what_is_no_data_is_a_TypeError(self):
        with Publisher("wrong") as publisher:
            for data in (None, "text", 7, 1.5, [1], object()):
                for call in (lambda d: publish("wrong", d), publisher.publish, lambda d: publisher.publish_many([d])):
                    with self.subTest(data=data), self.assertRaises(TypeError):
                        call(data)
            for payloads in (b"bytes", "text", 7, None):
                with self.assertRaises(TypeError):
                    publisher.publish_many(payloads)

    def test_what_is_no_topic(self):
        for topic in ("", "a b", "a\0b", "a.=", "a.+", "ü", "\ud800", "a" * 201):
            with self.subTest(topic=topic):
                for call in (lambda t: publish(t, b""), Publisher, Channel):
                    if call is Channel and topic in ("a.=", "a.+"):
                        continue
                    with self.assertRaises(pubsub.InvalidTopicError) as caught:
                        call(topic)
                    self.assertIsInstance(caught.exception, ValueError)
                    self.assertEqual((caught.exception.code, caught.exception.name), (-2, "PS_ERR_INVALID_TOPIC"))
        for topic in (None, 7, b"bytes"):
            for call in (lambda t: publish(t, b""), Publisher, Channel):
                with self.assertRaises(TypeError):
                    call(topic)

    def test_headers(self):
        with Channel("headers") as channel, Publisher("headers") as publisher:
            for headers in (
                {},
                {"a": 1},
                {"text": "ü\0\n\"", "yes": True, "none": None, "float": 1e16, "big": 1 << 80, "": -1},
                {"inf": float("inf")},
                {"long": "x" * 5000},
                {"nested": {"a": [1]}},
            ):
                publish("headers", b"", headers)
                publisher.publish(b"", headers)
                publisher.publish_many([b"", b""], headers)
                self.assertEqual([m.headers for m in channel.fetch_many()], [headers] * 4)
            from types import MappingProxyType

            publish("headers", b"", MappingProxyType({"a": 1}))
            self.assertEqual(channel.fetch().headers, {"a": 1})
            for headers, error in (([1], TypeError), ("x", TypeError), ({"a": object()}, TypeError), ({"a": "\ud800"}, ValueError)):
                with self.assertRaises(error):
                    publish("headers", b"", headers)
                with self.assertRaises(error):
                    publisher.publish_many([b""], headers)

    def test_many_in_order_from_any_iterable(self):
        with Channel("many", capacity_messages=10_000) as channel, Publisher("many") as publisher:
            self.assertEqual(publisher.publish_many([]), 0)
            self.assertEqual(publisher.publish_many(b"%d" % n for n in range(3000)), 3000)
            self.assertEqual([int(m.content) for m in channel.fetch_many(5000)], list(range(3000)))
            large = [bytes([n]) * (1 << 20) for n in range(4)]
            self.assertEqual(publisher.publish_many([b"small", *large, b"end"]), 6)
            self.assertEqual([m.content for m in channel.fetch_many(10)], [b"small", *large, b"end"])

    def test_many_stop_where_the_queue_is_full(self):
        with Channel("stop", capacity_messages=1500) as channel, Publisher("stop") as publisher:
            self.assertEqual(publisher.publish_many([b"x"] * 3000), 1500)
            with self.assertRaises(QueueFullError) as caught:
                publisher.publish_many([b"x"])
            self.assertEqual(caught.exception.code, -8)
            with self.assertRaises(QueueFullError):
                publisher.publish(b"x")
            self.assertEqual(len(channel.fetch_many(5000)), 1500)

    def test_many_large_stop_where_the_queue_is_full(self):
        with Channel("stop", capacity_messages=3), Publisher("stop") as publisher:
            large = [bytes(1 << 20)] * 5
            self.assertEqual(publisher.publish_many(large), 3)
            with self.assertRaises(QueueFullError):
                publisher.publish_many(large)

    def test_full_timeout_waits_for_room(self):
        with Channel("room", capacity_messages=1) as channel, Publisher("room", full_timeout=PATIENCE) as publisher:
            publisher.publish(b"1")
            other = Thread(publisher.publish_many, [b"2", b"3"])
            self.assertEqual([channel.fetch(PATIENCE).content for _ in range(3)], [b"1", b"2", b"3"])
            self.assertEqual(other.finish(), 2)
        with Channel("room", capacity_messages=1), Publisher("room", full_timeout=0.05) as publisher:
            publisher.publish(b"1")
            start = time.monotonic()
            with self.assertRaises(QueueFullError):
                publisher.publish(b"2")
            self.assertGreaterEqual(time.monotonic() - start, 0.05)
        for timeout in (-1, float("nan"), 1e10):
            with self.assertRaises(ValueError):
                Publisher("room", full_timeout=timeout)

    def test_a_closed_publisher(self):
        publisher = Publisher("closed")
        publisher.close()
        publisher.close()
        self.assertIn("closed", repr(publisher))
        for call in (lambda: publisher.publish(b""), lambda: publisher.publish_many([b""])):
            with self.assertRaises(ClosedError) as caught:
                call()
            self.assertIsInstance(caught.exception, RuntimeError)

    def test_close_while_another_thread_waits_for_room(self):
        with Channel("busy", capacity_messages=1) as channel:
            publisher = Publisher("busy", full_timeout=PATIENCE)
            publisher.publish(b"1")
            other = Thread(publisher.publish, b"2")
            eventually(lambda: channel.stats().unread_messages == 1, "the first")
            publisher.close()
            self.assertEqual(channel.fetch(PATIENCE).content, b"1")
            try:
                self.assertEqual(other.finish(), 1)
            except ClosedError:
                pass  # it had not begun yet
