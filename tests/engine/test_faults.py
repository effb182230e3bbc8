"""Faults of every kind: none loses or falsifies a record. The short ones always, the rest if long.

`python -m tests.faults` injects them without pytest, as often as one likes, and has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..faults.base import MODULES, Fault, faults_of


def _all() -> Iterator[Any]:
    for module in MODULES:
        for fault in faults_of(module):
            marks = () if fault.short else pytest.mark.long
            yield pytest.param(fault, id=f"{module}: {fault.name}", marks=marks)


@pytest.mark.parametrize("fault", list(_all()))
def test_nothing_is_lost_or_false(fault: Fault, tmp_path: Path) -> None:
    assert fault.inject(tmp_path) == [], fault.what
