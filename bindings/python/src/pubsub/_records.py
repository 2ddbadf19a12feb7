"""Messages as the library hands them over."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from ctypes import string_at
from functools import lru_cache
from struct import Struct
from typing import Any

from ._native import MESSAGE, RECORD_HEAD, RECORD_LENGTHS, RECORD_LENGTHS_AT
from .message import KINDS, Message

#: Decoded topics: few differ.
_topics: dict[bytes, str] = {}

# The library's messages are not made by Message's constructor, which would give them an id.
_new_message = Message.__new__


def read_message(address: int) -> Message | None:
    """The ``ps_message`` at an address; None when it is of a kind that this version does not know."""
    head = MESSAGE.unpack(string_at(address, MESSAGE.size))
    number, timestamp, topic, topic_len, data, data_len, headers, headers_len, kind, _, dropped, epoch, offset = head
    if kind not in KINDS:
        return None
    message = _new_message(Message)
    message.id = number
    message.timestamp = timestamp
    message.topic = _topic(string_at(topic, topic_len))
    message.content = string_at(data, data_len)
    # Two bytes of headers are "{}": none.
    message._headers = b"" if headers_len == 2 else string_at(headers, headers_len)
    if dropped:
        message.dropped_before = dropped
    if epoch:
        message.epoch, message.offset = epoch, offset
    if kind:
        message.kind = KINDS[kind]
    return message


def read_records(buffer: mmap.mmap, used: int) -> list[Message]:
    """The ``ps_packed_record`` s in the first ``used`` bytes of a buffer; without those of unknown kinds."""
    messages: list[Message] = []
    add = messages.append
    new = _new_message
    topics = _topics
    position = 0
    # Records are mostly alike, so each is read as the one before it was, and again if that was wrong.
    data_len, lengths, size = -1, -1, used + 1
    unpack: Callable[[mmap.mmap, int], tuple[Any, ...]]
    while position < used:
        if position + size <= used:
            fields = unpack(buffer, position)
            number, timestamp, dropped, epoch, offset, data, both, kind, topic, headers, content = fields
        else:
            data = -2
        if data != data_len or both != lengths:
            data_len, lengths = RECORD_LENGTHS.unpack_from(buffer, position + RECORD_LENGTHS_AT)
            unpack, size = _shape(data_len, lengths)
            assert position + size <= used
            continue
        message = new(Message)
        message.id = number
        message.timestamp = timestamp
        message.topic = topics.get(topic) or _topic(topic)
        message.content = content
        message._headers = headers
        if dropped:
            message.dropped_before = dropped
        if epoch:
            message.epoch, message.offset = epoch, offset
        if not kind:
            add(message)
        elif kind in KINDS:
            message.kind = KINDS[kind]
            add(message)
        position += size
    return messages


@lru_cache(maxsize=1024)
def _shape(data_len: int, lengths: int) -> tuple[Callable[[mmap.mmap, int], tuple[Any, ...]], int]:
    """How to read a record whose texts and data have these lengths, and its size. One call of struct reads all of it;
    to slice each piece costs as much a piece."""
    topic_len, headers_len = lengths & 0xFFFFFFFF, lengths >> 32
    if sys.byteorder == "big":
        topic_len, headers_len = headers_len, topic_len
    texts_end, data_end = -(topic_len + headers_len) % 8, -data_len % 8
    # Two bytes of headers are "{}": none.
    headers = "0s2x" if headers_len == 2 else f"{headers_len}s"
    record = Struct(f"{RECORD_HEAD}{topic_len}s{headers}{texts_end}x{data_len}s{data_end}x")
    return record.unpack_from, record.size


def _topic(text: bytes) -> str:
    topic = _topics.get(text)
    if topic is None:
        if len(_topics) >= 4096:
            _topics.clear()
        topic = _topics[text] = text.decode(errors="replace")
    return topic
