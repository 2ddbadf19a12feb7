"""What programs written for formix-pubsub rely on, beyond its own tests."""

import contextlib
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

import pubsub.pubsub
from pubsub import Channel, Message, fetch, publish, subscribe
from pubsub.abstractions import get_base_dir, is_process_running

from .support import HOME, PATIENCE, Case, Thread, eventually, finish, python


class Programs(Case):
    """The programs of formix-pubsub's documentation, as it describes them."""

    def test_subscribe_in_the_process_that_publishes(self):
        with Channel(topic="news.sports") as channel:
            self.assertEqual(publish("news.sports", b"Team wins championship!"), 1)
            seen = []
            self.assertEqual(subscribe(channel, lambda m: seen.append(m.content), timeout_seconds=0.2), 1)
        self.assertEqual(seen, [b"Team wins championship!"])

    def test_fetch_until_there_is_nothing(self):
        with Channel(topic="alerts") as channel:
            publish("alerts", b"System starting")
            publish("alerts", b"All systems operational")
            seen = []
            message = fetch(channel)
            while message:
                seen.append((message.topic, message.content.decode()))
                message = fetch(channel)
        self.assertEqual(seen, [("alerts", "System starting"), ("alerts", "All systems operational")])

    def test_one_word_wildcard(self):
        with Channel(topic="news.=") as channel:
            for topic in ("news.sports", "news.tech", "news", "news.a.b", "old.news"):
                publish(topic, topic.encode())
            seen = []
            subscribe(channel, lambda m: seen.append(m.topic), timeout_seconds=0.2)
        self.assertEqual(seen, ["news.sports", "news.tech"])

    def test_wildcards_in_the_middle_and_of_many_words(self):
        topics = ["logs.error", "logs.app.error", "logs.app.module.error", "logs"]
        with Channel("logs.=.error") as one, Channel("logs.+") as many:
            for topic in topics:
                publish(topic, b"")
            self.assertEqual([m.topic for m in one.fetch_many()], ["logs.app.error"])
            self.assertEqual([m.topic for m in many.fetch_many()], topics[:3])

    def test_several_subscribers_in_threads(self):
        with Channel("broadcast") as first, Channel("broadcast") as second:
            seen = {first: [], second: []}

            def run(channel):
                return subscribe(channel, lambda m: seen[channel].append(m.content), timeout_seconds=0.5)

            # First, for on a busy machine the time could be over before it comes.
            self.assertEqual(publish("broadcast", b"Hello everyone!"), 2)
            threads = [Thread(run, first), Thread(run, second)]
            self.assertEqual([thread.finish() for thread in threads], [1, 1])
            self.assertEqual(list(seen.values()), [[b"Hello everyone!"]] * 2)

    def test_request_and_reply_by_headers(self):
        def serve(requests):
            def handle(request):
                to, number = request.headers.get("response-topic"), request.headers.get("correlation-id")
                publish(to, b"Processed: " + request.content, headers={"correlation-id": number})

            return subscribe(requests, handle, timeout_seconds=1)

        with Channel(topic="rpc.requests") as requests, Channel(topic="rpc.responses.client1") as responses:
            headers = {"response-topic": "rpc.responses.client1", "correlation-id": "17"}
            # Before the server's second begins, which a busy machine could let pass.
            publish("rpc.requests", b"2 + 2", headers=headers)
            server = Thread(serve, requests)
            response = fetch(responses, timeout=PATIENCE)
            self.assertEqual(server.finish(), 1)
        self.assertEqual((response.content, response.headers), (b"Processed: 2 + 2", {"correlation-id": "17"}))


class Interface(Case):
    def test_the_modules_have_formix_names(self):
        from pubsub import abstractions, channel, message

        names = {
            pubsub: ["Channel", "Message", "fetch", "publish", "subscribe"],
            pubsub.pubsub: ["Channel", "fetch", "publish", "subscribe"],
            channel: ["Channel"],
            message: [
                "Header",
                "HeaderValueTypes",
                "MESSAGE_FORMAT_VERSION",
                "MESSAGE_MAGIC_NUMBER",
                "Message",
                "SUPPORTED_MESSAGE_VERSIONS",
            ],
            abstractions: ["get_base_dir", "is_process_running"],
        }
        for module, wanted in names.items():
            for name in wanted:
                self.assertTrue(hasattr(module, name), f"{module.__name__}.{name}")
        self.assertEqual(message.Header, dict[str, str | int | float | bool | None])
        python("import pubsub; pubsub.channel, pubsub.message, pubsub.pubsub, pubsub.abstractions.get_base_dir()")

    def test_base_directory_and_processes(self):
        self.assertEqual(get_base_dir(), HOME)
        self.assertTrue(is_process_running(os.getpid()))
        for pid in (0, -1, 999_999_999, 1 << 70):
            self.assertFalse(is_process_running(pid), pid)

    def test_a_channel_is_a_directory_of_a_queue_and_a_file_a_message(self):
        with Channel("a.=", transport="files") as channel:
            publish("a.b", b"x")
            self.assertEqual(len(list(channel.directory_path.iterdir())), 2)
            self.assertEqual(len([p for p in channel.directory_path.glob("*") if p.name != "queue"]), 1)
            self.assertTrue(channel.queue_path.is_fifo())
            self.assertEqual(len(channel.random_id), 12)
            self.assertEqual(channel.matching_active_paths("a.xyz"), [channel.directory_path])
            self.assertEqual(channel.matching_active_paths("a.x.y"), [])
            self.assertIsInstance(channel.directory_path / "queue", Path)

    def test_channels_of_dead_processes_are_seen_and_removed(self):
        script = "import os; from pubsub import Channel; c = Channel('dead'); os._exit(0)"
        python(script)
        with Channel("living") as channel:
            self.assertEqual(Channel.active_paths(), [channel.directory_path])
            Channel.cleanup_inactive()
            self.assertEqual(Channel.inactive_paths(), [])
            self.assertTrue(channel.directory_path.exists())

    def test_full_channels_make_publish_answer_0(self):
        with Channel("full", capacity_messages=2) as channel:
            self.assertEqual([publish("full", b"x") for _ in range(4)], [1, 1, 0, 0])
            self.assertEqual(pubsub.last_rejected(), 1)
            self.assertEqual(channel.stats().rejected, 2)

    def test_a_closed_channel_stays_closed(self):
        channel = Channel("once")
        channel.close()
        for error in (OSError, RuntimeError):
            with self.assertRaises(error):
                channel.open()

    def test_received_messages_can_be_written_copied_and_given_attributes(self):
        with Channel("m") as channel:
            publish("m", b"\0x", {"n": 1, "f": 0.5, "s": "ü", "b": True, "z": None})
            message = fetch(channel)
        for copy in (Message.from_bytes(message.to_bytes()), pickle.loads(pickle.dumps(message))):
            for name in ("id", "timestamp", "topic", "content", "headers"):
                self.assertEqual(getattr(copy, name), getattr(message, name))
        message.mine = 1
        message.headers = {"other": 2}
        self.assertEqual((message.mine, message.headers), (1, {"other": 2}))

    def test_messages_that_are_none_are_refused(self):
        good = Message("t", b"x").to_bytes()
        for bad in (b"", b"XXXX", good[:4] + b"\x02" + good[5:], good[:-1]):
            with self.assertRaises(ValueError):
                Message.from_bytes(bad)

    def test_the_callbacks_exceptions_are_logged_and_the_next_message_follows(self):
        with Channel("log") as channel:
            publish("log", b"1")
            publish("log", b"2")
            seen = []

            def callback(message):
                seen.append(message.content)
                raise KeyError("mine")

            with self.assertLogs("pubsub", logging.WARNING) as logs:
                self.assertEqual(subscribe(channel, callback, 0.1), 2)
        self.assertEqual(seen, [b"1", b"2"])
        self.assertIn("mine", logs.output[0])


class Signals(Case):
    SCRIPT = """
        import os, signal, sys, threading
        from pubsub import Channel, publish, subscribe
        number = getattr(signal, sys.argv[1])
        def own(number, frame): print("own handler", flush=True)
        if sys.argv[2] == "own":
            signal.signal(number, own)
        before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        with Channel("signals") as channel:
            def callback(message):
                print("in the callback", flush=True)
                if message.content == b"now":
                    os.kill(os.getpid(), number)
                print("callback done", flush=True)
            if sys.argv[3] == "callback":
                for data in (b"first", b"now", b"third"):
                    publish("signals", data)
            else:
                print("waiting", flush=True)
            try:
                print("returned", subscribe(channel, callback), flush=True)
            except KeyboardInterrupt:
                print("KeyboardInterrupt", flush=True)
            after = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
            print("put back", after == before, flush=True)
            left = channel.fetch()
            print("left", left and left.content, flush=True)
    """

    def test_in_a_callback_that_message_is_completed_and_the_rest_stays(self):
        for number, handler, ends in (
            ("SIGTERM", "default", ["returned -1"]),
            ("SIGTERM", "own", ["own handler", "returned -1"]),
            ("SIGINT", "own", ["own handler", "returned -1"]),
            ("SIGINT", "default", ["KeyboardInterrupt"]),
        ):
            with self.subTest(number=number, handler=handler):
                done = python(self.SCRIPT, number, handler, "callback")
                callback = ["in the callback", "callback done"]
                self.assertEqual(done.stdout.splitlines(), callback * 2 + ends + ["put back True", "left b'third'"])
                self.assertEqual(done.stderr, "")

    def test_in_a_wait_it_ends_at_once(self):
        import textwrap

        for number, handler, ends in (
            (signal.SIGTERM, "default", ["returned -1"]),
            (signal.SIGINT, "own", ["own handler", "returned -1"]),
            (signal.SIGINT, "default", ["KeyboardInterrupt"]),
        ):
            with self.subTest(number=number, handler=handler):
                command = [sys.executable, "-c", textwrap.dedent(self.SCRIPT), number.name, handler, "wait"]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                    self.assertEqual(process.stdout.readline(), "waiting\n")
                    # The handlers are set between "waiting" and the wait.
                    eventually(lambda: catches(process.pid, number), "the handler")
                    process.send_signal(number)
                    out, _ = finish(process)
                self.assertEqual(out.splitlines(), [*ends, "put back True", "left None"])

    def test_other_threads_leave_handlers_alone(self):
        before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        with Channel("thread") as channel:
            publish("thread", b"")
            during = []
            run = Thread(subscribe, channel, lambda m: during.append(signal.getsignal(signal.SIGINT)), 0.2)
            self.assertEqual(run.finish(), 1)
        self.assertEqual(during, before[:1])
        self.assertEqual([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)], before)


def catches(pid, number):
    """Whether a process sleeps in a wait and has a handler of its own for a signal. Linux only."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("State:") and "S" not in line.split()[1]:
                return False
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


@unittest.skipUnless(os.environ.get("FORMIX_PATH"), "FORMIX_PATH does not say where formix-pubsub is")
class WithFormix(Case):
    """An unmodified formix-pubsub process in the same store."""

    def formix(self, script, *arguments):
        done = python(script, *arguments, env={**os.environ, "PYTHONPATH": os.environ["FORMIX_PATH"]})
        return done.stdout.splitlines()

    def test_its_messages_arrive_wildcards_included(self):
        publishes = """
            import pubsub
            assert not hasattr(pubsub, "Publisher"), "that is not formix-pubsub"
            for topic in ("it.works", "it", "it.works.well"):
                print(pubsub.publish(topic, b"\\0\\xff", {"n": 1, "t": topic, "x": None}))
        """
        with Channel("it.=") as one, Channel("it.+") as many:
            self.assertEqual(self.formix(publishes)[1], "0")
            got = [(m.topic, m.content, m.headers) for m in many.fetch_many()]
            self.assertEqual([m.topic for m in one.fetch_many()], ["it.works"])
        wanted = ("it.works", "it.works.well")
        self.assertEqual(got, [(t, b"\0\xff", {"n": 1, "t": t, "x": None}) for t in wanted])

    def test_ours_arrive_there(self):
        import textwrap

        receives = """
            from pubsub import Channel, fetch
            import time
            with Channel("to.+") as channel:
                print("ready", flush=True)
                end = time.time() + 120
                left = 3
                while left and time.time() < end:
                    message = fetch(channel)
                    if message:
                        print(message.topic, message.content, message.headers, flush=True)
                        left -= 1
        """
        environment = {**os.environ, "PYTHONPATH": os.environ["FORMIX_PATH"]}
        command = [sys.executable, "-c", textwrap.dedent(receives)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.assertEqual(publish("to.it", b"\0", {"f": 1e16, "big": 1 << 70, "s": "ü"}), 1)
            with pubsub.Publisher("to.it") as publisher:
                self.assertEqual(publisher.publish_many([b"a", b""]), 2)
            out, _ = finish(process)
        first = f"to.it b'\\x00' {{'f': 1e+16, 'big': {1 << 70}, 's': 'ü'}}"
        self.assertEqual(out.splitlines(), [first, "to.it b'a' {}", "to.it b'' {}"])
