"""Which file says what packages an experiment needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.model import Requirements
from reprorun.probe.requirements import find_requirements

from . import values

PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["numpy"]\n'
TOOLS = "[tool.ruff]\nline-length = 100\n"


def find(root: Path, launcher: str, files: dict[str, str]) -> Requirements:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return find_requirements(values.code(root, launcher=launcher))


@pytest.mark.parametrize(
    ("launcher", "files", "source"),
    [
        ("train.py", {}, None),
        ("train.py", {"requirements.txt": ""}, "requirements.txt"),
        ("a/b/train.py", {"requirements.txt": ""}, "requirements.txt"),
        ("a/train.py", {"b/requirements.txt": ""}, None),
        ("a/train.py", {"a/requirements.txt": "", "requirements.txt": ""}, "a/requirements.txt"),
        ("a/train.py", {"a/pyproject.toml": PROJECT, "requirements.txt": ""}, "a/pyproject.toml"),
        ("train.py", {"pyproject.toml": PROJECT, "requirements.txt": ""}, "requirements.txt"),
        ("train.py", {"pyproject.toml": PROJECT}, "pyproject.toml"),
        ("train.py", {"pyproject.toml": TOOLS}, None),
        ("a/train.py", {"a/pyproject.toml": TOOLS, "pyproject.toml": PROJECT}, "pyproject.toml"),
        ("a/train.py", {"a/pyproject.toml": "", "requirements.txt": ""}, "requirements.txt"),
    ],
)
def test_the_nearest_wins(
    launcher: str, files: dict[str, str], source: str | None, tmp_path: Path
) -> None:
    assert find(tmp_path, launcher, files).source == source


def test_nothing_above_the_root_counts(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    assert find(tmp_path / "project", "train.py", {"x": ""}) == Requirements()


def test_a_directory_of_that_name_is_none(tmp_path: Path) -> None:
    assert find(tmp_path, "train.py", {"requirements.txt/x": ""}) == Requirements()


@pytest.mark.parametrize(
    ("launcher", "files", "paths"),
    [
        ("train.py", {"pyproject.toml": PROJECT}, (".",)),
        ("train.py", {"pyproject.toml": PROJECT, "src/x/__init__.py": ""}, ("src", ".")),
        ("a/b/t.py", {"a/pyproject.toml": PROJECT}, ("a",)),
        ("a/b/t.py", {"a/pyproject.toml": PROJECT, "a/src/x.py": "", "src/y": ""}, ("a/src", "a")),
        ("a/b/t.py", {"a/requirements.txt": "", "a/src/x.py": ""}, ()),
    ],
)
def test_the_projects_own_modules_can_be_imported(
    launcher: str, files: dict[str, str], paths: tuple[str, ...], tmp_path: Path
) -> None:
    assert find(tmp_path, launcher, files).paths == paths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[project]\nname = "x"\ndynamic = ["version", "dependencies"]\n', "are dynamic"),
        ("[project\n", "can't be read"),
        ("project = 1\n", "is not what a pyproject.toml holds"),
        ("[project]\ndynamic = 3\n", "is not what a pyproject.toml holds"),
    ],
)
def test_projects_that_say_nothing_usable(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        find(tmp_path, "a/train.py", {"a/pyproject.toml": text})
    assert "a/pyproject.toml" in str(caught.value)


def test_another_dynamic_field_is_fine(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\ndynamic = ["version"]\ndependencies = []\n'
    assert find(tmp_path, "train.py", {"pyproject.toml": text}).source == "pyproject.toml"
