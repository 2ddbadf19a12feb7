#!/usr/bin/env python3
"""Answers each request with its text in capitals: reply.py PATTERN [COUNT]

Ends after COUNT messages, or by Ctrl-C.
"""

import sys
from itertools import islice

from pubsub import Channel, InvalidArgumentError


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    pattern = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else None
    with Channel(pattern) as channel:
        print(f"listening on {pattern}", file=sys.stderr, flush=True)
        try:
            for request in islice(channel, count):
                try:
                    took = request.reply(request.content.upper())
                except InvalidArgumentError as error:  # no request
                    print(error, file=sys.stderr)
                else:
                    print(f"{request.topic}: {'answered' if took else 'too late'}", flush=True)
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
