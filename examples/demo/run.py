#!/usr/bin/env python3
"""Runs the demo: starts the programs, lets them publish and receive, and compares their books.

`make demo` builds everything and calls this. It exits 0 only if every channel received exactly what was published to
its pattern: nothing lost, doubled, damaged or out of order; and if nothing of the run is left in the store.
"""

import argparse
import ctypes
import os
import pathlib
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time

import ledger

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIGNALS = ("READY", "PUBLISHED", None)  # what a program says to the demo; None: its output has ended
PATIENCE = 120  # seconds beyond the feed's own time, before the demo is called stuck


class DemoError(Exception):
    """The demo cannot go on."""


class Program:
    """One process of the demo: its output is passed on line by line, except the SIGNALS."""

    def __init__(self, name, language, argv, patterns=(), received=None, sent=None, environment=None):
        self.name, self.language, self.patterns = name, language, list(patterns)
        self.argv = [str(word) for word in argv]
        self.received, self.sent = received, sent  # ledgers
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    def start(self, events):
        # A session of its own: Ctrl-C reaches the demo alone, which then ends the programs in order.
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environment,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def _read(self, events):
        for line in self.process.stdout:
            events.put((self, line.rstrip("\n")))
        events.put((self, None))  # its output has ended, and so has it

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self):
        """Closes its input: everything has been published."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


class Stage:
    """All programs of a run, and what they say."""

    def __init__(self, deadline):
        self.deadline = deadline
        self.events = queue.Queue()
        self.programs = []
        self.heard = set()  # (program, signal); signal None: it has ended, well

    def start(self, program):
        program.start(self.events)
        self.programs.append(program)

    def wait_for(self, what, *programs):
        """Waits until each of the programs has said `what` (None: has ended, well)."""
        while missing := [p for p in programs if (p, what) not in self.heard]:
            try:
                program, line = self.events.get(timeout=max(0, self.deadline - time.monotonic()))
            except queue.Empty:
                names = ", ".join(p.name for p in missing)
                raise DemoError(f"no {what or 'end'} from {names} in time") from None
            if line in SIGNALS:
                self.heard.add((program, line))
            else:
                print(f"  {program.name:<7} {line}", flush=True)
            if line is None and (program.process.wait() != 0 or what is not None and program in missing):
                raise DemoError(f"{program.name} ended with exit code {program.process.returncode}")

    def clear(self):
        """Ends whatever still runs: politely, so that channels are closed, then for good."""
        for program in self.programs:
            program.finish()
            if program.name == "feed" and program.process.poll() is None:
                program.process.terminate()
        limit = time.monotonic() + 5
        for program in self.programs:
            try:
                program.process.wait(max(0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.process.kill()
                program.process.wait()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, type=pathlib.Path, help="where the compiled programs are")
    parser.add_argument("--library", required=True, type=pathlib.Path, help="libpubsub.so")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to publish (default: 4)")
    parser.add_argument("--rate", type=int, default=200, help="rounds of readings a second (default: 200)")
    return parser.parse_args()


def cast(arguments, prefix, books):
    """The programs: the feed, and the subscribers, of which some publish too."""
    # The prefix keeps this run apart from whatever else goes on in the store.
    def subscriber(name, language, command, *patterns, publishes=False, environment=None):
        received, sent = books / f"{name}.received", books / f"{name}.sent" if publishes else None
        patterns = [f"{prefix}.{pattern}" for pattern in patterns]
        # As the programs take them: [PREFIX PUBLISHED] LEDGER PATTERN...
        words = [*command, *([prefix, sent] if publishes else []), received, *patterns]
        return Program(name, language, words, patterns, received, sent, environment)

    python, compiled = sys.executable, arguments.programs
    library = {"PUBSUB_LIBRARY": str(arguments.library.resolve())}
    # This interpreter has formix-pubsub, which is called `pubsub` too: what PYTHONPATH names comes first.
    package = {**library, "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    book = books / "feed.sent"
    feed = Program("feed", "C", [compiled / "feed", prefix, book, arguments.seconds, arguments.rate], sent=book)
    subscribers = [
        subscriber("c", "C", [compiled / "subscriber"], "host.=.cpu.=", "formix.heartbeat.="),
        subscriber("c++", "C++", [compiled / "subscriber-cpp"], "host.=.mem", "=.heap"),
        subscriber("rust", "Rust", [compiled / "subscriber-rust"], "host.+", "formix.+"),
        subscriber("go", "Go", [compiled / "subscriber-go"], "host.=.cpu.+", "formix.+", publishes=True),
        subscriber(
            "node", "JavaScript (Node)", ["node", HERE / "subscriber.mjs"], "host.+", "go.heap",
            publishes=True, environment=library,
        ),
        subscriber(
            "python", "Python", [python, HERE / "subscriber.py"], "host.=.net.+", "formix.=.=", "host.=.mem",
            environment=package,
        ),
        subscriber(
            "formix", "Python, formix-pubsub", [python, HERE / "formix_peer.py"], "host.+", publishes=True
        ),
    ]  # fmt: skip
    return feed, subscribers


def play(stage, feed, subscribers, count):
    """The run itself. When it returns, every program has ended well."""
    for program in subscribers:
        stage.start(program)
    stage.wait_for("READY", *subscribers)
    print("  all channels are open: publishing", flush=True)
    publishers = [program for program in subscribers if program.sent]
    for program in publishers:
        program.tell(f"publish {count}")
    stage.start(feed)
    stage.wait_for(None, feed)
    stage.wait_for("PUBLISHED", *publishers)
    # Every publish has returned, so every message is in its channels: the subscribers need no time, only to be told.
    for program in subscribers:
        program.finish()
    stage.wait_for(None, *subscribers)


def show_verdicts(prefix, published, subscribers):
    """Compares the books and prints the table. Answers whether all is right."""
    columns = "{:<8} {:<23} {:<20} {:>8} {:>8} {:>7} {:>8} {:>8}  {}"
    print(f"\nWhat each channel received (every topic and pattern begins with '{prefix}.'):\n")
    print(columns.format("program", "language", "pattern", "received", "expected", "per s", "p50 us", "p99 us", "verdict"))
    all_right = True
    for program in subscribers:
        received = ledger.read_received(program.received, program.patterns)
        for pattern in program.patterns:
            wanted = ledger.expected(pattern, published)
            wanted_count = sum(len(entries) for entries in wanted.values())
            got = [r.entry for r in received[pattern]]
            if how := os.environ.get("DEMO_SPOIL"):  # for the tests: is a wrong ledger found?
                got = ledger.spoil(got, how)
            problems = ledger.compare(wanted, got)
            if wanted_count == 0:
                problems.append("nothing was published to it")
            rate, p50, p99 = ledger.figures(received[pattern])
            row = (program.name, program.language, pattern.removeprefix(prefix + "."), len(got), wanted_count)
            print(columns.format(*row, f"{rate:.0f}", p50, p99, "; ".join(problems) or "exact"))
            all_right = all_right and not problems
    print()
    return all_right


def languages(programs):
    return len({program.language.split(",")[0] for program in programs})


class Store:
    """The store that the programs use: the library's default one, or PUBSUB_HOME."""

    def __init__(self, library):
        self._dll = ctypes.CDLL(str(library))
        self._dll.ps_home.restype = ctypes.c_char_p
        self._dll.ps_cleanup.restype, self._dll.ps_cleanup.argtypes = ctypes.c_int64, [ctypes.c_char_p]
        self._dll.ps_version.restype = ctypes.c_char_p
        self.home = pathlib.Path(os.fsdecode(self._dll.ps_home()))
        self.version = self._dll.ps_version().decode()

    def remains(self, prefix):
        """Channels of this run that are still there."""
        return [p.name for p in self.home.iterdir() if p.name.startswith(prefix)] if self.home.is_dir() else []

    def clean_up(self):
        """Removes what killed programs left."""
        self._dll.ps_cleanup(None)


def run(arguments, store, books):
    """One run of the demo. Answers whether all was right."""
    prefix = f"demo-{secrets.token_hex(3)}"
    feed, subscribers = cast(arguments, prefix, books)
    count = max(8, int(arguments.seconds * 75))  # what each of the subscribers that publish sends
    stage = Stage(deadline=time.monotonic() + arguments.seconds + PATIENCE)
    ended_well = False
    try:
        play(stage, feed, subscribers, count)
        ended_well = True
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # clearing up is bounded; a second Ctrl-C must not cut it short
        stage.clear()
        if not ended_well:
            store.clean_up()

    publishers = [program for program in (feed, *subscribers) if program.sent]
    published = {program.name: ledger.read_published(program.sent) for program in publishers}
    all_right = show_verdicts(prefix, published, subscribers)
    short = ledger.shortfalls(published, [pattern for program in subscribers for pattern in program.patterns])
    if short:
        print(f"{len(short)} publishes reached fewer channels than matched, the first: {short[0]}")
        all_right = False
    if remains := store.remains(prefix):
        print(f"left behind in {store.home}: {', '.join(remains)}")
        all_right = False
    total = sum(len(sent) for sent in published.values())
    print(f"{total} messages published by {len(publishers)} programs in {languages(publishers)} languages, received by "
          f"{len(subscribers)} programs in {languages(subscribers)} languages.")
    return all_right


def main():
    arguments = parse_arguments()
    # Whatever was inherited: a shell starts what runs in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    store = Store(arguments.library)
    print(f"libpubsub {store.version}, store {store.home}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="pubsub-demo-") as books:
            all_right = run(arguments, store, pathlib.Path(books))
    except DemoError as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was stopped", file=sys.stderr)
        return 130
    print("Every channel received exactly what was published to it." if all_right else "The demo FAILED: see above.")
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
