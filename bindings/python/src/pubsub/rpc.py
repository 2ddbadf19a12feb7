"""Request and reply: a message whose headers say where its reply is to go, and how it is to be marked.

Replies come to a channel, the inbox, that a thread or an event loop opens with its first request and keeps. They are told
apart by their correlation ids; one that nobody waits for any more is dropped.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from ._times import deadline_of, wait_slice
from .channel import Channel
from .errors import InvalidArgumentError, NotFoundError, PubSubError
from .message import Header, HeaderValueTypes, Message
from .publisher import Data, Publisher, publish_strictly

__all__ = ["request", "request_async"]

RESPONSE_TOPIC = "response-topic"
CORRELATION_ID = "correlation-id"

#: Replies that a thread's inbox holds, and their bytes: one is waited for, others come late. As the library has it.
_CAPACITY = 64
_CAPACITY_BYTES = 1 << 20

_Send = Callable[[Header], int]


def request(
    topic: str, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None, timeout: float | None = None
) -> Message | None:
    """Publishes a request and waits for its reply.

    It carries the headers ``response-topic`` and ``correlation-id``, in place of any by these names; whoever receives it
    answers with :meth:`Message.reply`, or as formix-pubsub's documentation shows. When several do, the first reply is it.

    Any thread; each keeps a channel for its replies until it ends.

    Args:
        topic: 1 to 200 of ``[a-zA-Z0-9.-]``.
        data: the content.
        headers: names and values that travel with it.
        timeout: seconds to wait; None: without end.

    Returns:
        The reply; None when there is none in time. What comes later is dropped.

    Raises:
        NotFoundError: (a ``LookupError``) nobody listens on the topic; at once.
        QueueFullError: everyone who listens has a full queue.
        InvalidTopicError, TypeError, StoreError: as :func:`publish`.
        ValueError: the timeout is negative.
    """
    return ask(None, topic, headers, timeout, lambda headers: publish_strictly(topic, data, headers))


async def request_async(
    topic: str, data: Data, headers: Mapping[str, HeaderValueTypes] | None = None, timeout: float | None = None
) -> Message | None:
    """:func:`request` for asyncio: nothing blocks the event loop, any number of tasks may wait at once, all on one
    channel, and a task that is cancelled leaves nothing behind."""
    return await ask_async(None, topic, headers, timeout, lambda headers: publish_strictly(topic, data, headers))


def ask(
    home: str | None, topic: str, headers: Mapping[str, HeaderValueTypes] | None, timeout: float | None, send: _Send
) -> Message | None:
    """Publishes a request by ``send`` and waits for its reply, in this thread."""
    deadline = deadline_of(timeout)
    # Taken out while it is in use: a signal handler that asks, too, gets another.
    inbox = _of_thread.inboxes.pop(home, None)
    if inbox is None or not inbox.usable:
        # A late reply must not keep out the one that is waited for.
        inbox = _Inbox(
            home, capacity_messages=_CAPACITY, capacity_bytes=_CAPACITY_BYTES, policy="drop-oldest"
        )
    try:
        identity = inbox.send(topic, headers, send)
        while True:
            message = inbox.fetch(wait_slice(deadline))
            if message is not None and message.headers.get(CORRELATION_ID) == identity:
                return message
            if deadline is not None and time.monotonic() >= deadline:
                return None
    finally:
        _of_thread.inboxes[home] = inbox


async def ask_async(
    home: str | None, topic: str, headers: Mapping[str, HeaderValueTypes] | None, timeout: float | None, send: _Send
) -> Message | None:
    """Publishes a request by ``send`` and waits for its reply, in this task."""
    deadline_of(timeout)
    loop = asyncio.get_running_loop()
    inbox = _of_loop(home, loop)
    reply: asyncio.Future[Message] = loop.create_future()
    identity = inbox.send(topic, headers, send)
    inbox.waiting[identity] = reply
    try:
        await asyncio.wait((reply,), timeout=timeout)
        return reply.result() if reply.done() else None
    finally:
        del inbox.waiting[identity]


def reply(message: Message, data: Data, headers: Mapping[str, HeaderValueTypes] | None) -> int:
    topic = message.headers.get(RESPONSE_TOPIC)
    if not isinstance(topic, str):
        what = "has no header" if topic is None else f"has a number, truth value or list ({topic!r}) as its header"
        raise InvalidArgumentError(f"the message on '{message.topic}' asks for no reply: it {what} '{RESPONSE_TOPIC}'")
    marked = dict(headers or {})
    if CORRELATION_ID in message.headers:
        marked[CORRELATION_ID] = message.headers[CORRELATION_ID]
    if message._home is None:
        return publish_strictly(topic, data, marked)
    with Publisher(topic, home=message._home) as publisher:
        return publisher.publish(data, marked)


class _Inbox(Channel):
    """A channel for replies. It closes when nothing refers to it any more."""

    def __init__(self, home: str | None, **bounds: Any) -> None:
        super().__init__(f"reply.{secrets.token_hex(12)}", home=home, **bounds)
        self._numbers = itertools.count(1)
        self._queue = os.fspath(self.queue_path)
        self.open()

    @property
    def usable(self) -> bool:
        """Neither closed, nor the parent's of a forked child, nor deleted by somebody."""
        return self.is_open and os.path.exists(self._queue)

    def send(self, topic: str, headers: Mapping[str, HeaderValueTypes] | None, send: _Send) -> str:
        """Publishes a request; its correlation id, which no other has."""
        marked = dict(headers or {})
        identity = f"{self.topic[6:]}-{next(self._numbers)}"
        marked[RESPONSE_TOPIC] = self.topic
        marked[CORRELATION_ID] = identity
        if send(marked) == 0:
            raise NotFoundError(f"nobody listens on '{topic}': no channel matches it; start who answers first")
        return identity

    def __del__(self) -> None:
        self._open = False  # nobody forgot to close it
        super().__del__()


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.inboxes: dict[str | None, _Inbox] = {}


_of_thread = _OfThread()


class _LoopInbox(_Inbox):
    """The inbox of an event loop's tasks. It does not refer to the loop, which it is to end with."""

    def __init__(self, home: str | None, loop: asyncio.AbstractEventLoop) -> None:
        # It rejects when it is full, as it may be with large replies for a moment: dropping the oldest would lose replies
        # that are waited for, and whoever replies is told. Those that nobody waits for do not stay in it.
        super().__init__(home)
        self.waiting: dict[str, asyncio.Future[Message]] = {}
        self._descriptor = self.fileno()
        loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        try:
            # One batch at a time: the descriptor stays readable, and other tasks get their turn.
            for message in self.fetch_many():
                identity = message.headers.get(CORRELATION_ID)
                waiting = self.waiting.get(identity) if isinstance(identity, str) else None
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        except PubSubError as error:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._open = False  # not usable: the next request makes another
            for waiting in self.waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)


_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, _LoopInbox]] = (
    weakref.WeakKeyDictionary()
)


def _of_loop(home: str | None, loop: asyncio.AbstractEventLoop) -> _LoopInbox:
    inboxes = _of_loops.get(loop)
    if inboxes is None:
        # No loop tells when it is closed; those that were are found here, or collected.
        for old in [old for old in _of_loops if old.is_closed()]:
            del _of_loops[old]
        inboxes = _of_loops[loop] = {}
    inbox = inboxes.get(home)
    if inbox is not None and not inbox.usable:
        if inbox.is_open:
            loop.remove_reader(inbox._descriptor)
        inbox = None
    if inbox is None:
        inbox = inboxes[home] = _LoopInbox(home, loop)
    return inbox
