"""The package as it is installed."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from functools import partial
from pathlib import Path

import pubsub

from .support import PATIENCE, Case, finish, python

PROJECT = Path(__file__).resolve().parents[1]
ROOT = PROJECT.parents[1]


class Package(Case):
    def test_the_versions_are_cargos(self):
        version = re.search(r'(?m)^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text()).group(1)
        self.assertEqual((pubsub.__version__, importlib.metadata.version("pubsub")), (version, version))

    def test_the_installed_package_has_the_library_and_its_types(self):
        directory = Path(pubsub.__file__).parent
        self.assertNotIn(str(PROJECT / "src"), str(directory), "these tests want the wheel installed")
        self.assertTrue((directory / "libpubsub.so").is_file() and (directory / "py.typed").is_file())
        tag = importlib.metadata.distribution("pubsub").read_text("WHEEL")
        self.assertRegex(tag, r"Tag: py3-none-manylinux_2_\d+_\w+")

    def test_where_the_library_is_looked_for(self):
        script = "import pubsub._native as n; print(n.lib._name)"
        directory = Path(pubsub.__file__).parent
        bare = {k: v for k, v in os.environ.items() if k not in ("PUBSUB_LIBRARY", "PYTHONPATH")}
        beside = directory / "libpubsub.so"
        with tempfile.TemporaryDirectory() as place:
            named = shutil.copy(beside, Path(place, "other.so"))
            self.assertEqual(python(script, env={**bare, "PUBSUB_LIBRARY": str(named)}).stdout.strip(), str(named))
            self.assertEqual(python(script, env=bare).stdout.strip(), str(beside))
            # The source tree has none beside it: the system's.
            shutil.copy(beside, Path(place, "libpubsub.so.0"))
            source = {**bare, "PYTHONPATH": str(PROJECT / "src"), "LD_LIBRARY_PATH": place}
            self.assertEqual(python(script, env=source).stdout.strip(), "libpubsub.so.0")
            missing = python(script, env={**bare, "PUBSUB_LIBRARY": place + "/nothing"}, check=False)
            self.assertRegex(missing.stderr, "ImportError: .*PUBSUB_LIBRARY")
            foreign = python(script, env={**bare, "PUBSUB_LIBRARY": "libc.so.6"}, check=False)
            self.assertIn("ImportError: libc.so.6 is no libpubsub", foreign.stderr)

    def test_structs_are_as_the_header_has_them(self):
        import ctypes

        from pubsub import _native

        structs = (_native.ChannelOptions, _native.ChannelStats, _native.PublisherOptions, _native.TopicOptions, _native.TopicStats)
        self.assertEqual([ctypes.sizeof(s) for s in structs], [64, 104, 16, 32, 72])
        self.assertEqual(_native.MESSAGE.size, 96)
        self.assertEqual(_native.Struct(_native.RECORD_BEGIN + _native.RECORD_REST).size, 72)

    def test_the_readmes_programs_run(self):
        blocks = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
        self.assertGreaterEqual(len(blocks), 3)
        for block in blocks:
            with self.subTest(block=block):
                python(block)


class Examples(Case):
    def run_example(self, name, *arguments, **named):
        command = [sys.executable, str(ROOT / "examples" / "python" / name), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_publish_and_subscribe(self):
        command = [sys.executable, str(ROOT / "examples" / "python" / "subscribe.py"), "ex.=", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            self.assertEqual(process.stderr.readline(), "listening on ex.=\n")
            self.assertEqual(self.run_example("publish.py", "ex.a", "hello", "k=v"), "1 channel(s) took it\n")
            self.assertEqual(process.stdout.readline(), "ex.a: hello {'k': 'v'}\n")
            process.terminate()
            finish(process)
            self.assertEqual(process.returncode, 0)

    def test_request_and_reply(self):
        command = [sys.executable, str(ROOT / "examples" / "python" / "reply.py"), "ex.=", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            self.assertEqual(process.stderr.readline(), "listening on ex.=\n")
            self.assertEqual(self.run_example("request.py", "ex.a", "hello", "there"), "hello: HELLO\nthere: THERE\n")
            self.assertEqual(finish(process)[0], "ex.a: answered\nex.a: answered\n")
            self.assertEqual(process.returncode, 0)

    def test_history(self):
        self.addCleanup(pubsub.delete_topic, "ex.kept")
        with tempfile.TemporaryDirectory() as directory:
            news = partial(self.run_example, "history.py", "ex.kept", str(Path(directory) / "place"))
            self.assertEqual(news(), "")
            pubsub.publish("ex.kept", b"hello")
            pubsub.publish("ex.kept", b"there")
            self.assertEqual(news(), "1 hello\n2 there\n")
            self.assertEqual(news(), "")
            pubsub.delete_topic("ex.kept")
            pubsub.create_topic("ex.kept", history_messages=2)
            for n in range(3):
                pubsub.publish("ex.kept", b"%d" % n)
            gone = "(the topic was created anew)\n(1 before this are not kept any more)\n"
            self.assertEqual(news(), gone + "2 1\n3 2\n")

    def test_event_loop(self):
        out = self.run_example("event_loop.py").splitlines()
        for who in ("lab.=", "lab.temperature"):
            got = [line.split()[-1] for line in out if line.startswith(who + " got")]
            self.assertEqual(got, ["20.0", "20.1", "20.2", "20.3", "20.4"])
        self.assertIn("the loop runs", out)

    def test_throughput(self):
        self.assertRegex(self.run_example("throughput.py", "3000", "100"), "^3000 messages of 100 bytes")

    def test_the_benchmark(self):
        command = [sys.executable, str(PROJECT / "bench.py"), "--count", "1000", "--cpu"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE * 2)
        self.assertEqual(done.returncode, 0)
        self.assertIn("receive many: fetch_many", done.stdout)


if __name__ == "__main__":
    unittest.main()
