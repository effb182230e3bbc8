"""What engines lack: the table, and the page that is made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.engine.abilities import TABLE, Trait, lacks, number, page
from reprorun.engine.docker_values import info_of
from reprorun.engine.places import Place

HERE = Place(address="unix:///x.sock", by="a test")
THERE = Place(address="ssh://lab/x.sock", by="a test")


def test_the_page_is_up_to_date() -> None:
    written = Path(__file__).parents[3] / "docs/engines.md"
    assert written.read_text() == page()


def test_every_row_says_what_then() -> None:
    for lack in TABLE:
        assert lack.what
        assert lack.instead
        assert "|" not in lack.what + lack.instead


def found(name: str, version: str, *traits: Trait) -> set[str]:
    return {lack.ability for lack in lacks(name, version, frozenset(traits))}


def test_what_engines_lack() -> None:
    assert found("docker", "20.10.24+dfsg1") == {"cdi"}
    assert found("docker", "28.5.2") == set()
    assert found("docker", "29.0.0", "containerd-images") == {"layers"}
    assert found("docker", "28.5.2", "remote") == {"files"}
    assert found("podman", "4.3.1") == {"buildkit", "gpu-requests", "mount-check"}
    assert "isolation" in found("local", "")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("20.10.24+dfsg1", (20, 10)), ("v29", (29, 0)), ("4.3.1", (4, 3)), ("dev", ()), ("", ())],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert number(text) == numbers


def test_what_an_engine_says_of_itself() -> None:
    told = {"ServerVersion": "28.5.2", "Architecture": "x86_64", "MemoryLimit": False}
    info = info_of(told, "1.51", THERE)
    assert (info.name, info.lacks) == ("docker", ("memory-limit", "files"))
    assert (info.remote, info.named_by, info.takes_layers) == (True, "a test", True)
    podman = {"ServerVersion": "4.3.1", "BuildahVersion": "1.28", "Architecture": "arm64"}
    info = info_of({**podman, "Rootless": True}, "1.41", HERE)
    assert (info.name, info.machine, info.rootless) == ("podman", "aarch64", True)
    assert info.takes_layers
    store = [["driver-type", "io.containerd.snapshotter.v1"]]
    info = info_of({"ServerVersion": "29.0", "DriverStatus": store}, "1.52", HERE)
    assert not info.takes_layers
