"""The engines that the contract is tried on, each started once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ..engines import STARTED, started

AddressOf = Callable[[str], "str | None"]


@pytest.fixture(scope="session")
def address_of() -> Iterator[AddressOf]:
    """The address of an engine, which is started if need be; None for the one of DOCKER_HOST."""
    with ExitStack() as stack:
        known: dict[str, str] = {}
        tried: set[str] = set()

        def find(name: str) -> str | None:
            if name in STARTED and name not in known:
                if name in tried:
                    pytest.fail(f"{name} did not come up; the first test that wanted it says why")
                tried.add(name)
                known[name] = stack.enter_context(started(name))
            return known.get(name)

        yield find
