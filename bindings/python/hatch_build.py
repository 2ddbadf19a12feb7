"""Puts the library into the wheel and says in the wheel's name which systems it runs on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOT = Path(__file__).resolve().parents[2]


class LibraryHook(BuildHookInterface[Any]):
    """Takes libpubsub.so from the environment's PUBSUB_LIBRARY, else from cargo's release directory."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        target = Path(os.environ.get("CARGO_TARGET_DIR", _ROOT / "target"))
        library = Path(os.environ.get("PUBSUB_LIBRARY", target / "release" / "libpubsub.so")).resolve()
        if not library.is_file():
            raise FileNotFoundError(
                f"there is no {library}; build it with 'cargo build --release --lib', or name another in PUBSUB_LIBRARY"
            )
        work = Path(self.directory) / "library"
        work.mkdir(parents=True, exist_ok=True)
        packed = work / "libpubsub.so"
        shutil.copyfile(library, packed)
        if strip := shutil.which("strip"):
            # Debug information is nine tenths of it.
            subprocess.run([strip, "--strip-unneeded", packed], check=True)
        build_data["force_include"][str(packed)] = "pubsub/libpubsub.so"
        build_data["pure_python"] = False
        # The newest symbol version that it needs is the oldest glibc that has it all.
        needed = max(int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", packed.read_bytes()))
        build_data["tag"] = f"py3-none-manylinux_2_{max(needed, 17)}_{platform.machine()}"
