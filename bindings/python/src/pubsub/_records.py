"""Messages as the library hands them over."""

from __future__ import annotations

import mmap
import sys
from ctypes import c_char
from struct import Struct, calcsize
from typing import Any

from ._native import LENGTHS, LENGTHS_AT, MESSAGE, MESSAGE_MORE, RECORD_BEGIN, RECORD_REST
from .message import KINDS, Message

#: All of memory. A slice is what lies at an address, copied, for a quarter of what ctypes.string_at takes.
memory: Any = (c_char * sys.maxsize).from_address(0)

#: Decoded topics: few differ.
_topics: dict[bytes, str] = {}

#: The MESSAGE_MORE of most.
NO_MORE = bytes(MESSAGE_MORE.size)

# The library's messages are not made by Message's constructor, which would give them an id.
new_message = Message.__new__


def read_message(address: int, home: str | None = None) -> Message | None:
    """The ``ps_message`` at an address; None when it is of a kind that this version does not know.

    ``home``: the store that it came from, when that is not the default one.
    """
    number, timestamp, text, text_len, data, data_len, headers, headers_len, more = MESSAGE.unpack_from(memory, address)
    message = new_message(Message)
    message.id = number
    message.timestamp = timestamp
    message.topic = _topic(memory[text : text + text_len])
    message.content = memory[data : data + data_len]
    # Two bytes of headers are "{}": none.
    message._headers = b"" if headers_len == 2 else memory[headers : headers + headers_len]
    if more != NO_MORE:
        kind, message.dropped_before, message.epoch, message.offset = MESSAGE_MORE.unpack(more)
        if kind not in KINDS:
            return None
        message.kind = KINDS[kind]
    if home is not None:
        message._home = home
    return message


def read_records(buffer: mmap.mmap, used: int) -> list[Message]:
    """The ``ps_packed_record`` s in the first ``used`` bytes of a buffer; without those of unknown kinds."""
    messages: list[Message] = []
    add = messages.append
    new = new_message
    position = 0
    # Records are mostly alike, so each is read as the one before it was, and again if that was wrong.
    shape, size, read = _no_shape, used + 1, _no_shape.read
    lengths = last_headers = b""
    last: bytes | None = None
    while position < used:
        if position + size <= used:
            number, timestamp, dropped, epoch, offset, found, kind, text, headers, content = read(buffer, position)
        else:
            found = b"none"
        if found != lengths:
            lengths = buffer[position + LENGTHS_AT : position + LENGTHS_AT + LENGTHS.size]
            shape = _shapes.get(lengths) or _shape(lengths)
            size, read = shape.size, shape.read
            assert position + size <= used
            last = None
            continue
        topic = _topics.get(text) or _topic(text)
        message = new(Message)
        message.id = number
        message.timestamp = timestamp
        message.topic = topic
        message.content = content
        message._headers = headers
        position += size
        if dropped or epoch or kind:
            message.dropped_before, message.epoch, message.offset = dropped, epoch, offset
            if kind not in KINDS:
                continue
            message.kind = KINDS[kind]
        elif text == last and headers == last_headers and position + size <= used:
            # They often come in runs that differ in nothing but their content. One iterator reads all of such a run.
            add(message)
            same = buffer[position - size + shape.rest.start : position - size + shape.rest.stop]
            run = memoryview(buffer)[position : used - (used - position) % size]
            begun = len(messages)
            for number, timestamp, rest, content in shape.read_run(run):
                if rest != same:
                    break
                message = new(Message)
                message.id = number
                message.timestamp = timestamp
                message.topic = topic
                message.content = content
                message._headers = headers
                add(message)
            position += (len(messages) - begun) * size
            continue
        last, last_headers = text, headers
        add(message)
    return messages


class _Shape:
    """How to read records whose data and texts have these lengths: with one call of struct, since each piece that is
    sliced costs as much."""

    __slots__ = ("size", "read", "read_run", "rest")

    def __init__(self, lengths: bytes) -> None:
        data_len, topic_len, headers_len = LENGTHS.unpack(lengths)
        texts = topic_len + headers_len
        end = f"{-texts % 8}x{data_len}s{-data_len % 8}x"
        # Two bytes of headers are "{}": none.
        headers = "0s2x" if headers_len == 2 else f"{headers_len}s"
        one_by_one = Struct(f"{RECORD_BEGIN}{RECORD_REST}{topic_len}s{headers}{end}")
        self.size = one_by_one.size
        self.read = one_by_one.unpack_from
        begin, head = calcsize(RECORD_BEGIN), calcsize(RECORD_BEGIN + RECORD_REST)
        #: Where all that is behind the timestamp and before the data is.
        self.rest = slice(begin, head + texts)
        self.read_run = Struct(f"{RECORD_BEGIN}{head + texts - begin}s{end}").iter_unpack


_no_shape = _Shape(bytes(LENGTHS.size))
_shapes: dict[bytes, _Shape] = {}


def _shape(lengths: bytes) -> _Shape:
    if len(_shapes) >= 1024:
        _shapes.clear()
    shape = _shapes[lengths] = _Shape(lengths)
    return shape


def _topic(text: bytes) -> str:
    topic = _topics.get(text)
    if topic is None:
        if len(_topics) >= 4096:
            _topics.clear()
        topic = _topics[text] = text.decode(errors="replace")
    return topic
