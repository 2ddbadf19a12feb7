#!/usr/bin/env python3
"""Prints what is published to a pattern, until Ctrl-C or SIGTERM: subscribe.py PATTERN [SECONDS]

'=' in the pattern stands for one word, '+' for one or more.
"""

import sys

from pubsub import Channel, Message, subscribe


def show(message: Message) -> None:
    print(f"{message.topic}: {message.content.decode(errors='replace')} {message.headers or ''}", flush=True)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    pattern = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0
    with Channel(pattern) as channel:
        print(f"listening on {pattern}", file=sys.stderr, flush=True)
        try:
            subscribe(channel, show, timeout_seconds=seconds)
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
