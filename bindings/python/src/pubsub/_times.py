"""How long to wait."""

from __future__ import annotations

import math
import threading
import time

#: The longest that the main thread waits at a time. Python's signal handlers run between its waits, and a signal that
#: comes just before one begins does not end it.
_MAIN_WAIT = 0.5


def deadline_of(timeout: float | None) -> float | None:
    if timeout is None or timeout == math.inf:
        return None
    try:
        if not timeout >= 0:
            raise ValueError(f"timeout is {timeout}; it must be a non-negative number of seconds, or None: without end")
        return time.monotonic() + timeout
    except TypeError:
        raise TypeError(f"timeout is a number of seconds, or None, not {type(timeout).__name__}") from None


def wait_slice(deadline: float | None) -> float | None:
    """How long to wait now."""
    longest = _MAIN_WAIT if threading.get_ident() == threading.main_thread().ident else None
    if deadline is None:
        return longest
    # Also what the library's milliseconds can hold.
    remaining = min(max(deadline - time.monotonic(), 0), 1e9)
    return remaining if longest is None else min(remaining, longest)
