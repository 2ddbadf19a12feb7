"""Request and reply."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

import pubsub
from pubsub import Channel, NotFoundError, Publisher, publish, request, request_async

from .support import HOME, PATIENCE, Case, Thread, channel_directories, eventually, finish, python


def inboxes():
    return [name for name in channel_directories() if name.startswith("reply.")]


class Server:
    """Answers what comes to a topic with "re " and the content, in a thread, until the end of ``with``."""

    def __init__(self, pattern, answer=None, **options):
        self.channel = Channel(pattern, **options)
        self.answer = answer or (lambda message: message.reply(b"re " + message.content))

    def __enter__(self):
        self.channel.open()
        self.thread = Thread(self.serve)
        return self

    def serve(self):
        for message in self.channel:
            self.answer(message)

    def __exit__(self, *_):
        self.channel.close()
        self.thread.finish()


class Requests(Case):
    def tearDown(self):
        pubsub.rpc._of_thread.inboxes.clear()
        super().tearDown()

    def test_a_reply_answers_its_request(self):
        def answer(message):
            self.assertEqual(message.headers["n"], 5)
            self.assertNotEqual(message.headers["correlation-id"], "passed on")
            self.assertEqual(message.reply(message.content.upper(), {"ok": True, "correlation-id": 1}), 1)

        with Server("rpc.=", answer), Publisher("rpc.a") as publisher:
            headers = {"n": 5, "correlation-id": "passed on"}
            for ask in (lambda: request("rpc.a", b"x", headers, PATIENCE), lambda: publisher.request(b"x", headers)):
                reply = ask()
                self.assertEqual((reply.content, reply.headers["ok"]), (b"X", True))
        self.assertEqual(headers, {"n": 5, "correlation-id": "passed on"})

    def test_nobody_listens(self):
        with self.assertRaisesRegex(NotFoundError, "nobody listens on 'rpc.nobody'"):
            request("rpc.nobody", b"x")
        with self.assertRaises(NotFoundError), Publisher("rpc.nobody") as publisher:
            publisher.request(b"x")
        with self.assertRaises(NotFoundError):
            asyncio.run(request_async("rpc.nobody", b"x"))
        with self.assertRaises(ValueError):
            request("rpc.nobody", b"x", timeout=-1)
        with self.assertRaises(pubsub.InvalidTopicError):
            request("no topic", b"x")

    def test_a_full_queue_is_an_error(self):
        with Channel("rpc.full", capacity_messages=1):
            publish("rpc.full", b"x")
            with self.assertRaises(pubsub.QueueFullError):
                request("rpc.full", b"x")

    def test_a_late_reply_answers_no_other_request(self):
        with Channel("rpc.late") as channel:
            for timeout in (0, 0.02):
                self.assertIsNone(request("rpc.late", b"late", timeout=timeout))
            self.assertIsNone(asyncio.run(request_async("rpc.late", b"late", timeout=0.02)))
            late = channel.fetch_many()
            self.assertEqual(len(late), 3)
            with Server("rpc.now", lambda m: [other.reply(b"late") for other in late] + [m.reply(b"right")]):
                self.assertEqual(request("rpc.now", b"x", timeout=PATIENCE).content, b"right")

    def test_what_asks_for_no_reply(self):
        with Channel("rpc.none") as channel, Channel("rpc.answers") as answers:
            for headers, error in (
                ({}, pubsub.InvalidArgumentError),
                ({"response-topic": 5}, pubsub.InvalidArgumentError),
                ({"response-topic": "a.+"}, pubsub.InvalidTopicError),
            ):
                publish("rpc.none", b"x", headers)
                with self.assertRaises(error):
                    channel.fetch().reply(b"y")
            for headers in ({"correlation-id": None}, {"correlation-id": 17}, {}):
                publish("rpc.none", b"x", {"response-topic": "rpc.answers", **headers})
                self.assertEqual(channel.fetch().reply(b"y"), 1)
                self.assertEqual(answers.fetch().headers, headers)

    def test_another_store(self):
        with tempfile.TemporaryDirectory(dir=HOME.parent) as place:
            home = Path(place, "store")
            with Server("rpc.a", home=home), Publisher("rpc.a", home=home) as publisher:
                self.assertEqual(publisher.request(b"x").content, b"re x")
                self.assertEqual(asyncio.run(publisher.request_async(b"y")).content, b"re y")
                with self.assertRaises(NotFoundError):
                    request("rpc.a", b"x")
            pubsub.rpc._of_thread.inboxes.clear()

    def test_each_thread_has_an_inbox_until_it_ends(self):
        def ask(number):
            for _ in range(10):
                reply = request("rpc.many", b"%d" % number, timeout=PATIENCE)
                self.assertEqual(reply.content, b"re %d" % number)
            return inboxes()

        with Server("rpc.many"):
            threads = [Thread(ask, n) for n in range(8)]
            for thread in threads:
                self.assertGreater(len(thread.finish()), 0)
            eventually(lambda: not inboxes(), "the end of the inboxes")
            self.assertEqual(len({ask(1)[0], ask(2)[0]}), 1)

    def test_a_request_in_a_callback(self):
        with Server("rpc.back"), Server("rpc.front", lambda m: m.reply(request("rpc.back", m.content).content)):
            self.assertEqual(request("rpc.front", b"x", timeout=PATIENCE).content, b"re x")

    def test_a_thousand_tasks_share_one_inbox(self):
        async def ask_all():
            await request_async("rpc.thousand", b"first", timeout=PATIENCE)
            with Publisher("rpc.thousand") as publisher:
                tasks = [publisher.request_async(b"%d" % n, timeout=PATIENCE) for n in range(500)]
                tasks += [request_async("rpc.thousand", b"%d" % n, timeout=PATIENCE) for n in range(500, 1000)]
                replies = await asyncio.gather(*tasks)
            return [reply.content for reply in replies], inboxes()

        waiting = []

        def answer(message):
            waiting.append(message)
            if message.content == b"first" or len(waiting) == 1001:
                # All at once, in another order than they came in.
                for one in reversed(waiting):
                    one.reply(b"re " + one.content)
                del waiting[1:]

        with Server("rpc.thousand", answer):
            replies, there = asyncio.run(ask_all())
        self.assertEqual(replies, [b"re %d" % n for n in range(1000)])
        self.assertEqual(len(there), 1)

    def test_a_cancelled_task_leaves_nothing(self):
        async def main():
            loop = asyncio.get_running_loop()
            task = asyncio.create_task(request_async("rpc.cancel", b"x"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            inbox = pubsub.rpc._of_loop(None, loop)
            self.assertEqual(inbox.waiting, {})
            channel.fetch().reply(b"late")
            with Server("rpc.next"):
                reply = await request_async("rpc.next", b"y", timeout=PATIENCE)
            return reply.content

        with Channel("rpc.cancel") as channel:
            self.assertEqual(asyncio.run(main()), b"re y")

    def test_a_loop_is_not_blocked(self):
        async def main():
            asked = asyncio.create_task(request_async("rpc.slow", b"x", timeout=PATIENCE))
            await asyncio.sleep(0.01)
            channel.fetch().reply(b"from the same loop")
            return (await asked).content

        with Channel("rpc.slow") as channel:
            self.assertEqual(asyncio.run(main()), b"from the same loop")

    def test_a_deleted_inbox_is_made_anew(self):
        async def main():
            replies = []
            for _ in range(2):
                replies.append((await request_async("rpc.deleted", b"x", timeout=PATIENCE)).content)
                for name in inboxes():
                    shutil.rmtree(HOME / name)
            return replies

        with Server("rpc.deleted"):
            for _ in range(2):
                self.assertEqual(request("rpc.deleted", b"x", timeout=PATIENCE).content, b"re x")
                for name in inboxes():
                    shutil.rmtree(HOME / name)
            self.assertEqual(asyncio.run(main()), [b"re x"] * 2)

    def test_a_signal_handler_runs_and_the_wait_goes_on(self):
        handled = []
        before = signal.signal(signal.SIGALRM, lambda *_: handled.append(request("rpc.signal", b"in the handler")))
        try:
            with Channel("rpc.wait") as channel, Server("rpc.signal"):
                other = Thread(lambda: (eventually(lambda: handled, "the handler"), channel.fetch().reply(b"after")))
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                self.assertEqual(request("rpc.wait", b"x", timeout=PATIENCE).content, b"after")
                other.finish()
            self.assertEqual(handled[0].content, b"re in the handler")
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_ctrl_c_ends_the_wait(self):
        script = """
            import pubsub
            channel = pubsub.Channel("rpc.ctrl-c")
            print("asking", flush=True)
            try:
                pubsub.request("rpc.ctrl-c", b"x")
            except KeyboardInterrupt:
                print("ended")
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            eventually(inboxes, "the request")
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            self.assertEqual(finish(process)[0], "ended\n")

    def test_a_forked_child_has_its_own(self):
        with Server("rpc.fork"):
            self.assertEqual(request("rpc.fork", b"x", timeout=PATIENCE).content, b"re x")
            child = os.fork()
            if child == 0:
                answered = request("rpc.fork", b"child", timeout=PATIENCE)
                pubsub.rpc._of_thread.inboxes.clear()
                os._exit(answered.content != b"re child")
            self.assertEqual(request("rpc.fork", b"y", timeout=PATIENCE).content, b"re y")
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertEqual(request("rpc.fork", b"z", timeout=PATIENCE).content, b"re z")

    def test_programs_leave_nothing(self):
        script = """
            import asyncio, threading, pubsub
            channel = pubsub.Channel("rpc.exit")
            channel.open()
            pubsub.request("rpc.exit", b"x", timeout=0)
            asyncio.run(pubsub.request_async("rpc.exit", b"x", timeout=0.001))
            threading.Thread(target=pubsub.request, args=("rpc.exit", b"x"), daemon=True).start()
            for _ in range(3):
                channel.fetch(timeout=None)
        """
        done = python(script)
        self.assertEqual((done.stderr, inboxes()), ("", []))

    @unittest.skipUnless(os.environ.get("FORMIX_PATH"), "FORMIX_PATH names no formix-pubsub")
    def test_formix_on_either_side(self):
        server = """
            from pubsub import Channel, publish, subscribe
            import os, signal
            with Channel(topic="rpc.formix") as channel:
                print("ready", flush=True)
                def answer(request):
                    publish(request.headers["response-topic"], b"re " + request.content,
                            headers={"correlation-id": request.headers["correlation-id"]})
                subscribe(channel, answer, timeout_seconds=30.0)
        """
        client = """
            from pubsub import Channel, publish, fetch
            import time
            with Channel(topic="rpc.responses.client1") as channel:
                publish("rpc.ours", b"x", headers={"response-topic": "rpc.responses.client1", "correlation-id": "1763"})
                while (reply := fetch(channel)) is None:
                    time.sleep(0.01)
                print(reply.content, reply.headers)
        """
        environment = {**os.environ, "PYTHONPATH": os.environ["FORMIX_PATH"]}
        command = [sys.executable, "-c", textwrap.dedent(server)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            process.stdout.readline()
            for ask in (lambda: request("rpc.formix", b"x", timeout=PATIENCE),
                        lambda: asyncio.run(request_async("rpc.formix", b"x", timeout=PATIENCE))):
                self.assertEqual(ask().content, b"re x")
            process.terminate()
            finish(process)
        with Server("rpc.ours"):
            said = python(client, env=environment).stdout
        self.assertEqual(said, "b're x' {'correlation-id': '1763'}\n")


if __name__ == "__main__":
    unittest.main()
