"""Taking one package out of what is wanted."""

from __future__ import annotations

import pytest

from reprorun.formats.without import without_package
from reprorun.model import Pinned, Wanted


@pytest.mark.parametrize(
    "line",
    [
        "garage",
        "garage==2020.6.3",
        "Garage >= 2020.6, < 2021",
        "garage[mujoco]==2021.3",
        "garage==2021.3 ; python_version < '3.9'",
        "garage @ git+https://example.invalid/garage@main",
        "git+https://example.invalid/garage#egg=garage",
        "garage==1 --hash=sha256:00",
        "https://example.invalid/garage-2020.6.3.tar.gz",
    ],
)
def test_it_is_gone(line: str) -> None:
    wanted = Wanted(lines=("numpy", line), constraints=(line, "six<2"))
    left = without_package(wanted, "garage")
    assert (left.lines, left.constraints, left.pinned) == (("numpy",), ("six<2",), None)


@pytest.mark.parametrize(
    "line", ["garage-extras", "garages==1", "numpy", "./garage", "-e ./x", "mega-garage", "?"]
)
def test_others_stay(line: str) -> None:
    wanted = Wanted(lines=(line,), options=("--index-url=https://example.invalid/",), exact=True)
    assert without_package(wanted, "garage") == wanted


def test_in_a_lock() -> None:
    pins = [Pinned(name=name, version="1") for name in ("garage", "numpy")]
    left = without_package(Wanted(pinned=tuple(pins)), "GARAGE")
    assert left.pinned == (pins[1],)
    assert without_package(Wanted(pinned=()), "garage").pinned == ()
