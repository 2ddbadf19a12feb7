"""What goes wrong ends in Python's own error or a clean exit, never in a crash or a hang."""

import copy
import gc
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import unittest
import warnings

import pubsub
from pubsub import Channel, ClosedError, Publisher, publish

from .support import PATIENCE, Case, channel_directories, eventually, finish, python
from .test_dropin import catches


class Misuse(Case):
    def test_use_before_open_and_after_close(self):
        channel = Channel("early")
        calls = (
            channel.fetch,
            channel.fetch_many,
            channel.fileno,
            lambda: next(iter(channel)),
            lambda: pubsub.fetch(channel),
            lambda: pubsub.subscribe(channel, print, 0.1),
        )
        for state in ("not open", "closed"):
            for call in calls:
                with self.assertRaisesRegex(ClosedError, state):
                    call()
            channel.close()
            channel.close()
        with self.assertRaises(ClosedError):
            channel.stats()
        self.assertFalse(channel.is_open)

    def test_a_callback_may_use_its_own_channel(self):
        with Channel("own") as channel:
            for n in range(3):
                publish("own", b"%d" % n)
            got = []

            def callback(message):
                got.append(message.content)
                if message.content == b"0":
                    got.append(channel.fetch().content)
                else:
                    channel.close()

            with self.assertRaises(ClosedError):
                pubsub.subscribe(channel, callback)
            self.assertEqual(got, [b"0", b"1", b"2"])

    def test_a_callback_that_ends_the_program(self):
        with Channel("end") as channel:
            publish("end", b"1")
            publish("end", b"2")
            for error in (SystemExit, KeyboardInterrupt):
                with self.assertRaises(error):
                    pubsub.subscribe(channel, self.raiser(error))

    @staticmethod
    def raiser(error):
        def callback(message):
            raise error

        return callback

    def test_what_is_no_callback_is_logged_as_formix_does(self):
        with Channel("none") as channel, self.assertLogs("pubsub"):
            publish("none", b"")
            self.assertEqual(pubsub.subscribe(channel, None, 0.1), 1)

    def test_channels_are_neither_copied_nor_pickled(self):
        with Channel("one.owner") as channel:
            for make in (copy.copy, copy.deepcopy, pickle.dumps):
                with self.assertRaisesRegex(TypeError, "open another"):
                    make(channel)
            gc.collect()
            publish("one.owner", b"")
            self.assertIsNotNone(channel.fetch())

    def test_a_forgotten_channel_is_removed_with_a_warning(self):
        channel = Channel("forgotten")
        channel.open()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del channel
            gc.collect()
        self.assertEqual([w.category for w in caught], [ResourceWarning])

    def test_open_channels_and_waiting_threads_at_exit(self):
        done = python(
            """
            import threading, time
            from pubsub import Channel, Publisher, publish, subscribe
            channels = [Channel(f"exit.{n}") for n in range(3)]
            for channel in channels:
                channel.open()
            publisher = Publisher("exit.0")
            iteration = iter(channels[2])
            publish("exit.2", b"")
            next(iteration)
            threading.Thread(target=subscribe, args=(channels[0], print), daemon=True).start()
            threading.Thread(target=channels[1].fetch, args=(None,), daemon=True).start()
            while not (channels[0]._waiting and channels[1]._waiting):
                time.sleep(0.001)
            """
        )
        self.assertEqual((done.stdout, done.stderr), ("", ""))

    def test_an_exception_and_sys_exit_leave_nothing(self):
        for ending in ("raise SystemExit(3)", "1/0", "import sys; sys.exit(2)"):
            done = python(f"from pubsub import Channel\nc = Channel('x'); c.open()\n{ending}", check=False)
            self.assertGreater(done.returncode, 0)
            self.assertEqual(channel_directories(), [])

    def test_ctrl_c_ends_every_wait(self):
        waits = {
            "fetch": "channel.fetch(None)",
            "fetch_many": "channel.fetch_many(timeout=None)",
            "iteration": "next(iter(channel))",
            "asyncio": "asyncio.run(listen())",
            "publisher": "publisher.publish(b'2')",
        }
        script = """
            import asyncio, signal, sys
            from pubsub import Channel, Publisher
            with Channel("ctrl.c", capacity_messages=1) as channel, Publisher("ctrl.c", full_timeout=1000) as publisher:
                async def listen():
                    async for message in channel:
                        pass
                publisher.publish(b"1")
                if sys.argv[1] != "publisher":
                    channel.fetch()
                print("ready", flush=True)
                try:
                    WAIT
                except KeyboardInterrupt:
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    print("KeyboardInterrupt", flush=True)
        """
        for name, wait in waits.items():
            with self.subTest(wait=name):
                command = [sys.executable, "-c", textwrap.dedent(script).replace("WAIT", wait), name]
                with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                    self.assertEqual(process.stdout.readline(), "ready\n")
                    eventually(lambda: catches(process.pid, signal.SIGINT), "the wait")
                    process.send_signal(signal.SIGINT)
                    if name == "publisher":
                        # The library's wait for room notices a signal only while it sleeps; the next one does it.
                        while select.select([process.stdout], [], [], 0.3)[0] == []:
                            process.send_signal(signal.SIGINT)
                    out, err = finish(process)
                self.assertEqual((out, err, process.returncode), ("KeyboardInterrupt\n", "", 0))

    def test_a_handler_that_does_not_raise_does_not_end_the_wait(self):
        done = python(
            """
            import signal
            from pubsub import Channel, publish
            came = []
            def alarm(number, frame):
                came.append(number)
                if len(came) == 3:
                    publish("alarm", b"x")
                    signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            with Channel("alarm") as channel:
                print(channel.fetch(30).content, len(came) >= 3)
            """
        )
        self.assertEqual(done.stdout, "b'x' True\n")

    def test_a_signal_handler_may_close_the_channel_that_waits(self):
        done = python(
            """
            import signal
            from pubsub import Channel, ClosedError
            with Channel("handler") as channel:
                signal.signal(signal.SIGALRM, lambda number, frame: channel.close())
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                try:
                    channel.fetch(None)
                except ClosedError:
                    print("closed")
            """
        )
        self.assertEqual(done.stdout, "closed\n")

    def test_what_ctrl_c_interrupts_loses_nothing(self):
        done = python(
            """
            import signal
            from pubsub import Channel, Publisher
            class Stop(Exception): pass
            def stop(number, frame): raise Stop
            signal.signal(signal.SIGALRM, stop)
            got = []
            with Channel("keep", capacity_messages=20000) as channel, Publisher("keep") as publisher:
                sent = stopped = tries = 0
                while len(got) < sent or stopped < 5:
                    if len(got) == sent:
                        publisher.publish_many(b"%d" % n for n in range(sent, sent + 5000))
                        sent += 5000
                    tries += 1
                    try:
                        # One signal at most, and only in here. Where it interrupts is chance; nothing may be lost.
                        signal.setitimer(signal.ITIMER_REAL, 0.00002 + tries % 20 * 0.00002)
                        channel._wait(0)
                        signal.setitimer(signal.ITIMER_REAL, 0)
                    except Stop:
                        stopped += 1
                        continue
                    got += channel.fetch_many()
            print([int(m.content) for m in got] == list(range(sent)))
            """
        )
        self.assertEqual(done.stdout, "True\n")


    def test_a_handler_that_fetches_in_the_middle_of_fetching_takes_none_twice_and_loses_none(self):
        done = python(
            """
            import signal
            from pubsub import BusyError, Channel, Publisher
            got, busy = [], 0
            with Channel("storm", capacity_messages=20000) as channel, Publisher("storm") as publisher:
                def alarm(number, frame):
                    global busy
                    try:
                        message = channel.fetch()
                        if message is not None:
                            got.append(int(message.content))
                    except BusyError:
                        busy += 1
                signal.signal(signal.SIGALRM, alarm)
                signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
                wanted = 0
                while wanted < 100000 and not (busy and wanted > 20000):
                    publisher.publish_many(b"%d" % n for n in range(wanted, wanted + 10000))
                    wanted += 10000
                    while (message := channel.fetch()) is not None:
                        got.append(int(message.content))
                signal.setitimer(signal.ITIMER_REAL, 0)
            print(sorted(got) == list(range(wanted)), busy > 0)
            """
        )
        self.assertEqual(done.stdout, "True True\n")


class Fork(Case):
    def in_child(self, function):
        """Runs it in a forked child, and answers what it returned or raised."""
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)

        def run():
            try:
                sender.send(repr(function()))
            except Exception as error:
                sender.send(type(error).__name__)

        child = context.Process(target=run)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fork with threads
            child.start()
        sender.close()
        self.assertTrue(receiver.poll(PATIENCE), "the child hangs")
        result = receiver.recv()
        child.join(PATIENCE)
        self.assertEqual(child.exitcode, 0)
        return result

    def test_a_childs_inherited_channels_and_publishers_are_closed_and_the_parent_notices_nothing(self):
        with Channel("fork") as channel, Publisher("fork") as publisher:
            publisher.publish_many([b"1", b"2"])
            iteration = iter(channel)
            self.assertEqual(next(iteration).content, b"1")
            self.assertEqual(self.in_child(channel.fetch), "ClosedError")
            self.assertEqual(self.in_child(lambda: list(iteration)), "[]")
            self.assertEqual(self.in_child(channel.fileno), "ClosedError")
            self.assertEqual(self.in_child(channel.open), "ReopenError")
            self.assertEqual(self.in_child(lambda: publisher.publish(b"")), "ClosedError")
            self.assertEqual(self.in_child(lambda: (channel.close(), publisher.close())), "(None, None)")
            self.assertEqual(next(iteration).content, b"2")
            self.assertEqual(publisher.publish(b"3"), 1)
            self.assertEqual(next(iteration).content, b"3")

    def test_a_child_opens_its_own(self):
        def child():
            with Channel("mine") as channel:
                return publish("mine", b"x"), channel.fetch().content

        self.assertEqual(self.in_child(child), "(1, b'x')")

    def test_fork_while_another_thread_waits(self):
        from .support import Thread

        with Channel("threads") as channel:
            other = Thread(channel.fetch, None)
            eventually(lambda: channel._waiting, "the wait")
            self.assertEqual(self.in_child(channel.fetch), "ClosedError")
            self.assertEqual(self.in_child(channel.close), "None")
            publish("threads", b"x")
            self.assertEqual(other.finish().content, b"x")

    def test_a_process_pool(self):
        with Channel("pool.=") as channel:
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    self.assertEqual(pool.map(publish_number, range(8)), [1] * 8)
                got = sorted(int(m.content) for m in channel.fetch_many(8, PATIENCE))
                self.assertEqual(got, list(range(8)))


def publish_number(number):
    return publish("pool.x", b"%d" % number)


class Errors(unittest.TestCase):
    def test_every_code_has_its_class(self):
        from pubsub import errors

        self.assertEqual(sorted(errors._BY_CODE), list(range(-15, 0)))
        for code, cls in errors._BY_CODE.items():
            error = errors.last_error(code)
            self.assertIs(type(error), cls)
            self.assertTrue(cls.__name__ in errors.__all__ and issubclass(cls, pubsub.PubSubError))
        import errno

        self.assertEqual(errors.last_error(-9).errno, errno.ENOSPC)
        self.assertIsInstance(errors.last_error(-10), PermissionError)

    def test_the_text_names_what_is_wrong(self):
        with self.assertRaisesRegex(ValueError, r"a\.\*"):
            publish("a.*", b"")


@unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
class Permissions(Case):
    def test_a_store_that_may_not_be_used(self):
        done = python(
            """
            import os, tempfile
            from pubsub import Channel
            home = tempfile.mkdtemp()
            os.chmod(home, 0o755)
            if os.fork() == 0:
                os.setgid(65534)
                os.setuid(65534)
                for error in (PermissionError, OSError, RuntimeError):
                    try:
                        Channel("x", home=home)
                    except error as e:
                        print(e.name, flush=True)
                os._exit(0)
            os.wait()
            os.rmdir(home)
            """
        )
        self.assertEqual(done.stdout, "PS_ERR_PERMISSION\n" * 3)
