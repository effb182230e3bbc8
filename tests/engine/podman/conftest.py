"""Podman, started once; its tests are there where REPRORUN_TEST_ENGINES names it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ...engines import asked_for, started

collect_ignore = [] if "podman" in asked_for() else ["test_podman.py"]


@pytest.fixture(scope="session")
def podman() -> Iterator[str]:
    """Its address."""
    with started("podman") as address:
        yield address
