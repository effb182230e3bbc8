"""Making the environment's image: what it is made from, and what an engine is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import files
from reprorun.engine.context import write_context
from reprorun.engine.fake import FakeEngine
from reprorun.environment.fetch import fetch_whole, keep
from reprorun.environment.layers import BIG, environment_layers
from reprorun.errors import BuildFailed
from reprorun.model import Image, ImageSpec, Lock, Package, RemoteFile
from reprorun.plan import plan_environment
from reprorun.workflow.build import build_environment, layer_titles
from reprorun.workflow.report import Silent
from tests.packages import make_wheel

from .values import BASE


def package(name: str, size: int, *, told: bool = False) -> Package:
    """A package in the cache, of which the index told the size or not."""
    file, data = make_wheel(name, "1.0", files={"x.bin": os.urandom(size)})
    sha256, _ = keep(file, data)
    wheel = RemoteFile(name=file, sha256=sha256, size=len(data) if told else None)
    return Package(name=name, version="1.0", wheel=wheel)


def test_the_dockerfile_adds_every_layer_also_where_no_size_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[ImageSpec, int]] = []
    real = FakeEngine.make

    def make(self: FakeEngine, spec: ImageSpec, layers: Any, *rest: Any) -> Image:
        made.append((spec, len(layers)))
        return real(self, spec, layers, *rest)

    monkeypatch.setattr(FakeEngine, "make", make)
    lock = Lock(packages=(package("big", BIG), package("small", 10)))
    plan = plan_environment("1.2.3", BASE, "e" * 64, layer_titles(lock, BASE))
    assert len(plan.layers) == 1  # as far as the plan knew
    parent = Image(id=BASE.id, layers=("sha256:layer",))
    engine = FakeEngine(images={"base:1": parent})
    image = build_environment(plan, lock, (), engine, Silent(), offline=True)
    ((spec, count),) = made
    assert count == 2
    assert spec.dockerfile().count("ADD layer-") == count
    assert "# big 1.0\nADD layer-01.tar /\n" in spec.dockerfile()
    assert len(image.layers) == 1 + count
    assert spec.tag == plan.tag


def test_nothing_is_rendered_for_an_engine_that_takes_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def render(*given: object, **values: object) -> str:
        pytest.fail("a template was rendered")

    monkeypatch.setattr("reprorun.render._render", render)
    plan = plan_environment("1.2.3", BASE, "e" * 64, ())
    engine = FakeEngine(images={"base:1": Image(id=BASE.id, layers=("sha256:layer",))})
    build_environment(plan, Lock(), (), engine, Silent())
    assert engine.builds == [plan.tag]


@pytest.mark.parametrize("has_first", [False, True])
def test_layers_that_another_process_forgets_meanwhile(
    monkeypatch: pytest.MonkeyPatch, has_first: bool
) -> None:
    """As `exec --rebuild` does beside this one; the engine has none of the layers, or the first."""
    real = FakeEngine.make
    lock = Lock(packages=(package("big", BIG, told=True), package("small", 10, told=True)))

    def engine() -> FakeEngine:
        return FakeEngine(images={"base:1": Image(id=BASE.id, layers=("sha256:layer",))})

    def made(engine: FakeEngine, digest: str) -> tuple[str, ...]:
        plan = plan_environment("1", BASE, digest * 64, layer_titles(lock, BASE))
        return build_environment(plan, lock, (), engine, Silent(), offline=True).layers

    tries = []

    def make(self: FakeEngine, *given: Any) -> Image:
        tries.append(given)
        for layer in environment_layers(lock, BASE):
            layer.forget()
        return real(self, *given)

    first = engine()
    good = made(first, "a")
    here = first if has_first else engine()
    if has_first:
        (other,) = [tag for tag in first.images if tag != "base:1"]
        first.images[other] = replace(first.images[other], layers=good[:2])
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(FakeEngine, "make", make)
        assert made(here, "b") == good
    assert len(tries) == 1
    assert made(engine(), "c") == good


@pytest.mark.parametrize("has_first", [False, True])
def test_a_kept_layer_that_an_engine_refuses_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, has_first: bool
) -> None:
    lock = Lock(packages=(package("big", BIG, told=True), package("small", 10, told=True)))
    notes: list[str] = []
    report = Silent()
    monkeypatch.setattr(report, "note", notes.append)

    def made(engine: FakeEngine, digest: str) -> Image:
        plan = plan_environment("1", BASE, digest * 64, layer_titles(lock, BASE))
        return build_environment(plan, lock, (), engine, report, offline=True)

    def engine() -> FakeEngine:
        return FakeEngine(images={"base:1": Image(id=BASE.id, layers=("sha256:layer",))})

    first = engine()
    good = made(first, "a")
    here = first if has_first else engine()
    if has_first:
        (other,) = [tag for tag in first.images if tag != "base:1"]
        first.images[other] = replace(first.images[other], layers=good.layers[:2])
    _, last = environment_layers(lock, BASE)
    tar = Path(files.cache_directory("layers"), f"{last.note}.tar")
    whole = tar.read_bytes()
    tar.write_bytes(b"x" + whole[1:])
    assert made(here, "b").layers == good.layers
    assert [f"the layer of {last.title} in the cache" in note for note in notes] == [True]
    assert tar.read_bytes() == whole


@pytest.mark.parametrize("built", [False, True])
def test_kept_layers_that_are_all_damaged_are_made_anew_at_once(
    monkeypatch: pytest.MonkeyPatch, built: bool
) -> None:
    """As a power failure leaves them; where the engine builds, one is noticed on the way."""
    lock = Lock(packages=(package("big", BIG, told=True), package("small", 10, told=True)))
    plan = plan_environment("1", BASE, "a" * 64, layer_titles(lock, BASE))
    real, notes, tries = FakeEngine.make, list[str](), list[int]()

    def make(self: FakeEngine, spec: ImageSpec, layers: Any, *rest: Any) -> Image:
        tries.append(len(layers))
        if built:
            list(write_context("FROM x\n", layers))
        return real(self, spec, layers, *rest)

    def made() -> tuple[str, ...]:
        engine = FakeEngine(images={"base:1": Image(id=BASE.id, layers=("sha256:layer",))})
        return build_environment(plan, lock, (), engine, report, offline=True).layers

    report = Silent()
    monkeypatch.setattr(report, "note", notes.append)
    good = made()
    for tar in Path(files.cache_directory("layers")).glob("*.tar"):
        tar.write_bytes(tar.read_bytes()[:1000])
    monkeypatch.setattr(FakeEngine, "make", make)
    assert made() == good
    assert (len(notes), tries) == (1, [2, 2])


def test_what_an_engine_refuses_for_another_reason_is_told_as_it_says() -> None:
    lock = Lock(packages=(package("big", BIG, told=True),))
    plan = plan_environment("1", BASE, "a" * 64, layer_titles(lock, BASE))
    engine = FakeEngine(images={"base:1": Image(id=BASE.id, layers=("sha256:layer",))})
    build_environment(plan, lock, (), engine, Silent(), offline=True)  # its layers are kept now
    engine.remove_image(plan.tag)
    engine.refuse_build = "no space left"
    kept = sorted(os.listdir(files.cache_directory("layers")))
    with pytest.raises(BuildFailed, match="no space left"):
        build_environment(plan, lock, (), engine, Silent(), offline=True)
    assert sorted(os.listdir(files.cache_directory("layers"))) == kept


def test_what_was_damaged_in_the_cache_is_fetched_anew_and_told(tmp_path: Path) -> None:
    name, data = make_wheel("tool", "1.0")
    (tmp_path / name).write_bytes(data)
    sha256, path = keep(name, data)
    file = RemoteFile(name=name, sha256=sha256, url=(tmp_path / name).as_uri())
    Path(path).write_bytes(b"x" + data[1:])  # of the same size
    told: list[str] = []
    found = fetch_whole([file], offline=False, progress=print, note=told.append)
    assert Path(found[sha256]).read_bytes() == data
    assert [name in text and "is not what it was" in text for text in told] == [True]
