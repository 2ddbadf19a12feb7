#!/usr/bin/env python3
"""Two channels, a publisher and a clock in one asyncio event loop, none of which blocks the others: event_loop.py"""

import asyncio

from pubsub import Channel, Publisher

COUNT = 5


async def listen(channel: Channel, name: str) -> None:
    """Prints what a channel gets, until that is all."""
    left = COUNT
    async for message in channel:
        print(f"{name} got {message.topic} {message.content.decode()}")
        left -= 1
        if not left:
            break


async def measure(topic: str) -> None:
    with Publisher(topic) as publisher:
        for number in range(COUNT):
            publisher.publish(f"{20 + number / 10:.1f}".encode())
            await asyncio.sleep(0.02)


async def tick() -> None:
    while True:
        await asyncio.sleep(0.05)
        print("the loop runs")


async def main() -> None:
    with Channel("lab.=") as all_of_lab, Channel("lab.temperature") as temperature:
        clock = asyncio.create_task(tick())
        await asyncio.gather(
            listen(all_of_lab, "lab.="), listen(temperature, "lab.temperature"), measure("lab.temperature")
        )
        clock.cancel()


if __name__ == "__main__":
    asyncio.run(main())
