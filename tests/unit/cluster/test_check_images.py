"""Which images the submitting machine gives to nodes for checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.cluster.check_images import CheckImages
from reprorun.engine.fake import FakeEngine
from reprorun.environment.layers import environment_digest
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import BaseImage, Changes, Image, Lock, Package, RemoteFile
from reprorun.workflow.base import image_digest
from reprorun.workflow.restore import base_tag

from ..host.values import record

THERE = Image(id="sha256:base", layers=("sha256:layer",), env=("PATH=/bin",), machine="x86_64")
BASE = BaseImage(
    ref="python:3.11-slim", id=THERE.id, digest=image_digest(THERE), python="3.11.2", path="/bin"
)
PACKAGE = Package(
    name="six", version="1.0", wheel=RemoteFile(name="six-1.0-py3-none-any.whl", sha256="a" * 64)
)
LOCK = Lock(packages=(PACKAGE,))
ENVIRONMENT = f"reprorun/environment:{environment_digest(BASE, LOCK, ())[:24]}"
MADE = Image(id="sha256:environment", layers=("sha256:layer", "sha256:wheels"), machine="x86_64")
OTHER = Image(id="sha256:other", layers=("sha256:another",), machine="x86_64")


def engine_with(**images: Image) -> FakeEngine:
    names = {"base": "python:3.11-slim", "environment": ENVIRONMENT}
    return FakeEngine(images={names.get(name, name): image for name, image in images.items()})


@pytest.fixture
def engine() -> FakeEngine:
    return engine_with(base=THERE, environment=MADE)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return write(tmp_path / "run")


def write(place: Path, **fields: Any) -> Path:
    place.mkdir()
    usual = {"base_image": BASE, "packages": (PACKAGE,)}
    made = record(**{**usual, **fields})
    (place / store.RUN_FILE).write_bytes(msgspec.json.encode(made))
    return place


def tags(path: Path, engine: FakeEngine, **changes: Any) -> list[str]:
    with CheckImages(Changes(**changes), None, lambda: engine) as images:
        return [each.tag for each in images.of(str(path))]


def test_the_base_image_and_the_environments(kept: Path, engine: FakeEngine) -> None:
    assert tags(kept, engine) == [base_tag(BASE.digest), ENVIRONMENT]
    assert engine.images[base_tag(BASE.digest)] == THERE  # under which it is saved


def test_what_this_machine_has_not_the_node_finds_for_itself(kept: Path) -> None:
    assert tags(kept, engine_with(base=THERE)) == [base_tag(BASE.digest)]
    assert tags(kept, engine_with(environment=MADE)) == [ENVIRONMENT]
    assert tags(kept, engine_with()) == []


def test_another_image_of_that_name_is_not_it(kept: Path) -> None:
    engine = engine_with(base=OTHER)
    assert tags(kept, engine) == []
    assert list(engine.images) == ["python:3.11-slim"]


def test_it_is_found_by_its_id_under_whatever_name(kept: Path) -> None:
    assert tags(kept, engine_with(mine=THERE)) == [base_tag(BASE.digest)]


def test_one_with_system_packages_is_found_by_its_id_alone(tmp_path: Path) -> None:
    """Its digest is one of packages: only an engine that asks it can say."""
    base = replace(BASE, apt=("git",), digest="sha256:" + "d" * 64)
    place = write(tmp_path / "apt", base_image=base)
    assert tags(place, engine_with(mine=THERE)) == [base_tag(base.digest)]
    assert tags(place, engine_with(base=OTHER)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rebuild": True}, ["base"]),
        ({"lock": "other.lock"}, ["base"]),
        ({"as_of": "2024-01-01"}, ["base"]),
        ({"python": "3.12"}, []),
        ({"base_image": "theirs"}, ["theirs:latest"]),
        ({"base_image": "theirs:latest"}, ["theirs:latest"]),
        ({"base_image": "theirs@sha256:0"}, []),
        ({"base_image": "nowhere"}, []),
        ({"base_image": "python:{python}"}, []),
        ({"usual_base": "theirs"}, ["base", "environment"]),
    ],
)
def test_what_is_changed(kept: Path, changes: dict[str, Any], expected: list[str]) -> None:
    engine = engine_with(base=THERE, environment=MADE, **{"theirs:latest": OTHER})
    names = {"base": base_tag(BASE.digest), "environment": ENVIRONMENT}
    assert tags(kept, engine, **changes) == [names.get(name, name) for name in expected]


def test_a_record_that_names_no_base_image_has_the_usual_one(tmp_path: Path) -> None:
    engine = engine_with(base=THERE, **{"theirs:1": OTHER})
    of_garage = tmp_path / "garage"
    of_garage.mkdir()
    assert tags(of_garage, engine, usual_base="theirs:1") == ["theirs:1"]
    assert tags(of_garage, engine) == []


def test_a_pack_holds_its_own(tmp_path: Path, engine: FakeEngine) -> None:
    pack = tmp_path / "run.rrpack"
    pack.write_bytes(b"")
    assert tags(pack, engine, usual_base="python:3.11-slim") == []
    assert tags(pack, engine, base_image="python:3.11-slim") == ["python:3.11-slim"]


def test_what_the_user_names_is_theirs(kept: Path, engine: FakeEngine) -> None:
    with CheckImages(Changes(base_image="python:3.11-slim"), None, lambda: engine) as images:
        assert [each.named for each in images.of(str(kept))] == [True]
    with CheckImages(Changes(), None, lambda: engine) as images:
        assert [each.named for each in images.of(str(kept))] == [False, False]


@pytest.mark.parametrize(("platform", "machine"), [(None, "x86_64"), ("linux/arm64", "")])
def test_a_platform_that_was_asked_for(
    tmp_path: Path, engine: FakeEngine, platform: str | None, machine: str
) -> None:
    place = write(tmp_path / "foreign", platform=platform)
    with CheckImages(Changes(), None, lambda: engine) as images:
        assert [each.machine for each in images.of(str(place))] == [machine] * 2


def test_names_that_no_engine_takes(tmp_path: Path, engine: FakeEngine) -> None:
    """They come out of a record."""
    look = engine.image

    def image(ref: str) -> Image | None:
        if " " in ref:
            raise EngineError("invalid reference format")
        return look(ref)

    engine.image = image  # type: ignore[method-assign]
    base = replace(BASE, id="a b", ref="c d", digest="e f")
    assert tags(write(tmp_path / "odd", base_image=base), engine) == []


def test_each_is_looked_for_and_pushed_once(tmp_path: Path, engine: FakeEngine) -> None:
    pushed = []
    push = engine.push

    def counted(image: str, repository: str, progress: Any) -> str:
        pushed.append(image)
        return push(image, repository, progress)

    engine.push = counted  # type: ignore[method-assign]
    with CheckImages(Changes(), "registry.example.invalid/runs", lambda: engine) as images:
        found = {images.of(str(write(tmp_path / f"r{n}"))) for n in range(5)}
    assert len(found) == 1
    assert pushed == [base_tag(BASE.digest), ENVIRONMENT]
    for each in next(iter(found)):
        assert (each.pulled or "").startswith("registry.example.invalid/runs@sha256:")


def test_a_machine_without_an_engine_gives_nothing(kept: Path) -> None:
    def away() -> Any:
        raise EngineUnavailable("no engine")

    with CheckImages(Changes(), None, away) as images:
        assert images.of(str(kept)) == ()
    with pytest.raises(EngineUnavailable), CheckImages(Changes(), "h/n", away):
        pass
