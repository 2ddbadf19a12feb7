"""The demo's books: what was published, what arrived, and whether the two agree.

A publisher's ledger has a line a message: topic, seq, checksum, channels that took it. A subscriber's: pattern, topic,
seq, checksum, when it was sent and when received in microseconds since the epoch. Fields are separated by tabs, lines are in the order of the events.
"""

import re
from collections import Counter
from typing import NamedTuple


class Entry(NamedTuple):
    """One message, as publisher and subscriber both know it."""

    topic: str
    seq: int
    checksum: int


class Sent(NamedTuple):
    entry: Entry
    taken: int  # channels


class Received(NamedTuple):
    entry: Entry
    sent_us: int
    received_us: int


def read_published(path):
    """A publisher's ledger: a list of Sent."""
    sent = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            topic, seq, checksum, taken = line.rstrip("\n").split("\t")
            sent.append(Sent(Entry(topic, int(seq), int(checksum)), int(taken)))
    return sent


def read_received(path, patterns):
    """A subscriber's ledger: for each of its patterns a list of Received."""
    received = {pattern: [] for pattern in patterns}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            pattern, topic, seq, checksum, sent_us, received_us = line.rstrip("\n").split("\t")
            entry = Entry(topic, int(seq), int(checksum))
            received[pattern].append(Received(entry, int(sent_us), int(received_us)))
    return received


def matches(pattern, topic):
    """Whether a topic matches a pattern, written anew from the definition, so as to check the library's."""
    word = "[a-zA-Z0-9-]+"
    rules = {"=": word, "+": rf"{word}(\.{word})*"}
    return re.fullmatch("".join(rules.get(c, re.escape(c)) for c in pattern), topic) is not None


def expected(pattern, published):
    """What a channel on this pattern must receive of each publisher, in order. `published`: a list of Sent for each."""
    return {name: [s.entry for s in sent if matches(pattern, s.entry.topic)] for name, sent in published.items()}


def compare(wanted, got):
    """What is wrong with what a channel received; nothing: it is exactly what was published to its pattern.

    `wanted` is a list of entries for each publisher, `got` the channel's entries. The messages of one publisher must be
    there once each and in order; nothing is promised about the order between two publishers.
    """
    wanted_count = Counter(entry for entries in wanted.values() for entry in entries)
    got_count = Counter(got)
    problems = []
    for problem, entries in (
        ("lost", wanted_count - got_count),
        ("not published, or damaged", Counter({e: n for e, n in got_count.items() if e not in wanted_count})),
        ("received twice", Counter({e: n - 1 for e, n in got_count.items() if n > 1 and e in wanted_count})),
    ):
        if entries:
            first = next(iter(entries))
            problems.append(f"{entries.total()} {problem}, the first: {first.topic} seq {first.seq}")
    if not problems:
        for name, entries in wanted.items():
            mine = set(entries)
            arrived = [entry for entry in got if entry in mine]
            for want, have in zip(entries, arrived):
                if want != have:
                    problems.append(
                        f"out of order from {name}: {have.topic} seq {have.seq} before {want.topic} seq {want.seq}"
                    )
                    break
    return problems


def shortfalls(published, patterns):
    """Publishes whose answer counts fewer channels than there were on matching patterns."""
    return [
        s for sent in published.values() for s in sent if s.taken < sum(matches(p, s.entry.topic) for p in patterns)
    ]


def figures(received):
    """Messages a second, and the median and 99th percentile of the latency in microseconds."""
    if not received:
        return 0, 0, 0
    latencies = sorted(r.received_us - r.sent_us for r in received)
    seconds = max(received[-1].received_us - received[0].received_us, 1) / 1e6
    return len(received) / seconds, latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]


def spoil(entries, how):
    """A channel's entries with one thing wrong, to see that `compare` finds it."""
    spoiled, middle = list(entries), len(entries) // 2
    if how == "lost":
        del spoiled[middle]
    elif how == "twice":
        spoiled.insert(middle, spoiled[middle])
    elif how == "damaged":
        spoiled[middle] = spoiled[middle]._replace(checksum=spoiled[middle].checksum ^ 1)
    elif how == "order":
        # Two of one topic, so of one publisher.
        other = next(i for i in range(middle + 1, len(spoiled)) if spoiled[i].topic == spoiled[middle].topic)
        spoiled[middle], spoiled[other] = spoiled[other], spoiled[middle]
    else:
        raise ValueError(f"cannot spoil a ledger by '{how}'")
    return spoiled
