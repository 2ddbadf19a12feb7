"""The library's functions, as ctypes calls them.

The library is looked for in the environment's ``PUBSUB_LIBRARY``, then beside this file (where the wheel has it), then
where the system keeps its libraries. ``restype`` and ``argtypes`` are set here, once.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    CDLL,
    POINTER,
    PyDLL,
    c_bool,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from struct import Struct
from typing import Any, Callable

FOREVER = -1
FULL_REJECT = 0
FULL_DROP_OLDEST = 1
TRANSPORT_DEFAULT = 0
TRANSPORT_RING = 1
TRANSPORT_FILES = 2

SONAME = "libpubsub.so.0"

#: ps_message, for struct: id, timestamp_us, topic, topic_len, data, data_len, headers_json, headers_json_len, and MESSAGE_MORE.
#: Read with one call, since each field of a ctypes struct costs as much.
MESSAGE = Struct("@QqPNPNPN32s")
#: Of it: id, timestamp_us, data, data_len, headers_json_len, and MESSAGE_MORE.
MESSAGE_PLAIN = Struct("@Qq16xPN8xN32s")
#: kind, (flags), dropped_before, epoch, offset.
MESSAGE_MORE = Struct("=I4xQQQ")

#: ps_packed_record, for struct: (size), id, timestamp_us, and then, either as bytes or one by one, dropped_before, epoch,
#: offset, LENGTHS as bytes, kind, (flags).
RECORD_BEGIN = "=8xQq"
RECORD_REST = "QQQ16sI4x"
#: data_len, topic_len, headers_json_len, and where they begin.
LENGTHS = Struct("=QII")
LENGTHS_AT = 48


class ChannelOptions(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("full_policy", c_uint32),
        ("transport", c_uint32),
        ("reserved", c_uint32),
        ("capacity_bytes", c_uint64),
        ("capacity_messages", c_uint64),
        ("home", c_char_p),
        ("replay_last", c_uint32),
        ("resume", c_uint32),
        ("resume_epoch", c_uint64),
        ("resume_offset", c_uint64),
    ]


class ChannelStats(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("transport", c_uint32),
        ("alive", c_bool),
        ("foreign", c_bool),
        ("pid", c_int64),
        ("unread_messages", c_uint64),
        ("unread_bytes", c_uint64),
        ("capacity_messages", c_uint64),
        ("capacity_bytes", c_uint64),
        ("received", c_uint64),
        ("rejected", c_uint64),
        ("dropped", c_uint64),
        ("malformed", c_uint64),
        ("topic", c_char_p),
        ("path", c_char_p),
    ]


class PublisherOptions(ctypes.Structure):
    _fields_ = [("size", c_uint32), ("full_timeout_ms", c_uint32), ("home", c_char_p)]


class TopicOptions(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("history_messages", c_uint32),
        ("history_bytes", c_uint64),
        ("history_ttl_ms", c_int64),
        ("home", c_char_p),
    ]


class TopicStats(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32),
        ("reserved", c_uint32),
        ("topic", c_char_p),
        ("subscribers", c_uint64),
        ("messages_published", c_uint64),
        ("messages_in_history", c_uint64),
        ("bytes_in_history", c_uint64),
        ("epoch", c_uint64),
        ("next_offset", c_uint64),
        ("created_us", c_int64),
    ]


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "ps_version": (c_char_p, []),
    "ps_last_error": (c_char_p, []),
    "ps_last_rejected": (c_uint32, []),
    "ps_home": (c_char_p, []),
    "ps_cleanup": (c_int64, [c_char_p]),
    "ps_headers_parse": (c_int, [c_char_p, c_size_t, c_void_p]),
    "ps_headers_free": (None, [c_void_p]),
    "ps_message_free_batch": (None, [c_void_p, c_size_t]),
    "ps_channel_open": (c_int, [c_char_p, POINTER(ChannelOptions), c_void_p]),
    "ps_channel_close": (c_int, [c_void_p]),
    "ps_channel_path": (c_char_p, [c_void_p]),
    "ps_channel_fd": (c_int, [c_void_p]),
    "ps_channel_interrupt": (c_int, [c_void_p]),
    "ps_channel_stats_get": (c_int, [c_void_p, POINTER(ChannelStats)]),
    "ps_channel_list": (c_int64, [c_char_p, c_void_p]),
    "ps_channel_list_free": (None, [c_void_p, c_size_t]),
    "ps_fetch": (c_int, [c_void_p, c_void_p]),
    "ps_fetch_wait": (c_int, [c_void_p, c_int64, c_void_p]),
    "ps_fetch_packed": (c_int, [c_void_p, c_void_p, c_size_t, c_int64, c_void_p]),
    # The data's address is read by ctypes from the bytes object itself: nothing is copied.
    "ps_publish": (c_int, [c_char_p, c_char_p, c_size_t, c_void_p]),
    "ps_publisher_open": (c_int, [c_char_p, POINTER(PublisherOptions), c_void_p]),
    "ps_publisher_publish": (c_int, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "ps_publisher_publish_packed": (c_int64, [c_void_p, c_char_p, c_void_p, c_size_t, c_void_p]),
    "ps_publisher_close": (None, [c_void_p]),
    "ps_topic_create": (c_int, [c_char_p, POINTER(TopicOptions)]),
    "ps_topic_delete": (c_int, [c_char_p, c_char_p]),
    "ps_topic_list": (c_int64, [c_char_p, c_void_p]),
    "ps_topic_list_free": (None, [c_void_p, c_size_t]),
    "ps_topic_history": (c_int64, [c_char_p, c_char_p, c_uint32, c_void_p]),
    "ps_message_list_free": (None, [c_void_p, c_size_t]),
}


def _load() -> CDLL:
    named = os.environ.get("PUBSUB_LIBRARY")
    beside = Path(__file__).with_name("libpubsub.so")
    if named:
        path = named
    elif beside.exists():
        path = str(beside)
    else:
        path = SONAME
    try:
        return CDLL(path)
    except OSError as error:
        raise ImportError(
            f"libpubsub cannot be loaded from {path!r} ({error}). It is looked for in the environment's "
            f"PUBSUB_LIBRARY, then at {beside}, then among the system's libraries as {SONAME}."
        ) from error


def _declare(library: CDLL) -> CDLL:
    for name, (answer, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise ImportError(f"{library._name} is no libpubsub that this package knows: it has no {name}") from error
        function.restype = answer
        function.argtypes = arguments
    return library


lib = _declare(_load())

# The calls that are made for each message, once more: without argtypes, ctypes passes bytes, None, and what `argument` and
# byref() made, as they are, in half the time. All else is for the caller to see to: a str or an int would go for an
# address, and a number is passed as an int (which libffi widens), so it must be no more than that holds.
# These let other threads run meanwhile, though they take less time than that: a thread that only publishes would keep those
# that receive from running for so long that a queue fills.
publish: Callable[..., int] = lib["ps_publish"]
publisher_publish: Callable[..., int] = lib["ps_publisher_publish"]
INT_MAX = (1 << 30) - 1  # rather less than an int's, since numbers of one digit are compared faster

# These do not wait, and keep Python's lock.
_locked = PyDLL(lib._name, handle=lib._handle)
fetch: Callable[..., int] = _locked["ps_fetch"]
free_batch: Any = _locked["ps_message_free_batch"]
free_batch.restype = None


def argument(address: int | None) -> Any:
    """An address as an argument of those calls."""
    return c_void_p.from_param(address)


def version() -> str:
    """The version of the library that is loaded."""
    text: bytes = lib.ps_version()
    return text.decode()


def milliseconds(seconds: float) -> int:
    """A timeout for the library, rounded up: a wait that ends early would be taken for one that timed out."""
    whole = int(seconds * 1000)
    return whole + (whole < seconds * 1000)


def integer(name: str, value: int, most: int) -> int:
    """An argument for the library, which would get other bits of what does not fit."""
    if not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {value}; it must be from 0 to {most}")
    return value


def encode_path(path: str | os.PathLike[str] | None) -> bytes | None:
    """A path as the library takes it."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"the path {path!r} holds a NUL")
    return encoded
