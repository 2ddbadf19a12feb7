"""Publishing, fetching and subscribing, as functions."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ._times import wait_slice
from .channel import Channel
from .message import Message
from .publisher import publish

__all__ = ["publish", "fetch", "subscribe"]

_log = logging.getLogger("pubsub")


def fetch(channel: Channel, timeout: float | None = 0) -> Message | None:
    """The next message of a channel.

    Args:
        channel: an open channel.
        timeout: seconds to wait for one; 0: not at all; None: without end.

    Returns:
        The message; None when there is none in time.

    Raises:
        RuntimeError: the channel is not open (a :class:`ClosedError`).
        ValueError: the timeout is negative.
    """
    return channel.fetch(timeout)


def subscribe(channel: Channel, callback: Callable[[Message], Any], timeout_seconds: float = 0) -> int:
    """Calls back with each message of a channel, in this thread.

    Any thread may call it. In the main thread it minds SIGTERM and SIGINT: when one comes, the message that is being
    handled is completed, the handlers that were there are put back, the one of that signal is called (Python's own for
    SIGINT raises ``KeyboardInterrupt``), and -1 is returned.

    Exceptions of the callback are logged, on the logger ``pubsub``, and the next message follows.

    Args:
        channel: an open channel.
        callback: called with each message.
        timeout_seconds: how long in all; 0: without end.

    Returns:
        How many messages were handled, or -1 after SIGTERM or SIGINT.

    Raises:
        RuntimeError: the channel is not open, or was closed meanwhile (a :class:`ClosedError`).
        ValueError: the time is negative.
    """
    if not timeout_seconds >= 0:
        raise ValueError("timeout_seconds must be non-negative")
    if not channel.is_open:
        raise channel._closed()
    deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
    with _stop_signals() as stopped:
        count = 0
        while not stopped and (deadline is None or time.monotonic() < deadline):
            # Not iterated over `_pending` alone: the callback may fetch, and another thread subscribe, too.
            if not channel._fill(wait_slice(deadline)):
                continue
            for message in channel._pending:
                try:
                    callback(message)
                except Exception as error:
                    _log.warning("the callback failed on %r: %s", message, error, exc_info=True)
                count += 1
                if stopped or (deadline is not None and time.monotonic() >= deadline):
                    break
        if not stopped:
            return count
        _log.info("subscribe on '%s' ends by a signal; %d messages were handled", channel.topic, count)
    return -1


@contextmanager
def _stop_signals() -> Iterator[list[tuple[int, FrameType | None]]]:
    """In the main thread, notes SIGTERM and SIGINT in a list instead of what would happen; at the end that happens."""
    came: list[tuple[int, FrameType | None]] = []
    if threading.get_ident() != threading.main_thread().ident:
        yield came
        return

    def note(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))

    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            # None: it was not set from Python, which could not put it back.
            if handler is not None:
                before[number] = handler
                signal.signal(number, note)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signalled, frame = came[0]
            original = before.get(signal.Signals(signalled))
            if callable(original):
                original(signalled, frame)
