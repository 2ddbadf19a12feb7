"""Messages, and the format in which formix-pubsub keeps them."""

from __future__ import annotations

import io
import itertools
import json
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

if TYPE_CHECKING:
    from .publisher import Data

__all__ = [
    "Message",
    "Header",
    "HeaderValueTypes",
    "MESSAGE_FORMAT_VERSION",
    "SUPPORTED_MESSAGE_VERSIONS",
    "MESSAGE_MAGIC_NUMBER",
]

#: Version of the message format that is written.
MESSAGE_FORMAT_VERSION = 1
#: Versions that can be read.
SUPPORTED_MESSAGE_VERSIONS = [MESSAGE_FORMAT_VERSION]
#: The first four bytes of a message: "PMSG".
MESSAGE_MAGIC_NUMBER = 0x504D5347

#: What a header's value can be.
HeaderValueTypes = str | int | float | bool | None
#: Names and values that travel with a message.
Header = dict[str, HeaderValueTypes]

#: What a message can be: somebody published it, or the managed topic that its channel is on was deleted.
Kind = Literal["data", "topic-deleted"]
#: By the library's numbers. Messages of other kinds, which later versions may bring, are not handed out.
KINDS: dict[int, Kind] = {0: "data", 1: "topic-deleted"}

_PREFIX = struct.Struct("!IBQQI")
_LENGTH = struct.Struct("!I")

_numbers = itertools.count()


class Message:
    """A message.

    The library makes those that are received. ``Message(topic, content, headers)`` makes one for :meth:`write`;
    publishing needs none.

    Attributes:
        id: unique in the store, rising along each publisher's messages.
        timestamp: when it was published, in microseconds since the Unix epoch.
        topic: the topic it was published to.
        content: the payload.
        headers: a dictionary; what was no JSON object reads as an empty one.
        dropped_before: messages that the channel lost just before this one (policy ``"drop-oldest"``), or that a
            history did not have any more.
        epoch: of a managed topic: which history the message is in; else 0.
        offset: its place there, from 1 on; else 0.
        kind: ``"data"``: somebody published it; ``"topic-deleted"``: the managed topic ``topic``, with the history
            ``epoch``, was deleted, and nothing else means anything.
    """

    # Slots are set faster than entries of a dictionary, and most messages have no others.
    __slots__ = ("id", "timestamp", "topic", "content", "_headers", "__dict__", "__weakref__")

    id: int
    timestamp: int
    topic: str
    content: bytes
    dropped_before: int = 0
    epoch: int = 0
    offset: int = 0
    kind: Kind = "data"
    # The store that it came from, when that is not the default one.
    _home: str | None = None
    # JSON text until they are asked for; an empty one when there are none.
    _headers: Header | bytes

    def __init__(self, topic: str, content: bytes, headers: Header | None = None) -> None:
        self.id = self._next_id()
        self.timestamp = time.time_ns() // 1000
        self.topic = topic
        self.content = content
        self._headers = {} if headers is None else headers

    @staticmethod
    def _next_id() -> int:
        # As the library makes them: microseconds in the upper 52 bits, a running number below.
        return (time.time_ns() // 1000) << 12 | (next(_numbers) & 0xFFF)

    @property
    def headers(self) -> Header:
        """The headers. Received ones are parsed when they are first asked for."""
        headers = self._headers
        if isinstance(headers, bytes):
            headers = self._headers = _parse(headers)
        return headers

    @headers.setter
    def headers(self, headers: Header) -> None:
        self._headers = headers

    def reply(self, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None) -> int:
        """Answers a request: publishes to its ``response-topic``, in the store that it came from, with its
        ``correlation-id`` in place of any in ``headers``. Any thread, any time.

        Returns:
            How many channels took it; 0 when whoever asked waits no more.

        Raises:
            InvalidArgumentError: (a ``ValueError``) the message asks for no reply.
            InvalidTopicError: (a ``ValueError``) it asks for one on what is no topic.
            QueueFullError, TypeError, StoreError: as :meth:`Publisher.publish`.
        """
        from .rpc import reply  # which imports this module

        return reply(self, data, headers)

    def write(self, stream: BinaryIO) -> None:
        """Writes the message to a binary stream, all numbers big-endian: u32 ``PMSG``, u8 version, u64 id, u64
        timestamp, then topic, headers (JSON) and content, each behind its length as u32."""
        topic = self.topic.encode()
        headers = json.dumps(self.headers, ensure_ascii=False).encode()
        head = _PREFIX.pack(MESSAGE_MAGIC_NUMBER, MESSAGE_FORMAT_VERSION, self.id, self.timestamp, len(topic))
        stream.write(b"".join((head, topic, _LENGTH.pack(len(headers)), headers, _LENGTH.pack(len(self.content)))))
        stream.write(self.content)

    @classmethod
    def read(cls, stream: BinaryIO) -> Message:
        """Reads a message from a binary stream.

        Raises:
            ValueError: the stream ends too early, or holds something else.
        """
        (magic,) = _LENGTH.unpack(_exactly(stream, 4))
        if magic != MESSAGE_MAGIC_NUMBER:
            raise ValueError(f"no message: its magic number is 0x{magic:08X}, not 0x{MESSAGE_MAGIC_NUMBER:08X}")
        (version,) = _exactly(stream, 1)
        if version not in SUPPORTED_MESSAGE_VERSIONS:
            raise ValueError(f"message format version {version}; this package reads {SUPPORTED_MESSAGE_VERSIONS}")
        number, timestamp = struct.unpack("!QQ", _exactly(stream, 16))
        topic = _field(stream).decode()
        text = _field(stream)
        headers = cast(Header, json.loads(text)) if text else {}
        message = cls(topic=topic, content=_field(stream), headers=headers)
        message.id = number
        message.timestamp = timestamp
        return message

    def to_bytes(self) -> bytes:
        """The message as :meth:`write` writes it."""
        stream = io.BytesIO()
        self.write(stream)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Message:
        """The message that :meth:`to_bytes` made these bytes from."""
        return cls.read(io.BytesIO(data))

    def __repr__(self) -> str:
        return f"Message(id={self.id}, topic='{self.topic}', content_length={len(self.content)})"


def _parse(text: bytes) -> Header:
    """Received headers: whatever is no JSON object is none."""
    if not text:
        return {}
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast(Header, value) if isinstance(value, dict) else {}


def _field(stream: BinaryIO) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(stream, 4))
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    """``length`` bytes; pipes and sockets may give them in pieces."""
    pieces = []
    missing = length
    while missing:
        piece = stream.read(missing)
        if not piece:
            raise ValueError(f"a message ends too early: {length - missing} bytes where {length} belong")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
