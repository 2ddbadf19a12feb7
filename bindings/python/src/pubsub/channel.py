"""The receiving end."""

from __future__ import annotations

import atexit
import ctypes
import mmap
import operator
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Iterator
from ctypes import byref, c_size_t, c_void_p
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, SupportsIndex

from . import _native, errors
from ._arguments import capacity, check_topic, choice
from ._native import fetch as _fetch
from ._native import free_batch, lib
from ._paths import ChannelDirectory, channel_directories, matches
from ._records import NO_MORE, memory, new_message, read_message, read_records
from ._times import deadline_of, wait_slice
from ._waiters import Waiters, Watch
from .errors import BusyError, ClosedError, ReopenError, last_error
from .message import Message

__all__ = ["Channel", "ChannelStats"]

#: Bytes of the buffer that receives many messages at once. What does not fit is fetched alone: copied once, not twice.
_BUFFER = 64 << 10
#: Bytes of it that asyncio uses, so that other tasks get their turn soon.
_ASYNC_BUFFER = 16 << 10
_read_plain = _native.MESSAGE_PLAIN.unpack_from
_POLICIES = {"reject": _native.FULL_REJECT, "drop-oldest": _native.FULL_DROP_OLDEST}
_TRANSPORTS = {
    None: _native.TRANSPORT_DEFAULT,
    "ring": _native.TRANSPORT_RING,
    "files": _native.TRANSPORT_FILES,
}
_TRANSPORT_NAMES = {_native.TRANSPORT_RING: "ring", _native.TRANSPORT_FILES: "files"}


class ChannelStats(NamedTuple):
    """Counters and bounds of a channel at one moment."""

    transport: str
    unread_messages: int
    unread_bytes: int
    capacity_messages: int
    capacity_bytes: int
    received: int
    rejected: int
    dropped: int
    malformed: int


class Channel:
    """One subscription: it gets what is published to topics that match, from its construction until it is closed.

    As in formix-pubsub, a channel is made by its constructor, lets fetch once it was opened, best by ``with``, and is
    gone when it is closed. ::

        with Channel("news.=") as channel:
            for message in channel:
                print(message.topic, message.content)

    Any thread may use it. When one thread waits for a message, others that want one wait behind it.

    In a forked child, channels of the parent are closed; the parent notices nothing.

    Args:
        topic: words of ``[a-zA-Z0-9-]`` between dots, at most 200 characters; ``=`` stands for one word or a part of
            it, ``+`` for one or more words.
        capacity_messages: bound of the unread messages; 0: 16,384.
        capacity_bytes: bound of the unread bytes; 0: 64 MiB. A larger message is taken only into an empty queue.
        policy: what happens when it is full: ``"reject"`` (the publisher is told) or ``"drop-oldest"`` (see
            :attr:`Message.dropped_before`).
        transport: ``"ring"`` or ``"files"``; None: what the environment's ``PUBSUB_TRANSPORT`` says, else the
            ring.
        home: the store's directory; None: the default one.
        replay_last: begin with the last so many messages of each managed topic that matches, oldest first; then
            everything newer, without a gap and none twice.
        resume: ``(message.epoch, message.offset)`` of the last message had: begin with everything behind it, on a
            managed topic without wildcards. What its history does not have any more is told by
            :attr:`Message.dropped_before` of the first message, or by another :attr:`Message.epoch`: the topic was
            deleted and created again, and this begins with all that it has. An offset of 0 is before the first.

    Raises:
        InvalidTopicError: (a ``ValueError``) the topic is none.
        InvalidArgumentError: (a ``ValueError``) `resume` on a pattern with wildcards.
        NotFoundError: (a ``LookupError``) `resume` on a topic that is not managed.
        StoreError: (a ``RuntimeError`` and an ``OSError``) the channel cannot be made.
        UnsupportedError: a ring where memory cannot be shared (a network file system, say).
    """

    # Where __init__ did not get to, __del__ finds these.
    _handle: int | None = None
    _open = False

    def __init__(
        self,
        topic: str,
        *,
        capacity_messages: int = 0,
        capacity_bytes: int = 0,
        policy: Literal["reject", "drop-oldest"] = "reject",
        transport: Literal["ring", "files"] | None = None,
        home: str | os.PathLike[str] | None = None,
        replay_last: int = 0,
        resume: tuple[int, int] | None = None,
    ) -> None:
        check_topic(topic)
        epoch, offset = (0, 0) if resume is None else resume
        options = _native.ChannelOptions(
            size=ctypes.sizeof(_native.ChannelOptions),
            full_policy=choice("policy", policy, _POLICIES),
            transport=choice("transport", transport, _TRANSPORTS),
            capacity_bytes=capacity("capacity_bytes", capacity_bytes),
            capacity_messages=capacity("capacity_messages", capacity_messages),
            home=_native.encode_path(home),
            replay_last=_native.integer("replay_last", replay_last, (1 << 32) - 1),
            resume=resume is not None,
            resume_epoch=_native.integer("the epoch of resume", epoch, (1 << 64) - 1),
            resume_offset=_native.integer("the offset of resume", offset, (1 << 64) - 1),
        )
        opened = c_void_p()
        code = lib.ps_channel_open(topic.encode(), byref(options), byref(opened))
        if code < 0:
            raise last_error(code)
        self._handle = opened.value
        self._argument = _native.argument(opened.value)
        self._closing = False
        # Whose turn it is to receive. Reentrant, since a signal handler may close the channel that its thread receives
        # from: `_inside` tells that case apart.
        self._lock = threading.RLock()
        self._inside = False
        self._waiting = False
        # Nobody is inside, and nothing but the library has messages: fetch() may ask it at once. Changed with the turn.
        self._direct = True
        # Held to use the handle without the turn; nobody closes it then.
        self._guard = threading.RLock()
        # Received and not handed out yet. An iterator, since taking the next, or all, is one step for other threads.
        self._pending: Iterator[Message] = iter(())
        # What the library has given and Python not yet taken. It lives here, not in a function's variables, so that an
        # exception of a signal handler (KeyboardInterrupt) between the two loses nothing.
        self._fetched = c_void_p()
        self._fetched_ref = byref(self._fetched)
        self._used = c_size_t()
        self._used_ref = byref(self._used)
        self._buffer: mmap.mmap | None = None
        self._address = 0
        self._waiters = Waiters()

        self.topic = topic
        # For replies to its messages.
        self._home = None if home is None else os.path.abspath(home)
        # The topic of all its messages, where that and what the library says of a message is all there is to it.
        self._plain = topic if home is None and "=" not in topic and "+" not in topic else None
        self.process_id = os.getpid()
        self.directory_path: Path = ChannelDirectory(os.fsdecode(lib.ps_channel_path(self._handle)))
        self.directory_name: str = self.directory_path.name
        self.queue_path: Path = self.directory_path / "queue"
        # Names of patterns with '=' hold the pattern once more before the random part.
        self.random_id: str = self.directory_name.split("_")[1][-12:]
        _channels.add(self)

    @property
    def is_open(self) -> bool:
        """Whether messages can be fetched from it."""
        return self._open

    def open(self) -> None:
        """Makes it ready to fetch from. Done by ``with``; does nothing when it is open.

        Raises:
            ReopenError: (an ``OSError`` and a ``RuntimeError``) it was closed.
        """
        if self._open:
            return
        if self._closing or self._handle is None:
            raise ReopenError(f"the channel on '{self.topic}' was closed; make a new one")
        self._open = True

    def close(self) -> None:
        """Closes it: what is unread is gone. Closing twice is fine, and so is closing while another thread receives:
        that one gets a :class:`ClosedError`, and iterations end.

        Raises:
            StoreError: (a ``RuntimeError``) its directory cannot be removed.
        """
        self._open = False
        self._closing = True
        for _ in self._pending:  # iterations hold it, too
            pass
        self._waiters.wake_all()
        if not self._lock.acquire(False):
            with self._guard:
                if self._handle is not None:
                    # Sticky: whoever is about to wait gets it, too.
                    lib.ps_channel_interrupt(self._handle)
            self._lock.acquire()
        try:
            # Otherwise this is a signal handler, and the code that it interrupted comes here again when it leaves.
            if not self._inside:
                self._direct = False
                self._shut()
        finally:
            self._lock.release()

    def fetch(self, timeout: float | None = 0) -> Message | None:
        """The next message.

        Args:
            timeout: seconds to wait for one; 0: not at all; None: without end.

        Returns:
            The message; None when there is none in time.

        Raises:
            ClosedError: (a ``RuntimeError``) it is not open, or was closed meanwhile.
            ValueError: the timeout is negative.
        """
        if not self._open:
            raise self._closed()
        deadline = None if timeout == 0 else deadline_of(timeout)  # what is false may be no number
        # What `_take` does, in as few steps as can be.
        if self._lock.acquire(False):
            if self._direct:
                try:
                    self._inside = True
                    self._direct = False
                    message = None
                    code = _fetch(self._argument, self._fetched_ref)
                    if code == 1:
                        address = self._fetched.value or 0
                        number, timestamp, place, length, headers_len, more = _read_plain(memory, address)
                        if self._plain is not None and headers_len == 2 and more == NO_MORE:
                            message = new_message(Message)
                            message.id = number
                            message.timestamp = timestamp
                            message.topic = self._plain
                            message.content = memory[place : place + length]
                            message._headers = b""
                        else:
                            message = read_message(address, self._home)
                        free_batch(self._fetched_ref, 1)
                    elif code < 0:
                        raise self._failed(code)
                    self._direct = True
                    if message is not None or timeout == 0:
                        return message
                finally:
                    # No call before the release: a signal handler that raises would keep it from being done.
                    self._inside = False
                    self._lock.release()
                    if self._closing:
                        self.close()
            else:
                self._lock.release()
        if timeout == 0:
            return self._take(0)
        while True:
            message = self._take(wait_slice(deadline))
            if message is not None or (deadline is not None and time.monotonic() >= deadline):
                return message

    def fetch_many(self, limit: int | None = None, timeout: float | None = 0) -> list[Message]:
        """Many messages at once, for far less than :meth:`fetch` costs: waits for the first, then takes what is there.

        Args:
            limit: how many at most; None: as many as one call to the library brings, some hundred small ones.
            timeout: seconds to wait for the first; 0: not at all; None: without end.

        Returns:
            The messages; an empty list when there are none in time.

        Raises:
            As :meth:`fetch`.
        """
        if not self._open:
            raise self._closed()
        if limit is not None and limit < 1:
            if limit < 0:
                raise ValueError(f"limit is {limit}; it must not be negative")
            return []
        messages = list(islice(self._pending, limit))
        if not messages and self._wait(timeout):
            messages = list(islice(self._pending, limit))
        while limit is not None and messages and len(messages) < limit and self._fill(0):
            messages += islice(self._pending, limit - len(messages))
        return messages

    def messages(self, timeout: float | None = None) -> Iterator[Message]:
        """Messages as they come, until none comes for ``timeout`` seconds (None: without end) or the channel is
        closed.

        They are brought in batches: when the loop is left early, what was brought stays for the next call of any kind,
        and does not show in :meth:`fileno`.

        Raises:
            ClosedError: it is not open when the first is asked for.
        """
        if not self._open:
            raise self._closed()
        while True:
            yield from self._pending
            try:
                if not self._wait(timeout):
                    return
            except ClosedError:
                return

    def __iter__(self) -> Iterator[Message]:
        return self.messages()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Messages as they come, until the channel is closed. The event loop is never blocked: it watches
        :meth:`fileno`."""
        with Watch(self._waiters, self.fileno()) as watch:
            while self._open:
                for message in self._pending:
                    yield message
                try:
                    if self._fill(0, _ASYNC_BUFFER):
                        # A channel that is never empty must not keep the others from running.
                        await watch.pause()
                    elif self._open:
                        await watch.readable()
                except ClosedError:
                    return

    def fileno(self) -> int:
        """A descriptor that is readable as long as a message waits in the queue; for select, poll and event loops. When
        it is readable, fetch until there is nothing. Never read, write or close it.

        Raises:
            ClosedError: it is not open.
        """
        if not self._turn(0):
            # Another thread waits in it: the library gives the descriptor to one at a time.
            raise BusyError(f"another thread is waiting for a message of '{self.topic}'; call fileno() before that")
        try:
            descriptor: int = lib.ps_channel_fd(self._handle)
            if descriptor < 0:
                raise last_error(descriptor)
            return descriptor
        finally:
            # No call before the release: a signal handler that raises would keep it from being done.
            self._inside = self._waiting = False
            self._lock.release()
            if self._closing:
                self.close()

    def stats(self) -> ChannelStats:
        """Counters and bounds, now. Any thread, also while another receives.

        Messages that an iteration or :func:`subscribe` has brought and not handed out yet count as received.

        Raises:
            ClosedError: it is closed.
        """
        stats = _native.ChannelStats(size=ctypes.sizeof(_native.ChannelStats))
        with self._guard:
            if self._handle is None:
                raise self._closed()
            code = lib.ps_channel_stats_get(self._handle, byref(stats))
            if code < 0:
                raise last_error(code)
        return ChannelStats(
            transport=_TRANSPORT_NAMES.get(stats.transport, str(stats.transport)),
            **{name: getattr(stats, name) for name in ChannelStats._fields[1:]},
        )

    @staticmethod
    def cleanup_inactive() -> None:
        """Removes what dead processes left in the default store. The library does that by and by, too."""
        code = lib.ps_cleanup(None)
        if code < 0:
            raise last_error(code)

    @staticmethod
    def active_paths() -> list[Path]:
        """The directories of the default store's channels whose processes live, sorted."""
        return [path for _, path in channel_directories(alive=True)]

    @staticmethod
    def inactive_paths() -> list[Path]:
        """The directories of the default store's channels whose processes are gone, sorted."""
        return [path for _, path in channel_directories(alive=False)]

    @staticmethod
    def matching_active_paths(topic: str) -> list[Path]:
        """The directories of living channels that get what is published to this topic, sorted."""
        return [path for pattern, path in channel_directories(alive=True) if matches(pattern, topic)]

    def __str__(self) -> str:
        return f"Channel(topic='{self.topic}', directory='{self.directory_name}')"

    def __repr__(self) -> str:
        return f"Channel(topic='{self.topic}', pid={self.process_id}, random_id='{self.random_id}')"

    def __enter__(self) -> Channel:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # For pickle and copy. A copy would be a second owner of the library's channel, which the first to go frees.
        raise TypeError("a channel cannot be copied or pickled; where it is wanted, open another on its topic")

    def __del__(self) -> None:
        # A net: nobody can be inside any more, since being there takes a reference.
        handle = self.__dict__.pop("_handle", None)
        if handle is not None and lib is not None:
            if self._open:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)
            lib.ps_channel_close(handle)

    def _take(self, seconds: float | None) -> Message | None:
        """One message, without bringing others."""
        message = next(self._pending, None)
        if message is not None or not self._turn(seconds):
            return message
        try:
            if self._used.value:
                self._unpack()
            # Again, now that no other thread brings any.
            message = next(self._pending, None)
            if message is not None:
                return message
            message = self._single(_native.FOREVER if seconds is None else _native.milliseconds(seconds))
            self._direct = True
            return message
        finally:
            # No call before the release: a signal handler that raises would keep it from being done.
            self._inside = self._waiting = False
            self._lock.release()
            if self._closing:
                self.close()

    def _fill(self, seconds: float | None, size: int = _BUFFER) -> bool:
        """Brings messages into `_pending` if there are none, waiting for the first; whether there are any."""
        if not self._turn(seconds):
            return self._any()
        try:
            if self._any():
                return True
            buffer = self._buffer
            if buffer is None:
                # Memory of an mmap is aligned, is not touched before it is used, and its slices are bytes.
                buffer = mmap.mmap(-1, _BUFFER, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                self._address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
                # Last: a signal handler that raises in between leaves no buffer, rather than one without an address.
                self._buffer = buffer
            if self._fetched.value is not None:
                # An exception kept fetch() from handing it out.
                message = self._single(0)
                if message is not None:
                    self._pending = iter((message,))
                    return True
            if not self._used.value:
                milliseconds = _native.FOREVER if seconds is None else _native.milliseconds(seconds)
                self._waiting = milliseconds != 0
                code = lib.ps_fetch_packed(self._handle, self._address, size, milliseconds, self._used_ref)
                self._waiting = False
                if code == 0:
                    return False
                if code < 0:
                    self._used.value = 0
                    if code == errors.TOO_LARGE:
                        message = self._single(0)
                        if message is not None:
                            self._pending = iter((message,))
                    elif code != errors.INTERRUPTED:
                        raise self._failed(code)
                    return self._any()
            self._unpack()
            return self._any()
        finally:
            # No call before the release: a signal handler that raises would keep it from being done.
            self._inside = self._waiting = False
            self._lock.release()
            if self._closing:
                self.close()

    def _single(self, milliseconds: int) -> Message | None:
        """One message by itself, however large. With the turn."""
        if self._fetched.value is None:
            self._waiting = milliseconds != 0
            code = lib.ps_fetch_wait(self._handle, milliseconds, self._fetched_ref)
            self._waiting = False
            if code <= 0:
                if code == 0 or code == errors.INTERRUPTED:
                    return None
                raise self._failed(code)
        message = read_message(self._fetched.value or 0, self._home)
        # Freed and forgotten in one step, or an exception between the two would have it freed twice, or never.
        free_batch(self._fetched_ref, 1)
        return message

    def _unpack(self) -> None:
        """Makes messages of the buffer's records. With the turn."""
        buffer = self._buffer
        used = self._used.value
        messages: list[Message] = []
        # More than the buffer has is the size that a message would have needed.
        if buffer is not None and used <= _BUFFER:
            messages = read_records(buffer, used)
            if self._home is not None:
                for message in messages:
                    message._home = self._home
        # Two assignments and no call between them: no signal handler runs there.
        pending = iter(messages)
        self._pending = pending
        self._used.value = 0

    def _any(self) -> bool:
        """Whether some were brought and not handed out yet."""
        return operator.length_hint(self._pending) > 0

    def _wait(self, timeout: float | None) -> bool:
        """Brings messages, waiting that long; whether there are any."""
        if timeout == 0:
            return self._fill(0)
        deadline = deadline_of(timeout)
        while True:
            if self._fill(wait_slice(deadline)):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _turn(self, seconds: float | None) -> bool:
        """Takes the turn to receive, to be given back by `_inside = False` and the release of the lock.

        False: another thread waits for a message, so there is none, and it still did after `seconds`.
        """
        if not self._lock.acquire(False):
            deadline = None if seconds is None else time.monotonic() + seconds
            while True:
                step = 0.01
                # A thread that is in and does not wait will be out at once.
                if self._waiting:
                    step = threading.TIMEOUT_MAX if deadline is None else deadline - time.monotonic()
                    if step <= 0:
                        return False
                if self._lock.acquire(timeout=step):
                    break
        if self._inside:
            self._lock.release()
            raise BusyError(f"a signal handler cannot receive from '{self.topic}' in the middle of receiving from it")
        self._inside = True
        self._direct = False
        if self._open and not self._closing:
            return True
        self._inside = False
        self._lock.release()
        raise self._closed()

    def _shut(self) -> None:
        with self._guard:
            # One step, so that of all who try one closes it.
            handle = self.__dict__.pop("_handle", None)
        if handle is None:
            return
        free_batch(self._fetched_ref, 1)
        code = lib.ps_channel_close(handle)
        # In a forked child there is nothing to remove; a thread that waited when it forked waits for ever.
        if code < 0 and self.process_id == os.getpid():
            raise last_error(code)

    def _failed(self, code: int) -> BaseException:
        return self._closed() if self._closing or code == errors.CLOSED else last_error(code)

    def _closed(self) -> BaseException:
        if _exiting and threading.get_ident() != threading.main_thread().ident:
            # The interpreter ends, and this thread with it: silently.
            return SystemExit()
        state = "closed" if self._closing else "not open: use it in a with statement, or call open()"
        return ClosedError(f"the channel on '{self.topic}' is {state}")

    def _forget(self) -> None:
        """In a forked child."""
        self._open = False
        self._closing = True
        for _ in self._pending:
            pass
        self._pending = iter(())
        self._waiters = Waiters()
        # A thread that is not in this process may have held them.
        self._lock = threading.RLock()
        self._guard = threading.RLock()
        self._inside = self._waiting = self._direct = False


#: For the end of the process, and for forked children.
_channels: weakref.WeakSet[Channel] = weakref.WeakSet()
_exiting = False


@atexit.register
def _close_all() -> None:
    global _exiting
    _exiting = True
    for channel in list(_channels):
        try:
            channel.close()
        except OSError as error:
            print(f"pubsub: {error}", file=sys.stderr)


def _forget_all() -> None:
    for channel in list(_channels):
        channel._forget()


os.register_at_fork(after_in_child=_forget_all)
