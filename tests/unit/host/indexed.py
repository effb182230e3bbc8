"""uv with the tests' index alone: nothing of the user's settings, caches and indexes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reprorun.environment.resolve import resolve
from reprorun.environment.uv_answer import Resolution
from reprorun.model import Wanted
from tests.index import Index

from .values import BASE

ALONE = {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}


def use_only(index: Index, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let uv see the index and nothing else."""
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    for name in ("uv", "config", "home"):
        (place / name).mkdir(exist_ok=True)
    given = {
        "UV_DEFAULT_INDEX": index.url,
        "UV_CACHE_DIR": str(place / "uv"),
        "XDG_CONFIG_HOME": str(place / "config"),
        "HOME": str(place / "home"),
        "UV_HTTP_RETRIES": "0",
        **ALONE,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def ask(*lines: str, root: Path | str = "/", base: Any = BASE, **fields: Any) -> Resolution:
    """What uv chooses for these lines."""
    built, offline = fields.pop("built", {}), fields.pop("offline", False)
    as_of, foreign = fields.pop("as_of", None), fields.pop("foreign", False)
    wanted = Wanted(lines=lines, **fields)
    return resolve(wanted, str(root), base, built, as_of=as_of, offline=offline, foreign=foreign)
