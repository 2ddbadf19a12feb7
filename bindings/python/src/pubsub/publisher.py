"""The sending end."""

from __future__ import annotations

import ctypes
import json
import os
import time
from array import array
from collections.abc import Iterable, Mapping
from ctypes import byref, c_void_p
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Union

from . import _native, errors
from ._native import lib
from .errors import ClosedError, InvalidTopicError, PubSubError, last_error
from .message import HeaderValueTypes, Message

__all__ = ["Publisher", "Data", "publish", "last_rejected"]

#: What can be published.
Data = Union[bytes, bytearray, memoryview]

#: Messages, and bytes of messages, that one call to the library takes.
_BATCH = 1024
_BATCH_BYTES = 1 << 20
#: Headers whose text is longer are not kept parsed.
_KEPT_TEXT = 1024

#: Topics as the library takes them.
_topics: dict[str, bytes] = {}


def publish(topic: str, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None) -> int:
    """Publishes a message. When this returns, it is in the store and survives this process.

    Args:
        topic: 1 to 200 of ``[a-zA-Z0-9.-]``.
        data: the content: bytes, or anything with its interface.
        headers: names and values (str, int, float, bool, None) that travel with it.

    Returns:
        How many channels took it: 0 when none matches, or all that do are full.

    Raises:
        InvalidTopicError: (a ``ValueError``) the topic is none.
        TypeError: the data are no bytes, the headers no dictionary.
        StoreError: (an ``OSError`` and a ``RuntimeError``) the store cannot be used, or is full.
    """
    encoded = _topics.get(topic) or encode_topic(topic)
    if type(data) is not bytes:
        data = _bytes(data)
    if headers:
        parsed = _headers(headers)
        code: int = lib.ps_publish(encoded, data, len(data), parsed.handle)
    else:
        code = lib.ps_publish(encoded, data, len(data), None)
    if code < 0:
        if code == errors.QUEUE_FULL:
            return 0
        raise last_error(code)
    return code


def publish_strictly(topic: str, data: Data, headers: Mapping[str, HeaderValueTypes]) -> int:
    """:func:`publish` with headers like no others; an error when all queues that match are full."""
    encoded = _topics.get(topic) or encode_topic(topic)
    if type(data) is not bytes:
        data = _bytes(data)
    parsed = _Headers(_text(headers)) if headers else None
    code: int = lib.ps_publish(encoded, data, len(data), parsed.handle if parsed else None)
    if code < 0:
        raise last_error(code)
    return code


def last_rejected() -> int:
    """How many matching channels refused this thread's last publish, because they were full or cannot be written.

    After a publish that failed without reaching a channel it may be that of an earlier one.
    """
    count: int = lib.ps_last_rejected()
    return count


class Publisher:
    """Publishes to one topic; faster than :func:`publish` for many messages. Any thread, several at once. ::

        with Publisher("lab.temperature") as publisher:
            publisher.publish(b"21.5")
            publisher.publish_many([b"21.6", b"21.7"])

    In a forked child, publishers of the parent are closed.

    Args:
        topic: 1 to 200 of ``[a-zA-Z0-9.-]``.
        full_timeout: how many seconds a publish waits for room in channels that are full and reject. (The library may
            miss a signal that comes in the moments between its looks at the queue; the next one ends the wait.)
        home: the store's directory; None: the default one.

    Raises:
        InvalidTopicError: (a ``ValueError``) the topic is none.
        StoreError: (an ``OSError`` and a ``RuntimeError``) the store cannot be used.
    """

    def __init__(
        self, topic: str, *, full_timeout: float = 0, home: str | os.PathLike[str] | None = None
    ) -> None:
        if not 0 <= full_timeout <= 4_000_000:
            raise ValueError(f"full_timeout is {full_timeout}; it must be a number of seconds from 0 to 4,000,000")
        options = _native.PublisherOptions(
            size=ctypes.sizeof(_native.PublisherOptions),
            full_timeout_ms=_native.milliseconds(full_timeout),
            home=_native.encode_path(home),
        )
        opened = c_void_p()
        code = lib.ps_publisher_open(encode_topic(topic), byref(options), byref(opened))
        if code < 0:
            raise last_error(code)
        self.topic = topic
        self.full_timeout = full_timeout
        self._home = None if home is None else os.path.abspath(home)
        self._native: _Handle | None = _Handle(opened.value)

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return self._native is not None

    def publish(self, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None) -> int:
        """Publishes one message.

        Returns:
            How many channels took it; 0 when none matches.

        Raises:
            QueueFullError: every matching channel is full and stayed so for ``full_timeout``.
            ClosedError: (a ``RuntimeError``) it was closed, or belongs to the process that forked this one.
            TypeError, StoreError: as :func:`publish`.
        """
        # A reference: when another thread closes the publisher meanwhile, the library's object goes after this call.
        native = self._native
        if native is None:
            raise self._closed()
        if type(data) is not bytes:
            data = _bytes(data)
        parsed = _headers(headers) if headers else None
        pointer = parsed.handle if parsed else None
        code: int = lib.ps_publisher_publish(native.handle, data, len(data), pointer)
        if code >= 0:
            return code
        if code == errors.INTERRUPTED:
            # A signal handler ran and did not raise.
            deadline = time.monotonic() + self.full_timeout
            while code == errors.INTERRUPTED and time.monotonic() < deadline:
                code = lib.ps_publisher_publish(native.handle, data, len(data), pointer)
            if code >= 0:
                return code
        raise last_error(code)

    def publish_many(self, payloads: Iterable[Data], headers: Mapping[str, HeaderValueTypes] | None = None) -> int:
        """Publishes many messages in order, all with the same headers, a thousand with each call to the library.

        Returns:
            How many were handled, from the first, as :meth:`publish` would have: it stops before the first that would
            fail.

        Raises:
            As :meth:`publish`, when the first one fails.
        """
        native = self._native
        if native is None:
            raise self._closed()
        if isinstance(payloads, (bytes, bytearray, memoryview, str)):
            raise TypeError(f"publish_many takes many payloads, not one {type(payloads).__name__}")
        parsed = _headers(headers) if headers else None
        pointer = parsed.handle if parsed else None
        rest = iter(payloads)
        handled = 0
        while batch := list(islice(rest, _BATCH)):
            packed = _pack(batch)
            if packed is None:
                count = self._publish_each(batch, headers, handled)
            else:
                data, lengths = packed
                deadline = None
                while True:
                    count = lib.ps_publisher_publish_packed(
                        native.handle, data, lengths.buffer_info()[0], len(batch), pointer
                    )
                    if count != errors.INTERRUPTED:
                        break
                    # As in publish().
                    deadline = deadline or time.monotonic() + self.full_timeout
                    if time.monotonic() >= deadline:
                        break
                if count < 0:
                    if handled:
                        break
                    raise last_error(count)
            handled += count
            if count < len(batch):
                break
        return handled

    def _publish_each(self, batch: list[Data], headers: Mapping[str, HeaderValueTypes] | None, handled: int) -> int:
        for index, data in enumerate(batch):
            try:
                self.publish(data, headers)
            except PubSubError:
                if handled + index:
                    return index
                raise
        return len(batch)

    def request(
        self, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None, timeout: float | None = None
    ) -> Message | None:
        """Publishes a request and waits for its reply, as :func:`pubsub.request` does. Waiting for room
        (``full_timeout``) comes before that time."""
        from .rpc import ask  # which imports this module

        return ask(self._home, self.topic, headers, timeout, lambda headers: self.publish(data, headers))

    async def request_async(
        self, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None, timeout: float | None = None
    ) -> Message | None:
        """:meth:`request` for asyncio, as :func:`pubsub.request_async`. Waiting for room (``full_timeout``) blocks the
        event loop, as :meth:`publish` does."""
        from .rpc import ask_async

        return await ask_async(self._home, self.topic, headers, timeout, lambda headers: self.publish(data, headers))

    def close(self) -> None:
        """Closes it. Closing twice is fine; calls that are under way in other threads end as if it was open."""
        self._native = None

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Publisher(topic='{self.topic}'{'' if self.is_open else ', closed'})"

    def _closed(self) -> ClosedError:
        return ClosedError(f"the publisher on '{self.topic}' is closed")


class _Handle:
    """A publisher of the library's; gone with the last reference."""

    __slots__ = ("handle",)

    def __init__(self, handle: int | None) -> None:
        self.handle = handle

    def __del__(self) -> None:
        if lib is not None:
            lib.ps_publisher_close(self.handle)


class _Headers:
    """Headers of the library's; gone with the last reference."""

    __slots__ = ("handle",)

    def __init__(self, text: bytes) -> None:
        self.handle: int | None = None
        parsed = c_void_p()
        code = lib.ps_headers_parse(text, len(text), byref(parsed))
        if code < 0:
            raise last_error(code)
        self.handle = parsed.value

    def __del__(self) -> None:
        if lib is not None:
            lib.ps_headers_free(self.handle)


#: Programs often send the same headers again.
_kept_headers = lru_cache(maxsize=64)(_Headers)


def _text(headers: Mapping[str, HeaderValueTypes]) -> bytes:
    if not isinstance(headers, dict):
        if not isinstance(headers, Mapping):
            raise TypeError(f"headers are a dict, not {type(headers).__name__}")
        headers = dict(headers)
    return json.dumps(headers, ensure_ascii=False).encode()


def _headers(headers: Mapping[str, HeaderValueTypes]) -> _Headers:
    text = _text(headers)
    return _kept_headers(text) if len(text) <= _KEPT_TEXT else _Headers(text)


def encode_topic(topic: str) -> bytes:
    """A topic as the library takes it, which says what is wrong with it."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    encoded = topic.encode(errors="replace")
    if b"\0" in encoded:
        raise InvalidTopicError(f"the topic {topic!r} holds a NUL; it can hold [a-zA-Z0-9.-]")
    # Longer ones are refused.
    if len(encoded) <= 200:
        if len(_topics) >= 4096:
            _topics.clear()
        _topics[topic] = encoded
    return encoded


def _pack(batch: list[Data]) -> tuple[bytes, array[int]] | None:
    """Payloads end to end, and their lengths. None: they are large, and rather published from where they are."""
    for index, one in enumerate(batch):
        if type(one) is not bytes:
            batch[index] = _bytes(one)
    lengths = array("I", map(len, batch)) if max(map(len, batch)) <= _BATCH_BYTES else None
    if lengths is None or sum(lengths) > _BATCH_BYTES:
        return None
    return b"".join(batch), lengths


def _bytes(data: object) -> bytes:
    """What is no bytes object, copied, since others may change or free it meanwhile."""
    if isinstance(data, (str, int)) or data is None:
        raise TypeError(f"data are bytes, not {type(data).__name__}")
    return bytes(memoryview(data))  # type: ignore[arg-type]
