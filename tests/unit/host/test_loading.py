"""How layers are put into parts that are sent while the engine stores the one before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reprorun.engine.loading import PART, _parts


class Sized:
    """A layer of some size."""

    title = "some layer"
    diff_id = None
    is_kept = False

    def __init__(self, size: int) -> None:
        self.size = size

    def pieces(self) -> Iterator[bytes]:
        """Nothing of it is read here."""
        raise AssertionError

    def made(self, diff_id: str) -> None:
        """Nor is it made."""
        raise AssertionError


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([], [[]]),
        ([1], [[1]]),
        ([PART, 1], [[PART, 1]]),
        ([1, PART], [[1, PART]]),
        ([PART, PART], [[PART], [PART]]),
        ([2 * PART, PART - 1, 1, 1], [[2 * PART], [PART - 1, 1, 1]]),
        ([2 * PART, PART - 2, 1], [[2 * PART, PART - 2, 1]]),
        ([PART, PART, PART - 1], [[PART], [PART, PART - 1]]),
        ([PART // 2] * 5, [[PART // 2] * 2, [PART // 2] * 3]),
    ],
)
def test_each_part_is_worth_it_the_last_one_too(sizes: list[int], wanted: list[list[int]]) -> None:
    found = _parts([Sized(size) for size in sizes])
    assert [[layer.size for layer in part] for part in found] == wanted
