"""What the tests of fetching share."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files
from reprorun.environment.fetch import fetch
from reprorun.errors import LockFailed
from reprorun.model import RemoteFile

MEGABYTE = 1 << 20
OTHER = "0" * 64


def got(*wanted: RemoteFile, offline: bool = False, **also: Any) -> list[str]:
    """The paths, in the order of what was wanted."""
    found = fetch(wanted, offline=offline, progress=lambda text: None, **also)
    return [found[file.sha256] for file in wanted]


def refusal(*wanted: RemoteFile, **also: Any) -> str:
    with pytest.raises(LockFailed) as caught:
        got(*wanted, **also)
    return str(caught.value)


def changed(file: RemoteFile, **fields: Any) -> RemoteFile:
    return msgspec.structs.replace(file, **fields)


def place(file: RemoteFile) -> Path:
    return Path(files.cache_directory("wheels"), file.sha256[:2], file.sha256)


def leftovers(file: RemoteFile) -> list[str]:
    """What is in a file's directory beside the file and its lock."""
    if not place(file).exists():
        return []
    return sorted(set(os.listdir(place(file))) - {file.name, ".lock"})


def big(size: int) -> bytes:
    """Bytes that differ from piece to piece."""
    block = hashlib.sha256(b"big").digest() * 2048
    return b"".join(block[i % 97 :] + block[: i % 97] for i in range(size // len(block)))


FETCH = """
import sys
from reprorun.environment.fetch import fetch
from reprorun.model import RemoteFile
name, sha256, url, size = sys.argv[1:]
file = RemoteFile(name=name, sha256=sha256, url=url, size=int(size))
print(fetch([file], offline=False, progress=lambda text: None)[sha256])
"""


def process(file: RemoteFile, code: str = FETCH) -> subprocess.Popen[str]:
    """Another run that fetches a file."""
    given = [file.name, file.sha256, file.url or "", str(file.size)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
