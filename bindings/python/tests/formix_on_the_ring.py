"""Runs formix-pubsub's own tests, unmodified, over the ring: all but those that look for message files.

    formix_on_the_ring.py DIRECTORY    the directory of its tests
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator

#: They list the channel's directory and want a file for each message. On the ring, a small message is in shared memory.
LOOK_FOR_FILES = {
    "test_pubsub.TestFetch.test_fetch_removes_message_file",
    "test_pubsub.TestPublish.test_publish_to_exact_match",
    "test_pubsub.TestPublish.test_publish_to_multiple_channels",
}


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def main() -> None:
    every = list(cases(unittest.defaultTestLoader.discover(sys.argv[1])))
    chosen = [case for case in every if case.id() not in LOOK_FOR_FILES]
    if len(every) != 59 or len(chosen) != 59 - len(LOOK_FOR_FILES):
        sys.exit(f"formix-pubsub has {len(every)} tests, and {len(every) - len(chosen)} of those to be left out")
    if not unittest.TextTestRunner().run(unittest.TestSuite(chosen)).wasSuccessful():
        sys.exit(1)


main()
