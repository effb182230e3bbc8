"""Indexes of packages, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reprorun.environment import download
from tests.index import Index, Served, make_wheel

from .indexed import use_only


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index, the only one that uv sees."""
    with Index() as made:
        use_only(made, tmp_path, monkeypatch)
        yield made


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The same with a login."""
    with Index(user="user", password="s3cret") as made:
        use_only(made, tmp_path, monkeypatch)
        monkeypatch.setenv("UV_DEFAULT_INDEX", made.url_with_login)
        yield made


@pytest.fixture
def six(index: Index) -> Served:
    return index.add(*make_wheel("six", "1.0"))


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads are tried again at once, with the certificates of the tests alone."""
    monkeypatch.setattr(download, "BACK_OFF", (0.01, 0.01, 0.01))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
