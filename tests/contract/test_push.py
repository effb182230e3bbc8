"""Images on their way through a registry: what every engine does alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reprorun.errors import EngineError
from reprorun.model import ImageSpec

from ..engine.registry import registry
from ..kit import Kit

LABELS = {"reprorun": "test", "reprorun.digest": "sha256:d"}


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.engine)])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    with Kit.of(request.param) as kit:
        yield kit


@pytest.fixture
def repository(kit: Kit, tmp_path: Path) -> Iterator[str]:
    if kit.name == "fake":
        yield "registry.example.invalid/lab/runs"
        return
    with registry(tmp_path / "registry") as made:
        yield made.ref("lab/runs")


@pytest.fixture
def tag(kit: Kit) -> str:
    """An image of our own."""
    tag = kit.tag("push")
    parent = kit.engine.image(kit.base)
    assert parent is not None
    spec = ImageSpec(
        tag=tag, parent=parent.id, labels=LABELS, dockerfile=lambda: f"FROM {kit.base}\n"
    )
    kit.engine.make(spec, [], 0, lambda line: None)
    return tag


def test_what_was_pushed_is_pulled_by_its_digest(kit: Kit, repository: str, tag: str) -> None:
    before = kit.engine.image(tag)
    assert before is not None
    ref = kit.engine.push(tag, repository, lambda line: None)
    assert ref.startswith(f"{repository}@sha256:")
    left = kit.engine.image(tag)
    assert left is not None
    assert not [name for name in left.tags if repository in name]
    kit.engine.remove_image(tag)
    pulled = kit.engine.pull(ref, lambda line: None)
    assert (pulled.layers, pulled.labels) == (before.layers, before.labels)
    kit.engine.name_image(pulled.id, tag)
    again = kit.engine.image(tag)
    assert again is not None
    assert again.layers == before.layers
    kit.engine.remove_image(ref)


def test_a_name_goes_to_another_image(kit: Kit, tag: str) -> None:
    kit.engine.name_image(kit.base, tag)
    named, base = kit.engine.image(tag), kit.engine.image(kit.base)
    assert named is not None
    assert base is not None
    assert named.id == base.id


def test_what_is_not_there_is_not_pushed(kit: Kit, repository: str) -> None:
    with pytest.raises(EngineError, match="No such image"):
        kit.engine.push(kit.tag("nowhere"), repository, lambda line: None)


def test_a_registry_that_does_not_answer(kit: Kit, tag: str) -> None:
    if kit.name == "fake":
        return
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1/lab could not be pushed"):
        kit.engine.push(tag, "127.0.0.1:1/lab", lambda line: None)
    image = kit.engine.image(tag)
    assert image is not None
    assert [name for name in image.tags if "127.0.0.1:1/" in name] == []
