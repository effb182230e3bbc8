"""An image of the environment in the place of wheels that are not here."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reprorun.engine.fake import FakeEngine
from reprorun.environment.fetch import keep
from reprorun.model import DIGEST_LABEL, Image, Package, RemoteFile
from reprorun.workflow.again import _made, environment_of
from reprorun.workflow.restore_lock import recorded_lock
from tests.index import make_wheel

from .values import BASE, record

NAME, DATA = make_wheel("six", "1.0")
PACKAGE = Package(name="six", version="1.0", wheel=RemoteFile(name=NAME, sha256="a" * 64))
RECORD = record(base_image=BASE, packages=(PACKAGE,))


@pytest.fixture
def engine() -> FakeEngine:
    """Has the image."""
    made = FakeEngine()
    plan = environment_of(BASE, recorded_lock(RECORD), (), made).plan
    made.images[plan.tag] = Image(id="sha256:e", labels={DIGEST_LABEL: plan.digest})
    return made


def test_its_packages_are_the_records(engine: FakeEngine) -> None:
    found = _made(RECORD, BASE, engine)
    assert found is not None
    assert found.lock.packages == (PACKAGE,)


def test_without_the_image_they_are_looked_for() -> None:
    assert _made(RECORD, BASE, FakeEngine()) is None


def test_an_image_that_says_it_is_another_is_none(engine: FakeEngine) -> None:
    for tag, image in engine.images.items():
        engine.images[tag] = replace(image, labels={DIGEST_LABEL: "sha256:other"})
    assert _made(RECORD, BASE, engine) is None


def test_on_another_base_image_they_are_looked_for(engine: FakeEngine) -> None:
    assert _made(RECORD, replace(BASE, digest="sha256:" + "9" * 64), engine) is None


def test_where_all_wheels_are_here_no_engine_is_asked() -> None:
    sha256, _ = keep(NAME, DATA)
    package = replace(PACKAGE, wheel=RemoteFile(name=NAME, sha256=sha256))
    engine = FakeEngine()
    engine.image = lambda ref: pytest.fail("the engine was asked")  # type: ignore[method-assign]
    assert _made(replace(RECORD, packages=(package,)), BASE, engine) is None
