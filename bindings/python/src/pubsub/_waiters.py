"""Tasks of event loops that wait for a channel."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType


class Waiters:
    """The futures that tasks wait for; whoever closes the channel ends them."""

    def __init__(self) -> None:
        self.futures: set[asyncio.Future[None]] = set()

    def wake_all(self) -> None:
        """Ends all waits; from any thread."""
        for future in list(self.futures):
            try:
                future.get_loop().call_soon_threadsafe(_wake, future)
            except RuntimeError:  # that loop is closed
                pass


class Watch:
    """One task's watch of a descriptor.

    An event loop watches a descriptor for one callback only, and must not be left with one that was closed and perhaps
    opened anew by others: so each task has a duplicate.
    """

    def __init__(self, waiters: Waiters, descriptor: int) -> None:
        self._waiters = waiters
        self._descriptor = os.dup(descriptor)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    async def readable(self) -> None:
        """Waits until the descriptor is readable, or the channel is closed."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        self._waiters.futures.add(ready)
        loop.add_reader(self._descriptor, _wake, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._descriptor)
            self._waiters.futures.discard(ready)

    async def pause(self) -> None:
        """Lets other tasks run."""
        await asyncio.sleep(0)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
