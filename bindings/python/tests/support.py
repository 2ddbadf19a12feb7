"""What the tests share. They run in the store that the environment's PUBSUB_HOME names, and leave it empty."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not os.environ.get("PUBSUB_HOME"):
    raise SystemExit("these tests want PUBSUB_HOME to name a directory of their own; test.sh sets it")

HOME = Path(os.environ["PUBSUB_HOME"])
#: Long enough for the busiest machine: what is waited for comes at once, or the test fails.
PATIENCE = 120.0


def python(script: str, *arguments: str, check: bool = True, **named: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program in another interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        **named,
    )
    if check and done.returncode:
        raise AssertionError(f"it ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still prints. One that hangs is killed, and so fails."""
    try:
        return process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def eventually(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come")
        time.sleep(0.002)


class Thread(threading.Thread):
    """A thread whose result or error is handed over."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._work = (function, arguments)
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        function, arguments = self._work
        try:
            self.result = function(*arguments)
        except BaseException as error:
            self.error = error

    def finish(self) -> Any:
        self.join(PATIENCE)
        if self.is_alive():
            raise AssertionError("the thread hangs")
        if self.error is not None:
            raise self.error
        return self.result


def channel_directories() -> list[str]:
    if not HOME.exists():
        return []
    return [entry.name for entry in HOME.iterdir() if entry.name.count("_") >= 2]


class Case(unittest.TestCase):
    def tearDown(self) -> None:
        self.assertEqual(channel_directories(), [], "channels are left in the store")
