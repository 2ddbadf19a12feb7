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
from typing import Any, Union

from . import _native, errors
from ._native import INT_MAX, lib
from ._native import publish as _publish
from ._native import publisher_publish as _publisher_publish
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
    try:
        encoded = _topics[topic]
    except KeyError:
        encoded = encode_topic(topic)
    if headers is None and type(data) is bytes and (length := len(data)) <= INT_MAX:
        code = _publish(encoded, data, length, None)
    else:
        if type(data) is not bytes:
            data = _bytes(data)
        code = lib.ps_publish(encoded, data, len(data), _headers(headers) if headers else None)
    if code >= 0:
        return code
    if code == errors.QUEUE_FULL:
        return 0
    raise last_error(code)


def publish_strictly(topic: str, data: Data, headers: Mapping[str, HeaderValueTypes]) -> int:
    """:func:`publish` with headers like no others; an error when all queues that match are full."""
    encoded = _topics.get(topic) or encode_topic(topic)
    if type(data) is not bytes:
        data = _bytes(data)
    code: int = lib.ps_publish(encoded, data, len(data), _parse(_text(headers)) if headers else None)
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
        # An argument for the library. It keeps the library's publisher: when another thread closes this one meanwhile, that
        # goes after the calls that it was handed to. None, once closed, is NULL there, which it refuses.
        self._native: Any = byref(_Native.from_address(opened.value or 0))

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
        if headers is None and type(data) is bytes and (length := len(data)) <= INT_MAX:
            code = _publisher_publish(self._native, data, length, None)
            return code if code >= 0 else self._failed(code, data, None)
        if type(data) is not bytes:
            data = _bytes(data)
        pointer = _headers(headers) if headers else None
        code = lib.ps_publisher_publish(self._native, data, len(data), pointer)
        return code if code >= 0 else self._failed(code, data, pointer)

    def _failed(self, code: int, data: bytes, pointer: Any) -> int:
        """After a publish that failed: once more, or the error."""
        if code == errors.INTERRUPTED:
            # A signal handler ran and did not raise.
            deadline = time.monotonic() + self.full_timeout
            while code == errors.INTERRUPTED and time.monotonic() < deadline:
                code = lib.ps_publisher_publish(self._native, data, len(data), pointer)
            if code >= 0:
                return code
        if code == errors.INVALID_ARGUMENT and self._native is None:
            raise self._closed()
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
        pointer = _headers(headers) if headers else None
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
                        native, data, lengths.buffer_info()[0], len(batch), pointer
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


class _Native(ctypes.Structure):
    """The library's publisher; gone with the last reference."""

    # Bound early: at the end of the program, the modules' names may go first.
    def __del__(self, close: Any = lib.ps_publisher_close, byref: Any = byref) -> None:
        close(byref(self))


class _NativeHeaders(ctypes.Structure):
    """The library's headers; gone with the last reference."""

    def __del__(self, free: Any = lib.ps_headers_free, byref: Any = byref) -> None:
        free(byref(self))


def _parse(text: bytes) -> Any:
    """Headers as an argument for the library, which keeps them as long as it lives."""
    parsed = c_void_p()
    code = lib.ps_headers_parse(text, len(text), byref(parsed))
    if code < 0:
        raise last_error(code)
    return byref(_NativeHeaders.from_address(parsed.value or 0))


#: Programs often send the same headers again.
_kept = lru_cache(maxsize=64)(_parse)


def _text(headers: Mapping[str, HeaderValueTypes]) -> bytes:
    if not isinstance(headers, dict):
        if not isinstance(headers, Mapping):
            raise TypeError(f"headers are a dict, not {type(headers).__name__}")
        headers = dict(headers)
    return json.dumps(headers, ensure_ascii=False).encode()


def _headers(headers: Mapping[str, HeaderValueTypes]) -> Any:
    text = _text(headers)
    return _kept(text) if len(text) <= _KEPT_TEXT else _parse(text)


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
