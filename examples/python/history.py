#!/usr/bin/env python3
"""Prints what came to a topic since it ran last, whether or not it ran when that was published: the topic keeps a
history, and the file keeps the place in it. The first time, the last ten messages: history.py TOPIC FILE"""

from __future__ import annotations

import sys
from pathlib import Path

from pubsub import Channel, ExistsError, create_topic


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    topic, file = sys.argv[1], Path(sys.argv[2])
    try:
        create_topic(topic, history_messages=1000)
    except ExistsError:
        pass

    place: tuple[int, int] | None = None
    if file.exists():
        epoch, offset = file.read_text().split()
        place = int(epoch), int(offset)
    with Channel(topic, resume=place) if place else Channel(topic, replay_last=10) as channel:
        for message in channel.messages(timeout=0):
            if message.kind != "data":
                continue  # the topic has just been deleted
            if place and message.epoch != place[0]:
                print("(the topic was created anew)")
            if message.dropped_before:
                print(f"({message.dropped_before} before this are not kept any more)")
            print(message.offset, message.content.decode(errors="replace"))
            place = message.epoch, message.offset
    if place:
        file.write_text(f"{place[0]} {place[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
