"""Errors: one class for each of the library's codes.

All are :class:`PubSubError`. Each is also the built-in error that fits, and those that formix-pubsub raises as
``ValueError``, ``RuntimeError`` or ``OSError`` are caught as that, too.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from ._native import lib

__all__ = [
    "PubSubError",
    "InvalidArgumentError",
    "InvalidTopicError",
    "InvalidHeadersError",
    "TooLargeError",
    "ClosedError",
    "BusyError",
    "NotFoundError",
    "ExistsError",
    "QueueFullError",
    "StoreFullError",
    "StorePermissionError",
    "CorruptError",
    "WaitInterruptedError",
    "UnsupportedError",
    "StoreError",
    "InternalError",
]


class PubSubError(Exception):
    """Anything that libpubsub refused or could not do. The text says what failed, on which topic, path or value."""

    #: The ``PS_ERR_*`` number of the C interface.
    code: ClassVar[int] = 0
    #: Its name.
    name: ClassVar[str] = ""


class InvalidArgumentError(PubSubError, ValueError):
    """An argument is out of range, or a text is none."""

    code = -1
    name = "PS_ERR_INVALID_ARGUMENT"


class BusyError(InvalidArgumentError, RuntimeError):
    """A channel is used in the middle of its own receiving, by a signal handler for instance."""


class InvalidTopicError(PubSubError, ValueError):
    """A topic or pattern holds what topics cannot hold."""

    code = -2
    name = "PS_ERR_INVALID_TOPIC"


class InvalidHeadersError(PubSubError, ValueError):
    """Headers that cannot travel."""

    code = -3
    name = "PS_ERR_INVALID_HEADERS"


class TooLargeError(PubSubError, ValueError):
    """A message is larger than what can be handled."""

    code = -4
    name = "PS_ERR_TOO_LARGE"


class ClosedError(PubSubError, RuntimeError):
    """The channel or publisher is closed, was never opened, or belongs to the process that forked this one."""

    code = -5
    name = "PS_ERR_CLOSED"


class ReopenError(ClosedError, OSError):
    """A channel that was closed cannot be opened again."""


class NotFoundError(PubSubError, LookupError):
    """There is no such thing."""

    code = -6
    name = "PS_ERR_NOT_FOUND"


class ExistsError(PubSubError, FileExistsError):
    """It is there already."""

    code = -7
    name = "PS_ERR_EXISTS"


class QueueFullError(PubSubError, RuntimeError):
    """Every matching channel is full and rejects."""

    code = -8
    name = "PS_ERR_QUEUE_FULL"


class StoreError(PubSubError, RuntimeError, OSError):
    """The operating system refused; the text says what and why."""

    code = -14
    name = "PS_ERR_IO"


class StoreFullError(StoreError):
    """The file system that holds the store is full. ``errno`` is ``ENOSPC``."""

    code = -9
    name = "PS_ERR_STORE_FULL"


class StorePermissionError(StoreError, PermissionError):
    """The store, or something in it, may not be used by this user."""

    code = -10
    name = "PS_ERR_PERMISSION"


class CorruptError(PubSubError, RuntimeError):
    """Something in the store is not what it should be."""

    code = -11
    name = "PS_ERR_CORRUPT"


class WaitInterruptedError(PubSubError, InterruptedError):
    """A wait was ended from elsewhere. The receiving functions go on waiting and do not raise it."""

    code = -12
    name = "PS_ERR_INTERRUPTED"


class UnsupportedError(PubSubError, NotImplementedError):
    """Not available on this system, or in this version of the library."""

    code = -13
    name = "PS_ERR_UNSUPPORTED"


class InternalError(PubSubError, SystemError):
    """A defect of the library."""

    code = -15
    name = "PS_ERR_INTERNAL"


CLOSED = ClosedError.code
INTERRUPTED = WaitInterruptedError.code
INVALID_ARGUMENT = InvalidArgumentError.code
QUEUE_FULL = QueueFullError.code
TOO_LARGE = TooLargeError.code

_BY_CODE: dict[int, type[PubSubError]] = {
    cls.code: cls
    for cls in (
        InvalidArgumentError,
        InvalidTopicError,
        InvalidHeadersError,
        TooLargeError,
        ClosedError,
        NotFoundError,
        ExistsError,
        QueueFullError,
        StoreFullError,
        StorePermissionError,
        CorruptError,
        WaitInterruptedError,
        UnsupportedError,
        StoreError,
        InternalError,
    )
}


def last_error(code: int) -> PubSubError:
    """The error for what the library just answered in this thread."""
    text: bytes = lib.ps_last_error()
    error = _BY_CODE.get(code, PubSubError)(text.decode(errors="replace"))
    if isinstance(error, StoreFullError):
        error.errno = errno.ENOSPC
    elif isinstance(error, StorePermissionError):
        error.errno = errno.EACCES
    return error
