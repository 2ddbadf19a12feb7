"""Every program publishes every case to every other, itself included, and each must receive exactly that.

    matrix.py NAME=COMMAND...

Each COMMAND speaks the protocol of README.md. One process of each receives, another one publishes. The store is that of
PUBSUB_HOME. Prints a table and, as cargo does, the totals: a test is a pair of publisher and receiver.
"""

import json
import os
import pathlib
import random
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import threading
from typing import NamedTuple

PATIENCE = 250  # seconds, then all programs are killed: something hangs
FORMIX, NODE = "formix-pubsub", "Node"  # two that differ: see `expects` and `as_received`
PATTERNS = ["matrix.exact", "matrix.=.word", "matrix.+"]
SHOWN = 3  # problems of a pair

TEXT = "Grüße, 世界! 🚀\n".encode()
BINARY = bytes(range(256)) * 3
CONTENTS = {"text": TEXT, "binary": BINARY, "empty": b"", "1 MiB": random.Random(1).randbytes(1 << 20)}


def double(value):
    return "d", struct.pack(">d", value).hex()


def string(value):
    return "s", value.encode().hex()


def other(text):
    return "j", text.encode().hex()


NESTED = '{"list": [1, -2.5, "drei ü", null, true, {"deep": [[]]}], "empty": {}}'
HEADERS = {
    "none": {},
    "null, bool": {"nothing": ("n", ""), "yes": ("b", "1"), "no": ("b", "0")},
    "int": {
        name: ("i", str(value))
        for name, value in {
            "zero": 0, "minus": -1, "highest": 2**63 - 1, "lowest": -(2**63), "above double": 2**53 + 1,
        }.items()
    },
    "double": {
        name: double(value)
        for name, value in {
            "tenth": 0.1, "whole": 21.0, "minus zero": -0.0, "large": 1e300, "least": 5e-324,
            "infinite": float("inf"), "minus infinite": float("-inf"), "not a number": float("nan"),
        }.items()
    },
    "string": {
        "empty": string(""), "größe": string("世界 🚀 é"), "escapes": string('"\\/\b\f\n\r\t\x00\x1f\x7f\u2028'),
        "not a number": string("42"),
    },
    "nested": {"tree": other(NESTED), "after": ("i", "1")},
    "int beyond 64 bits": {"huge": other(str(2**70))},
}  # fmt: skip


class Case(NamedTuple):
    name: str
    topic: str
    content: str  # a key of CONTENTS
    headers: dict


def cases(publisher):
    word = publisher.lower().replace("+", "p")
    topic = f"matrix.{word}.word"
    made = [Case(f"content {content}", topic, content, HEADERS["int"]) for content in CONTENTS]
    made += [Case(f"headers {headers}", topic, "text", HEADERS[headers]) for headers in HEADERS]
    everything = {name: value for kind in ("nested", "null, bool", "int", "double") for name, value in HEADERS[kind].items()}
    made.append(Case("empty with headers", topic, "empty", everything))
    topics = ["matrix.exact", f"matrix.{word}", f"matrix.{word}.x.word", f"matrix.{word}.words", f"else.{word}.word", "matrix"]
    return made + [Case(f"topic {topic}", topic, "text", {}) for topic in topics]


def expects(receiver, publisher, pattern, topic):
    """Whether a channel must receive it. Wildcards mean what is documented, but from formix-pubsub to itself, where `=` is
    one character and `+` anything."""
    rules = {"=": "[a-zA-Z0-9-]+", "+": r"[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*"}
    if receiver == publisher == FORMIX:
        rules = {"=": "[a-zA-Z0-9-]", "+": "[a-zA-Z0-9.-]*", ".": "."}
    return re.fullmatch("".join(rules.get(c, re.escape(c)) for c in pattern), topic) is not None


def plain(kind, value):
    """A header of the protocol in the form in which it is compared."""
    if kind == "d":
        number = struct.unpack(">d", bytes.fromhex(value))[0]
        return ("d", "nan") if number != number else ("d", value)  # NaN has many bit patterns
    if kind == "j":
        parsed = json.loads(bytes.fromhex(value))
        # An integer of any size is one type for Python and JavaScript.
        return ("i", str(parsed)) if isinstance(parsed, int) else ("j", json.dumps(parsed))
    return kind, value


def as_received(headers, receiver):
    """What a receiver must see: a list, since the order is kept."""
    result = []
    for name, (kind, value) in headers.items():
        kind, value = plain(kind, value)
        if receiver == NODE and kind == "d" and value not in ("nan", double(-0.0)[1]):
            number = struct.unpack(">d", bytes.fromhex(value))[0]
            if number.is_integer() and abs(number) < 2**53:
                kind, value = "i", str(int(number))  # JavaScript has one type for both
        result.append((name, kind, value))
    return result


def parse(text):
    if text == "-":
        return []
    items = (item.split(":") for item in text.split(","))
    return [(bytes.fromhex(name).decode(), *plain(kind, value)) for name, kind, value in items]


def write(headers):
    return ",".join(f"{name.encode().hex()}:{kind}:{value}" for name, (kind, value) in headers.items()) or "-"


class MatrixError(Exception):
    """The matrix cannot go on."""


class Peer:
    """One process."""

    def __init__(self, name, role, command, scratch):
        self.name, self.role = name, role
        self.files = [scratch / f"{name}-{role}-{i}" for i in range(len(PATTERNS))]
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self, *known):
        line = self.process.stdout.readline().rstrip("\n")
        words = line.split(" ")
        if words[0] not in known:
            raise MatrixError(f"{self.name} ({self.role}) said '{line}' where {' or '.join(known)} was due")
        return words

    def ask(self, *words, known):
        self.tell(*words)
        return self.answer(*known)

    def end(self):
        self.process.stdin.close()
        if code := self.process.wait():
            raise MatrixError(f"{self.name} ({self.role}) ended with exit code {code}")


class Matrix:
    def __init__(self, names):
        self.received = {(publisher, receiver): 0 for publisher in names for receiver in names}
        self.problems = {}  # lists, by (publisher, receiver)
        self.spoil = os.environ.get("MATRIX_SPOIL")  # for the test of this test: is it found?

    def problem(self, publisher, receiver, case, what):
        self.problems.setdefault((publisher, receiver), []).append(f"{publisher} to {receiver}, {case.name}: {what}")

    def judge(self, publisher, receiver, case, channel, words):
        """Compares a message with the case."""
        _, topic, headers = words
        content, got, wanted = receiver.files[channel].read_bytes(), parse(headers), as_received(case.headers, receiver.name)
        if self.spoil == "content":
            content += b"x"
        elif self.spoil == "headers" and got:
            got[0] = (got[0][0], "s", got[0][2])
        where = f"on {PATTERNS[channel]} it has the"
        if topic != case.topic:
            self.problem(publisher.name, receiver.name, case, f"{where} topic {topic} instead of {case.topic}")
        if content != CONTENTS[case.content]:
            size = len(CONTENTS[case.content])
            self.problem(publisher.name, receiver.name, case, f"{where} wrong content of {len(content)} bytes, not {size}")
        if got != wanted:
            self.problem(publisher.name, receiver.name, case, f"{where} headers {got} instead of {wanted}")
        self.received[publisher.name, receiver.name] += 1

    def play(self, case, content, publisher, receivers):
        """One case. All receivers are told to wait before it is published."""
        due = [
            (receiver, i)
            for receiver in receivers
            for i, pattern in enumerate(PATTERNS)
            if expects(receiver.name, publisher.name, pattern, case.topic)
        ]
        for receiver, i in due:
            receiver.tell("fetch", i, receiver.files[i])
        words = publisher.ask("publish", case.topic, content, write(case.headers), known=["published"])
        # formix-pubsub counts channels that then drop what they did not ask for.
        if int(words[1]) != len(due) and not (publisher.name == FORMIX and int(words[1]) > len(due)):
            self.problem(publisher.name, "all", case, f"{words[1]} channels took it, not {len(due)}")
        for receiver, i in due:
            words = receiver.answer("message", "nothing")
            if words[0] == "nothing":
                raise MatrixError(f"{publisher.name} to {receiver.name}, {case.name}: nothing came on {PATTERNS[i]}")
            self.judge(publisher, receiver, case, i, words)
        for i, pattern in enumerate(PATTERNS):
            for receiver in receivers:
                receiver.tell("try", i, receiver.files[i])
            for receiver in receivers:
                words = receiver.answer("message", "nothing")
                if words[0] == "message":
                    self.problem(publisher.name, receiver.name, case, f"on {pattern} came what should not: {words[1]}")

    def show(self, names):
        width = max(map(len, names)) + 2
        print("messages received, by publisher (rows) and receiver:\n")
        print(" " * width + "".join(name.rjust(width) for name in names))
        for publisher in names:
            cells = (self.received[publisher, receiver] for receiver in names)
            print(publisher.ljust(width) + "".join(str(cell).rjust(width) for cell in cells))
        print()
        for problems in self.problems.values():
            print(*problems[:SHOWN], sep="\n")
            if len(problems) > SHOWN:
                print(f"... and {len(problems) - SHOWN} more of this pair")


def run(matrix, commands, scratch):
    """Everything, from the first open to the last close."""
    peers = []
    # Whoever hangs is found by that its output ends.
    watchdog = threading.Timer(PATIENCE, lambda: [peer.process.kill() for peer in peers])
    watchdog.daemon = True
    watchdog.start()
    try:
        for role in ("receiver", "publisher"):
            peers += [Peer(name, role, command, scratch) for name, command in commands.items()]
        receivers, publishers = peers[: len(commands)], peers[len(commands) :]
        for receiver in receivers:
            for pattern in PATTERNS:
                receiver.ask("open", pattern, known=["opened"])
        files = {}
        for i, (name, content) in enumerate(CONTENTS.items()):
            files[name] = scratch / f"content-{i}"
            files[name].write_bytes(content)
        for publisher in publishers:
            for case in cases(publisher.name):
                matrix.play(case, files[case.content], publisher, receivers)
        for receiver in receivers:
            receiver.ask("close", known=["closed"])
        for peer in peers:
            peer.end()
    finally:
        watchdog.cancel()
        for peer in peers:
            peer.process.kill()
            peer.process.wait()


def remains(store):
    """What is left in the store, but for what it always has: `tmp`, empty, and names that begin with a dot."""
    return [str(path) for path in [*store.iterdir(), *(store / "tmp").glob("*")]
            if not path.name.startswith(".") and path != store / "tmp"]  # fmt: skip


def main(arguments):
    commands = dict(argument.split("=", 1) for argument in arguments)
    names = list(commands)
    matrix = Matrix(names)
    failed, left = 0, []
    with tempfile.TemporaryDirectory(prefix="pubsub-matrix-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        try:
            run(matrix, commands, pathlib.Path(scratch))
            left = remains(pathlib.Path(os.environ["PUBSUB_HOME"]))
        except (MatrixError, OSError) as error:
            print(error)
            failed += 1
    matrix.show(names)
    if left:
        print(f"all have closed, and this is left in the store: {', '.join(left)}")
        failed += 1
    failed += len(matrix.problems)
    passed = max(0, len(matrix.received) + 1 - failed)
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed;")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
