"""What a channel is opened with, checked."""

from __future__ import annotations

import re

from .errors import InvalidTopicError

_INVALID = re.compile(r"[^a-zA-Z0-9+=.-]")


def check_topic(topic: str) -> None:
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    if not topic:
        raise InvalidTopicError("a topic cannot be empty")
    wrong = sorted(set(_INVALID.findall(topic)))
    if wrong:
        raise InvalidTopicError(f"the topic {topic!r} holds invalid characters: {wrong}; it can hold [a-zA-Z0-9+=.-]")


def choice(name: str, value: str | None, values: dict[str, int] | dict[str | None, int]) -> int:
    try:
        return values[value]  # type: ignore[index]
    except (KeyError, TypeError):
        raise ValueError(f"{name} is {value!r}; it can be one of {list(values)}") from None


def capacity(name: str, value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{name} is {value}; it must be 0 (the default) or more, and below 2**63")
    return value
