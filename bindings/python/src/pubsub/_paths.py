"""The directories of channels, as formix-pubsub programs look at them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import _native
from ._native import lib
from .errors import last_error

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
#: The library's own file in a channel's directory.
_CONTROL = "control"


class ChannelDirectory(type(Path())):  # type: ignore[misc]
    """A channel's directory, listed as a formix-pubsub channel's would be: the queue, and a file for each unread
    message.

    Programs count what waits by listing it; the library's own control page is left out.
    """

    __slots__ = ()

    def iterdir(self) -> Iterator[Path]:
        return (path for path in super().iterdir() if not self._is_control(path))

    def glob(self, *args: Any, **named: Any) -> Iterator[Path]:
        return (path for path in super().glob(*args, **named) if not self._is_control(path))

    def rglob(self, *args: Any, **named: Any) -> Iterator[Path]:
        return (path for path in super().rglob(*args, **named) if not self._is_control(path))

    def _is_control(self, path: Path) -> bool:
        return path.name == _CONTROL and os.fspath(path.parent) == os.fspath(self)


def channel_directories(alive: bool) -> list[tuple[str, Path]]:
    """Pattern and directory of the default store's channels, living or dead ones, sorted by directory."""
    array = ctypes.POINTER(ctypes.POINTER(_native.ChannelStats))()
    count = lib.ps_channel_list(None, ctypes.byref(array))
    if count < 0:
        raise last_error(count)
    try:
        entries = [array[index].contents for index in range(count)]
        found = [
            (entry.topic.decode(errors="replace"), ChannelDirectory(os.fsdecode(entry.path)))
            for entry in entries
            if entry.alive == alive
        ]
    finally:
        lib.ps_channel_list_free(array, count)
    return sorted(found, key=lambda one: one[1])


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic matches a pattern: ``=`` stands for one word or a part of it, ``+`` for one or more words.

    All positions in the pattern are followed at once, so it takes ``len(pattern) * len(topic)`` steps at most.
    """
    # A position p stands before pattern[p]; the negative ~p inside the wildcard pattern[p], behind its first character.
    states = {0}
    previous = "."
    for char in topic:
        following: set[int] = set()
        for state in states:
            if state < 0:
                wildcard = ~state
                dot = char == "." and pattern[wildcard] == "+" and previous != "."
                if char in _WORD or dot:
                    following.add(state)
                    if not dot:
                        following.add(wildcard + 1)
            elif state < len(pattern):
                if pattern[state] in "=+":
                    if char in _WORD:
                        following |= {~state, state + 1}
                elif pattern[state] == char:
                    following.add(state + 1)
        states = following
        previous = char
    return len(pattern) in states
