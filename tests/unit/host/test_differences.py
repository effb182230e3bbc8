"""In what a re-run differs: everything that the original says, nothing that it doesn't."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reprorun.differences import find_differences
from reprorun.model import (
    Changes,
    EngineUsed,
    GpuRequest,
    Hardware,
    InputFile,
    Limits,
    Package,
    Record,
    RemoteFile,
    SchemaMark,
    Source,
)

from .values import BASE, record

HOST = Hardware(node="a", system="Linux 6.1", machine="x86_64", cpu_model="x", cpu_count=4)
DATA = InputFile(path="/data", target="/data", size=1, sha256="a" * 64)
SIX = Package(name="six", version="1.0", wheel=RemoteFile(name="six.whl", sha256="a" * 64))

ORIGINAL = record(
    command=("python", "train.py", "--lr", "0.1"),
    params={"seed": 1},
    environment={"MODE": "fast"},
    inputs=(DATA,),
    packages=(SIX,),
    base_image=BASE,
    environment_digest="sha256:" + "e" * 64,
    engine=EngineUsed(name="docker", version="20.10", api_version="1.41"),
    host=HOST,
)

WHEEL = replace(SIX, wheel=RemoteFile(name="six.whl", sha256="b" * 64))
BUILT = replace(SIX, source=Source(kind="sdist", name="six.tar.gz"))
OTHER_BASE = replace(BASE, ref="python:3.12-slim", digest="sha256:" + "f" * 64, python="3.12.1")
WITH_APT = replace(BASE, installed=("bash=5", "hello=1"))


def found(now: Record, original: Record = ORIGINAL, **changes: Any) -> dict[str, tuple[str, str]]:
    differences = find_differences(original, now, Changes(**changes).wanted)
    return {each.what: (each.original, each.now) for each in differences}


def with_host(**fields: Any) -> Record:
    return replace(ORIGINAL, host=replace(HOST, **fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"argv": ("train.py", "a b"), "command": ("python", "train.py", "a b")},
            {"arguments": ("train.py --lr 0.1", "train.py 'a b'")},
        ),
        (
            {"command": ("python", "-m", "x")},
            {"command": ("python train.py --lr 0.1", "python -m x")},
        ),
        ({"params": {"seed": "1"}}, {"parameters: seed": ("1", '"1"')}),
        (
            {"params": {"lr": 2}},
            {"parameters: lr": ("-", "2"), "parameters: seed": ("1", "-")},
        ),
        ({"environment": {}}, {"variables: MODE": ("fast", "-")}),
        (
            {"inputs": (replace(DATA, sha256="b" * 64),)},
            {"inputs: /data": (f"sha256 {'a' * 12}", f"sha256 {'b' * 12}")},
        ),
        ({"inputs": (replace(DATA, path="/elsewhere/data"),)}, {}),
        ({"network": "host"}, {"network": ("none", "host")}),
        ({"limits": Limits(memory=5)}, {"limits: memory": ("-", "5")}),
        ({"limits": Limits(shm_size=5)}, {"limits: shared memory": (str(1 << 30), "5")}),
        ({"runtime": "gpu"}, {"runtime": ("CPU", "GPU")}),
        ({"gpus": GpuRequest(count=-1)}, {"gpus": ("-", "all by device request")}),
        (
            {"gpus": GpuRequest(devices=("0", "1"))},
            {"gpus": ("-", "number 0, 1 by device request")},
        ),
        (
            {"engine": EngineUsed(name="docker", version="28.5", api_version="1.51")},
            {"engine": ("docker 20.10", "docker 28.5")},
        ),
        (
            {"reprorun": SchemaMark(version="9")},
            {"reprorun": ("1.2.3", "9")},
        ),
    ],
)
def test_each_thing_is_named_once(
    fields: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    assert found(replace(ORIGINAL, **fields)) == expected


@pytest.mark.parametrize("package", [WHEEL, BUILT, replace(SIX, version="2.0")])
def test_other_packages(package: Package) -> None:
    now = replace(ORIGINAL, packages=(package,), environment_digest="sha256:" + "f" * 64)
    assert list(found(now)) == ["packages: six"]  # that is why the environment is another
    assert list(found(replace(now, packages=()))) == ["packages: six"]


def test_an_environment_that_is_another_for_no_reason_that_is_known() -> None:
    assert list(found(replace(ORIGINAL, environment_digest="sha256:x"))) == ["environment"]


def test_another_base_image() -> None:
    now = replace(ORIGINAL, base_image=OTHER_BASE, environment_digest="sha256:x")
    assert found(now) == {
        "base image": ("python:3.11-slim (dddddddddddd)", "python:3.12-slim (ffffffffffff)"),
        "python": ("3.11.2", "3.12.1"),
    }
    renamed = replace(BASE, ref="mirror.example.invalid/python:3.11-slim", id="sha256:other")
    assert found(replace(ORIGINAL, base_image=renamed)) == {}
    assert "base image" in found(replace(ORIGINAL, base_image=None))


def test_system_packages() -> None:
    before = replace(ORIGINAL, base_image=WITH_APT)
    after = replace(ORIGINAL, base_image=replace(WITH_APT, installed=("bash=5", "hello=2")))
    assert found(after, before) == {"system packages: hello": ("1", "2")}


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"node": "b"}, "name"),
        ({"system": "Linux 6.2"}, "system"),
        ({"cpu_model": "y"}, "processor"),
        ({"cpu_count": 8}, "processors"),
        ({"cpu_features": ("avx",)}, "instructions"),
        ({"memory": 1}, "memory"),
        ({"gpus": ("V100",)}, "gpus"),
        ({"gpu_driver": "535"}, "gpu driver"),
    ],
)
def test_another_host(fields: dict[str, Any], what: str) -> None:
    assert list(found(with_host(**fields))) == [f"host: {what}"]


def test_what_the_original_does_not_say_is_no_difference() -> None:
    garage = Record(
        reprorun=SchemaMark(version="garage"),
        id="garage-1",
        status="finished",
        created="2020-10-05",
        argv=ORIGINAL.argv,
        command=ORIGINAL.command,
    )
    now = replace(ORIGINAL, params={})
    assert found(now, garage) == {}
    assert list(found(ORIGINAL, garage)) == ["parameters: seed"]


@pytest.mark.parametrize(
    ("changes", "fields", "unasked"),
    [
        ({"params": {"seed": 2}}, {"params": {"seed": 2}}, set()),
        ({"params": {"seed": 2}}, {"params": {"seed": 2}, "network": "host"}, {"network"}),
        ({"network": "host"}, {"network": "host"}, set()),
        ({"base_image": "x"}, {"base_image": OTHER_BASE, "packages": (WHEEL,)}, set()),
        ({"allow_newer": True}, {"packages": (WHEEL,)}, set()),
        ({"allow_newer": True}, {"environment": {}}, {"variables: MODE"}),
        ({"args": ()}, {"argv": ("train.py",)}, set()),
        ({"function": "f"}, {"command": ("x",)}, set()),
        ({"limits": {"memory": 1}}, {"limits": Limits(memory=1)}, set()),
        ({"inputs": ("x",)}, {"inputs": ()}, set()),
        ({"params": {"x": 1}}, {"host": replace(HOST, node="b")}, {"host: name"}),
    ],
)
def test_what_was_asked_for(
    changes: dict[str, Any], fields: dict[str, Any], unasked: set[str]
) -> None:
    wanted = Changes(**changes).wanted
    differences = find_differences(ORIGINAL, replace(ORIGINAL, **fields), wanted)
    assert differences
    assert {each.what for each in differences if not each.wanted} == unasked


values = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4)


@given(before=values, after=values)
def test_parameters_differ_where_they_differ(before: dict[str, Any], after: dict[str, Any]) -> None:
    named = found(replace(ORIGINAL, params=after), replace(ORIGINAL, params=before))
    absent = object()
    differing = {n for n in {*before, *after} if before.get(n, absent) != after.get(n, absent)}
    assert set(named) == {f"parameters: {name}" for name in differing}
