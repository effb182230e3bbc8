"""Which Python a run gets: the user's word, the files', then that of whoever launches it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun.errors import UsageError
from reprorun.model import BaseImage, Requirements, RunSpec
from reprorun.probe.requirements import find_requirements
from reprorun.workflow import python as module
from reprorun.workflow.python import (
    OFFERED,
    check_python,
    host_python,
    python_source,
    wanted_python,
)

from .values import BASE, code

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def spec(**fields: Any) -> RunSpec:
    return RunSpec(script="train.py", cwd="/", **fields)


def needs(**fields: Any) -> Requirements:
    return Requirements(**{"python_source": "pyproject.toml", **fields})


def base(version: str) -> BaseImage:
    return msgspec.structs.replace(BASE, ref="the:image", python=version)


@pytest.fixture(autouse=True)
def _launched_by_python_311(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_python() == HERE
    monkeypatch.setattr(module, "host_python", lambda: "3.11")


# ---------------------------------------------------------------- what is wanted


@pytest.mark.parametrize(
    ("asked", "found", "wanted"),
    [
        ({}, {}, "3.11"),
        ({"python": "3.9"}, {"python": "3.10"}, "3.9"),
        ({"same_python": True}, {"python": "3.10"}, "3.11"),
        ({}, {"python": "3.10"}, "3.10"),
        ({}, {"python": "3.10", "requires_python": ">=3.8"}, "3.10"),
        ({}, {"requires_python": ">=3.9"}, "3.11"),
        ({}, {"requires_python": ">=3.11,<3.12"}, "3.11"),
        ({}, {"requires_python": "<3.11"}, "3.10"),
        ({}, {"requires_python": ">=3.12"}, OFFERED[0]),
        ({}, {"requires_python": "~=3.9.0"}, "3.9"),
        ({}, {"requires_python": "==3.8.*"}, "3.8"),
        ({}, {"requires_python": "!=3.11.*,<3.13"}, "3.12"),
        ({}, {"requires_python": "!=3.11.0"}, "3.11"),
        ({}, {"requires_python": ">=3.11.4"}, "3.11"),
    ],
)
def test_what_is_wanted(asked: dict[str, Any], found: dict[str, Any], wanted: str) -> None:
    assert wanted_python(spec(**asked), needs(**found)) == wanted


def test_no_python_will_do() -> None:
    with pytest.raises(UsageError) as caught:
        wanted_python(spec(), needs(requires_python="<3.6"))
    for word in ("pyproject.toml wants Python <3.6", "3.8 to 3.14", "--base-image"):
        assert word in str(caught.value)


def test_versions_that_are_none() -> None:
    with pytest.raises(UsageError, match="can't be read"):
        wanted_python(spec(), needs(requires_python="three"))


@pytest.mark.parametrize(
    ("asked", "found", "wanted"),
    [
        ({}, {"python": "3.10"}, "pyproject.toml"),
        ({}, {"python": "3.11"}, "pyproject.toml"),
        ({}, {"requires_python": "<3.11"}, "pyproject.toml"),
        ({}, {"requires_python": ">=3.9"}, None),
        ({}, {"python_source": None}, None),
        ({"python": "3.10"}, {"python": "3.10"}, None),
        ({"base_image": "x"}, {"python": "3.10"}, None),
        ({"dockerfile": "x"}, {"python": "3.10"}, None),
    ],
)
def test_the_file_that_decided(
    asked: dict[str, Any], found: dict[str, Any], wanted: str | None
) -> None:
    assert python_source(spec(**asked), needs(**found)) == wanted


# ---------------------------------------------------------------- what the image has


@pytest.mark.parametrize(
    ("asked", "found", "has"),
    [
        ({}, {}, "3.8.0"),
        ({"python": "3.9"}, {}, "3.9.18"),
        ({"python": "3.9"}, {"python": "3.10"}, "3.9.18"),
        ({"same_python": True}, {}, "3.11.9"),
        ({}, {"python": "3.10"}, "3.10.1"),
        ({}, {"requires_python": ">=3.9,<3.13"}, "3.12.7"),
        ({}, {"requires_python": ">=3.13"}, "3.13.0rc1"),
    ],
)
def test_a_python_that_will_do(asked: dict[str, Any], found: dict[str, Any], has: str) -> None:
    if has == "3.13.0rc1":
        has = "3.13.1rc1"  # a release candidate is before its release
    assert check_python(base(has), spec(**asked), needs(**found)) is None


def test_another_than_a_file_names_is_noted() -> None:
    note = check_python(base("3.12.1"), spec(base_image="the:image"), needs(python="3.10"))
    assert note == (
        "pyproject.toml names Python 3.10; the base image the:image, which you named, has 3.12.1"
    )


@pytest.mark.parametrize(
    ("asked", "found", "has", "message"),
    [
        ({}, {}, "3.7.17", "has Python 3.7.17; reprorun needs 3.8 or later"),
        ({}, {}, "2.7.18", "has Python 2.7.18"),
        ({"python": "3.9"}, {}, "3.11.2", "--python 3.9 was asked for, but"),
        ({"python": "3.1"}, {}, "3.11.2", "--python 3.1 was asked for"),
        ({"same_python": True}, {}, "3.12.1", "was pickled by Python 3.11"),
        ({}, {"requires_python": ">=3.12"}, "3.11.2", "pyproject.toml wants Python >=3.12, but"),
        ({"python": "3.11"}, {"requires_python": ">=3.12"}, "3.11.2", "wants Python >=3.12"),
        ({}, {"requires_python": ">=3.11.4"}, "3.11.2", "the base image the:image has 3.11.2"),
    ],
)
def test_a_python_that_will_not_do(
    asked: dict[str, Any], found: dict[str, Any], has: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_python(base(has), spec(**asked), needs(**found))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# ---------------------------------------------------------------- from files to an error


ASKS = "[project]\nname = 'x'\nversion = '1'\nrequires-python = '{}'\n"


def found_in(root: Path, **files: str) -> Requirements:
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "train.py").write_text("")
    return find_requirements(code(root, files=("train.py", *files)))


def test_the_file_that_is_wrong_is_the_one_that_is_named(tmp_path: Path) -> None:
    project = "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.12'\n"
    files = {".python-version": "3.11\n", "pyproject.toml": project}
    requirements = found_in(tmp_path, **files)
    assert wanted_python(spec(), requirements) == "3.11"
    with pytest.raises(UsageError, match=r"^pyproject\.toml wants Python >=3\.12"):
        check_python(base("3.11.2"), spec(), requirements)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({".python-version": "3.9.1\n"}, "3.9"),
        ({"runtime.txt": "python-3.10.4\n"}, "3.10"),
        ({"setup.cfg": "[metadata]\nname=x\n[options]\npython_requires = <3.10\n"}, "3.9"),
        ({"train.txt": ""}, "3.11"),
        ({"pyproject.toml": ASKS.format("~=3.10.4")}, "3.10"),
        ({"pyproject.toml": ASKS.format("==3.9.18")}, "3.9"),
        ({"pyproject.toml": ASKS.format(">=3.8.1,<3.9")}, "3.8"),
        ({"environment.yml": "dependencies: ['python<3.10']"}, "3.9"),
    ],
)
def test_from_files(files: dict[str, str], wanted: str, tmp_path: Path) -> None:
    assert wanted_python(spec(), found_in(tmp_path, **files)) == wanted


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"pyproject.toml": ASKS.format("==3.7.*")}, "pyproject.toml wants Python ==3.7.*; there"),
        (
            {"environment.yml": "dependencies: [python=2.7]"},
            "environment.yml wants Python ==2.7.*; there",
        ),
    ],
)
def test_no_image_has_what_a_file_wants(files: dict[str, str], wanted: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        wanted_python(spec(), found_in(tmp_path, **files))
    assert str(caught.value).startswith(wanted)


def test_the_patch_number_counts(tmp_path: Path) -> None:
    requirements = found_in(tmp_path, **{"pyproject.toml": ASKS.format("==3.10.12")})
    assert check_python(base("3.10.12"), spec(), requirements) is None
    with pytest.raises(UsageError, match=r"wants Python ==3\.10\.12, but .* has 3\.10\.14"):
        check_python(base("3.10.14"), spec(), requirements)
