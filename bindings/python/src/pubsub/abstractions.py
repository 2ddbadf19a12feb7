"""Where the store is, and which processes live."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from ._native import lib

__all__ = ["get_base_dir", "is_process_running"]


@lru_cache(maxsize=None)
def get_base_dir() -> Path:
    """The store's directory: ``PUBSUB_HOME``, else ``/dev/shm/pubsub``, else ``pubsub`` in the temporary directory.

    Decided at first use, by this function or any other, and kept.
    """
    return Path(os.fsdecode(lib.ps_home()))


def is_process_running(pid: int) -> bool:
    """Whether a process with this id exists and may be signalled by this one."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True
