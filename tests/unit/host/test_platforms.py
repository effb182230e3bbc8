"""Platforms: the base image is of the one that is asked for, or nothing is built."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from reprorun import settings
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.environment.uv import for_image
from reprorun.errors import EngineError, ImageMissing, ReprorunError, UsageError
from reprorun.model import BaseImage, EngineInfo, Image, Requirements, RunSpec
from reprorun.workflow.base import find_base
from reprorun.workflow.gather import gather_environment
from reprorun.workflow.platforms import check_platform
from reprorun.workflow.report import Silent
from reprorun.workflow.sources import gather_sources

from ...kit import FAKE_BASE
from .values import ANSWER

ARM = msgspec.structs.replace(FAKE_BASE, id="sha256:arm", machine="arm64")
ON_ARM = {**ANSWER, "machine": "aarch64", "libc": "glibc 2.36"}


class Machine(FakeEngine):
    """An engine on x86_64, which emulates arm64 or not."""

    def __init__(self, images: dict[str, Image], *, emulates: bool = True, **fields: Any) -> None:
        self.asked = 0

        def answer(process: FakeProcess) -> int:
            self.asked += 1
            foreign = process.spec.image == ARM.id
            if foreign and not emulates:
                process.say("exec /bin/sh: exec format error")
                return 1
            process.say(json.dumps(ON_ARM if foreign else ANSWER))
            return 0

        super().__init__(images=images, programs={"/bin/sh": answer}, **fields)

    def info(self) -> EngineInfo:
        return msgspec.structs.replace(super().info(), machine="x86_64")


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def find(engine: FakeEngine, report: Told | None = None, **fields: Any) -> BaseImage:
    spec = RunSpec(script="x.py", cwd="/", base_image="base:1", **fields)
    return find_base(spec, Requirements(), engine, report or Told())


def refusal(engine: FakeEngine, kind: type[ReprorunError], **fields: Any) -> str:
    with pytest.raises(kind) as caught:
        find(engine, **fields)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    return message


def test_an_image_of_that_platform_is_emulated_and_that_is_said() -> None:
    told = Told()
    base = find(Machine({"base:1": ARM}), told, platform="linux/arm64")
    assert base.machine == "aarch64"
    assert ["emulates" in note for note in told.notes] == [True]
    assert "aarch64-manylinux_2_36" in for_image(base)  # what the wheels are resolved for


def test_it_is_pulled_where_the_engine_has_another() -> None:
    engine = Machine({"base:1": FAKE_BASE}, pullable={"base:1 for linux/arm64": ARM})
    assert find(engine, platform="linux/arm64").id == ARM.id
    told = Told()
    engine = Machine({"base:1": FAKE_BASE}, pullable={"base:1 for linux/arm64": ARM})
    assert find(engine, told).id == FAKE_BASE.id  # without being asked for, nothing changes
    assert told.notes == []


def test_another_that_can_not_be_pulled_is_an_error_that_names_both() -> None:
    engine = Machine({"base:1": FAKE_BASE})
    message = refusal(engine, ImageMissing, platform="linux/arm64")
    assert "is there for linux/amd64, but linux/arm64 is asked for" in message
    offline = refusal(engine, ImageMissing, platform="linux/arm64", offline=True)
    assert "linux/amd64" in offline
    assert "--offline" in offline
    assert engine.asked == 0


def test_a_registry_that_hands_out_another() -> None:
    engine = Machine({}, pullable={"base:1": FAKE_BASE})
    message = refusal(engine, UsageError, platform="linux/arm64")
    assert "linux/amd64" in message
    assert "linux/arm64" in message


def test_an_image_that_says_one_platform_and_holds_another() -> None:
    liar = msgspec.structs.replace(FAKE_BASE, id="sha256:liar", machine="arm64")
    message = refusal(Machine({"base:1": liar}), UsageError, platform="linux/arm64")
    assert "is for linux/amd64, but linux/arm64 is asked for" in message


def test_no_emulator_is_an_error_that_says_how_to_register_one() -> None:
    engine = Machine({"base:1": ARM}, emulates=False)
    for fields in ({"platform": "linux/arm64"}, {}):
        message = refusal(engine, UsageError, **fields)
        assert "aarch64" in message
        assert "x86_64" in message
        assert "binfmt --install arm64" in message


def test_an_emulator_that_has_gone_is_noticed() -> None:
    find(Machine({"base:1": ARM}), platform="linux/arm64")
    assert "emulation" in refusal(Machine({"base:1": ARM}, emulates=False), UsageError)


def test_an_engine_that_starts_nothing_of_another_machine() -> None:
    class Refusing(Machine):
        def start(self, container: str) -> None:
            raise EngineError("the engine refused: exec format error")

    assert "emulation" in refusal(Refusing({"base:1": ARM}), UsageError)
    with pytest.raises(EngineError, match="exec format error"):
        find(Refusing({"base:1": msgspec.structs.replace(FAKE_BASE, id="sha256:new")}))


def test_a_rerun_on_another_platform_than_the_records() -> None:
    base = BaseImage(ref="base:1", id="x", digest="y", machine="aarch64")
    spec = RunSpec(script="x", cwd="/", platform="linux/amd64")
    here = EngineInfo(name="docker", version="1", api_version="1", machine="x86_64")
    with pytest.raises(UsageError, match="is for linux/arm64, but linux/amd64"):
        check_platform(base, spec, here, Told())


def test_a_dockerfile_is_not_built_for_another_platform(repository: Any) -> None:
    root = repository({"train.py": "", "Dockerfile": "FROM base:1\n"})
    engine = Machine({"base:1": FAKE_BASE})
    spec = RunSpec(script="train.py", cwd=str(root), dockerfile="Dockerfile")

    def build(platform: str) -> None:
        wanted = msgspec.structs.replace(spec, platform=platform)
        gather_environment(wanted, gather_sources(wanted), engine, Told())

    with pytest.raises(UsageError, match="linux/amd64, but linux/arm64 is asked for") as caught:
        build("linux/arm64")
    assert "buildx build --platform linux/arm64" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    assert engine.builds == []
    build("linux/amd64")
    assert len(engine.builds) == 1


@pytest.mark.parametrize("text", ["linux", "linux/riscv64", "windows/amd64", "linux/arm/v7", ""])
def test_platforms_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="neither linux/amd64 nor linux/arm64"):
        settings.of_flags({"platform": text})
