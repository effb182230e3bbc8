"""The base image: asked once for its Python, remembered, and not trusted to answer sensibly."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files, held
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.errors import EngineError, EngineUnavailable, ImageMissing, UsageError
from reprorun.model import BaseImage, Requirements, RunSpec
from reprorun.workflow.base import base_reference, find_base, recall_base
from reprorun.workflow.report import Silent

from ...kit import FAKE_BASE
from .values import ANSWER


def spec(**fields: Any) -> RunSpec:
    return RunSpec(script="x.py", cwd="/", base_image=fields.pop("base_image", "base:1"), **fields)


def engine(said: Any = ANSWER, code: int = 0) -> FakeEngine:
    def answer(process: FakeProcess) -> int:
        process.say(said if isinstance(said, str) else json.dumps(said))
        return code

    return FakeEngine(images={"base:1": FAKE_BASE}, programs={"/bin/sh": answer})


def find(engine: FakeEngine, **fields: Any) -> BaseImage:
    return find_base(spec(**fields), Requirements(), engine, Silent())


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"base_image": "a:1"}, "a:1"),
        ({"base_image": None, "python": "3.12"}, "python:3.12-slim"),
        ({"base_image": None}, f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"),
    ],
)
def test_references(fields: dict[str, Any], wanted: str) -> None:
    assert base_reference(spec(**fields), Requirements()) == wanted


def test_it_is_asked_once() -> None:
    fake = engine()
    assert recall_base(spec(), Requirements(), fake) is None
    found = find(fake)
    assert (found.python, found.python_minor, found.libc) == ("3.11.2", "3.11", "glibc 2.36")
    assert found.digest.startswith("sha256:")
    assert find(fake) == found == recall_base(spec(), Requirements(), fake)
    assert len(fake.specs) == 1
    assert fake.containers == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"python": "3.11.2"}', "null"])
def test_an_answer_that_was_kept_badly_is_asked_for_again(text: str) -> None:
    fake = engine()
    find(fake)
    (name,) = os.listdir(files.cache_directory("bases"))
    Path(files.cache_directory("bases"), name).write_text(text)
    assert find(fake).python == "3.11.2"
    assert len(fake.specs) == 2


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("sh: 1: exec: : not found\n", 127, r"has no usable Python \(sh: 1: exec"),
        ("", 126, r"has no usable Python \(exit code 126\)"),
        ("hello\n", 0, "answers oddly"),
        ('{"python": 3}', 0, "answers oddly"),
        ('{"python": "3.11.2"}', 0, "does not say its 'executable'"),
        ({**ANSWER, "python": "3.7.1"}, 0, "has Python 3.7.1; reprorun needs 3.8 or later"),
        ({**ANSWER, "python": "2.7.18"}, 0, "has Python 2.7.18"),
    ],
)
def test_a_python_that_will_not_do(said: Any, code: int, message: str) -> None:
    fake = engine(said, code)
    with pytest.raises(UsageError, match=message):
        find(fake)
    assert fake.containers == {}


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ("arm64", "is for aarch64 processors, but the engine runs on x86_64"),
        ("amd64", "has no usable Python"),
    ],
)
def test_an_image_for_another_processor(machine: str, message: str) -> None:
    fake = engine("exec /bin/sh: exec format error", 1)
    fake.images["base:1"] = msgspec.structs.replace(FAKE_BASE, machine=machine)
    with pytest.raises(UsageError, match=message):
        find(fake)


def test_what_was_asked_for_must_be_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(engine(), python="3.11").python == "3.11.2"
    with pytest.raises(UsageError, match=r"--python 3\.1 was asked for"):
        find(engine(), python="3.1")
    monkeypatch.setattr("reprorun.workflow.python.host_python", lambda: "3.12")
    with pytest.raises(UsageError, match=r"was pickled by Python 3\.12"):
        find(engine(), same_python=True)


@pytest.mark.parametrize(
    ("what", "error", "left"),
    [
        ("create", EngineError("no GPU runtime"), False),
        ("start", EngineError("no GPU runtime"), False),
        ("create", EngineUnavailable("it is gone"), True),
    ],
)
def test_an_engine_that_refuses_the_container_has_none(
    what: str, error: EngineError, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(container: object) -> str:
        raise error

    fake = engine()
    monkeypatch.setattr(fake, what, fail)
    with pytest.raises(type(error)):
        find(fake)
    assert held.is_any_left() == left


def test_offline_nothing_is_pulled() -> None:
    fake = FakeEngine(pullable={"base:1": FAKE_BASE})
    with pytest.raises(ImageMissing, match="--offline"):
        find(fake, offline=True)
    assert fake.images == {}
