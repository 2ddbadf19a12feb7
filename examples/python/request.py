#!/usr/bin/env python3
"""Asks on one topic, several questions at once, and prints the replies: request.py TOPIC TEXT [TEXT ...]"""

import asyncio
import sys

from pubsub import NotFoundError, Publisher


async def ask(topic: str, questions: list[str]) -> int:
    with Publisher(topic) as publisher:
        replies = await asyncio.gather(*(publisher.request_async(text.encode(), timeout=5) for text in questions))
    for question, reply in zip(questions, replies):
        print(f"{question}: {reply.content.decode() if reply else 'no reply in time'}")
    return 0 if all(replies) else 1


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return asyncio.run(ask(sys.argv[1], sys.argv[2:]))
    except NotFoundError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
