"""Managed topics: topics that keep a history.

A channel begins with what they have kept by ``Channel(..., replay_last=N)``, or goes on where another one stopped by
``Channel(..., resume=(message.epoch, message.offset))``.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_void_p
from typing import NamedTuple

from . import _native
from ._native import lib
from ._records import read_message
from .errors import last_error
from .message import Message
from .publisher import encode_topic

__all__ = ["TopicStats", "create_topic", "delete_topic", "topic_history", "topics"]

_U32 = (1 << 32) - 1


class TopicStats(NamedTuple):
    """A managed topic at one moment."""

    #: Its name.
    topic: str
    #: Live channels that match it, wildcards included.
    subscribers: int
    #: Messages that entered its history since it was created.
    messages_published: int
    #: Messages in its history now.
    messages_in_history: int
    #: Their bytes, as they are stored.
    bytes_in_history: int
    #: Tells this history from those of topics of the same name that were deleted before.
    epoch: int
    #: The offset that the next message gets; the first one is 1.
    next_offset: int
    #: When it was created, in microseconds since the Unix epoch.
    created: int


def create_topic(
    topic: str,
    *,
    history_messages: int = 0,
    history_bytes: int = 0,
    history_ttl: float | None = None,
    home: str | os.PathLike[str] | None = None,
) -> None:
    """Makes a topic that keeps a history: of what is published to it from now on, by every libpubsub program. Messages
    of formix-pubsub programs enter it while the command ``pubsub topics keep`` runs. ::

        create_topic("news.sports", history_messages=1000, history_ttl=24 * 3600)

    Args:
        topic: 1 to 200 of ``[a-zA-Z0-9.-]``.
        history_messages: the most messages kept; 0: 100.
        history_bytes: the most bytes kept; 0: 64 MiB. A message larger than that is kept alone.
        history_ttl: seconds; what is older is never returned. None: no limit of age.
        home: the store's directory; None: the default one.

    Raises:
        ExistsError: (a ``FileExistsError``) it is managed already.
        InvalidTopicError: (a ``ValueError``) the topic is none.
        ValueError: bounds that no history can have.
        StoreError: (an ``OSError`` and a ``RuntimeError``) the store cannot be used, or is full.
    """
    if history_ttl is not None and not 0 < history_ttl < 1 << 50:
        raise ValueError(f"history_ttl is {history_ttl}; it must be a number of seconds above 0, or None for no limit")
    options = _native.TopicOptions(
        size=ctypes.sizeof(_native.TopicOptions),
        history_messages=_native.integer("history_messages", history_messages, _U32),
        history_bytes=_native.integer("history_bytes", history_bytes, (1 << 63) - 1),
        history_ttl_ms=0 if history_ttl is None else _native.milliseconds(history_ttl),
        home=_native.encode_path(home),
    )
    code = lib.ps_topic_create(encode_topic(topic), byref(options))
    if code < 0:
        raise last_error(code)


def delete_topic(topic: str, *, home: str | os.PathLike[str] | None = None) -> None:
    """Deletes a managed topic and its history. Channels on exactly that topic (not those whose wildcards match) get a
    message whose ``kind`` is ``"topic-deleted"``. Publishing to the topic goes on as to any other.

    Raises:
        NotFoundError: (a ``LookupError``) it is not managed.
        InvalidTopicError, StoreError: as :func:`create_topic`.
    """
    code = lib.ps_topic_delete(encode_topic(topic), _native.encode_path(home))
    if code < 0:
        raise last_error(code)


def topics(home: str | os.PathLike[str] | None = None) -> list[TopicStats]:
    """The managed topics of a store, sorted by name.

    Raises:
        StoreError: (an ``OSError`` and a ``RuntimeError``) the store cannot be read.
    """
    place = c_void_p()
    count = lib.ps_topic_list(_native.encode_path(home), byref(place))
    if count < 0:
        raise last_error(count)
    try:
        return [
            TopicStats(
                topic=found.topic.decode(),
                subscribers=found.subscribers,
                messages_published=found.messages_published,
                messages_in_history=found.messages_in_history,
                bytes_in_history=found.bytes_in_history,
                epoch=found.epoch,
                next_offset=found.next_offset,
                created=found.created_us,
            )
            for found in map(_native.TopicStats.from_address, _addresses(place, count))
        ]
    finally:
        lib.ps_topic_list_free(place, count)


def topic_history(
    topic: str, last: int | None = None, *, home: str | os.PathLike[str] | None = None
) -> list[Message]:
    """The last messages of a managed topic, oldest first. Nobody's queue is touched.

    Args:
        topic: its name.
        last: how many at most; None: all that it has.
        home: the store's directory; None: the default one.

    Raises:
        NotFoundError: (a ``LookupError``) it is not managed.
        CorruptError: (a ``RuntimeError``) its history is damaged.
        InvalidTopicError, StoreError: as :func:`create_topic`.
    """
    store = _native.encode_path(home)
    most = _U32 if last is None else _native.integer("last", last, _U32)
    place = c_void_p()
    count = lib.ps_topic_history(encode_topic(topic), store, most, byref(place))
    if count < 0:
        raise last_error(count)
    kept_in = None if home is None else os.path.abspath(home)
    try:
        messages = (read_message(address, kept_in) for address in _addresses(place, count))
        return [message for message in messages if message is not None]
    finally:
        lib.ps_message_list_free(place, count)


def _addresses(place: c_void_p, count: int) -> list[int]:
    """The pointers of an array of the library's."""
    if not place.value:
        return []
    return list((ctypes.c_size_t * count).from_address(place.value))
