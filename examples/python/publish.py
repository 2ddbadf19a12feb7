#!/usr/bin/env python3
"""Publishes one message, with headers: publish.py TOPIC TEXT [NAME=VALUE ...]"""

import sys

from pubsub import publish


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    topic, text, *pairs = sys.argv[1:]
    headers = dict(pair.split("=", 1) for pair in pairs)
    count = publish(topic, text.encode(), headers)
    print(f"{count} channel(s) took it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
