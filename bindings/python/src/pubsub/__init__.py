"""Publish and subscribe between the programs of one machine, without a server.

A drop-in for formix-pubsub on libpubsub::

    from pubsub import Channel, publish

    with Channel("news.=") as channel:
        publish("news.sports", b"3:1")
        print(channel.fetch().content)
"""

from . import abstractions as abstractions  # formix-pubsub's programs find it as pubsub.abstractions, unimported
from ._native import version as library_version
from .channel import Channel, ChannelStats
from .errors import (
    BusyError,
    ClosedError,
    CorruptError,
    ExistsError,
    InternalError,
    InvalidArgumentError,
    InvalidHeadersError,
    InvalidTopicError,
    NotFoundError,
    PubSubError,
    QueueFullError,
    ReopenError,
    StoreError,
    StoreFullError,
    StorePermissionError,
    TooLargeError,
    UnsupportedError,
    WaitInterruptedError,
)
from .managed import TopicStats, create_topic, delete_topic, topic_history, topics
from .message import Header, HeaderValueTypes, Message
from .publisher import Publisher, last_rejected
from .pubsub import fetch, publish, subscribe
from .rpc import request, request_async

__version__ = library_version()

__all__ = [
    "Message",
    "Channel",
    "publish",
    "fetch",
    "subscribe",
    "ChannelStats",
    "Publisher",
    "Header",
    "HeaderValueTypes",
    "last_rejected",
    "request",
    "request_async",
    "TopicStats",
    "create_topic",
    "delete_topic",
    "topic_history",
    "topics",
    "library_version",
    "PubSubError",
    "BusyError",
    "ClosedError",
    "CorruptError",
    "ExistsError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidHeadersError",
    "InvalidTopicError",
    "NotFoundError",
    "QueueFullError",
    "ReopenError",
    "StoreError",
    "StoreFullError",
    "StorePermissionError",
    "TooLargeError",
    "UnsupportedError",
    "WaitInterruptedError",
]
