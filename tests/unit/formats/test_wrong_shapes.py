"""Whatever shape a value has, a file is read or refused in words: no other exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.read import read
from reprorun.formats.target import Target
from reprorun.model import Requirements
from reprorun.probe.requirements import find_requirements
from reprorun.toml import read_toml
from tests.unit.host import values

from . import trees
from .test_other_locks import POETRY, PROJECT, STANDARD
from .trees import COMMIT, SHA

DYNAMIC = """
[project]
name = "x"
dynamic = ["dependencies", "optional-dependencies"]
requires-python = ">=3.8"
[tool.setuptools]
package-dir = {"" = "src"}
packages.find.where = ["src"]
[tool.setuptools.dynamic]
dependencies = {file = ["needs.txt"]}
optional-dependencies.x = {file = ["needs.txt"]}
"""
SOURCES = """
[project]
name = "x"
dependencies = ["a", "b", "c", "d"]
optional-dependencies.x = ["six"]
[tool.uv.sources]
a = {path = "a"}
b = {git = "https://example.invalid/b", rev = "1", subdirectory = "x"}
c = {url = "https://example.invalid/c-1.zip"}
d = [{workspace = true}]
[tool.uv.workspace]
members = ["libs/*"]
"""
ODD: tuple[Any, ...] = (None, 3, True, "", "x", "../../..", "\0", [], [3], ["x"], {}, {"x": 3})
FILES: dict[str, str | bytes] = {
    "train.py": "",
    "needs.txt": "six\n",
    "a/pyproject.toml": '[project]\nname = "a"\n',
    "libs/d/pyproject.toml": '[project]\nname = "d"\n',
    "libs/core/pyproject.toml": '[project]\nname = "core"\n',
    "libs/core/src/core/x.py": "",
}


def changed(value: Any) -> Iterator[Any]:
    """The value with one part of it, or itself, replaced by something odd."""
    yield from copy.deepcopy(ODD)
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    if not isinstance(value, (dict, list)):
        return
    for key, part in list(parts)[:12]:
        for other in changed(part) if isinstance(part, (dict, list)) else ODD:
            made = copy.copy(value)
            made[key] = other
            yield made


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("uv-lock", "uv.lock", (trees.DATA / "uv.lock").read_text()),
        ("pylock", "pylock.toml", (trees.DATA / "pylock.toml").read_text()),
        ("poetry-lock", "poetry.lock", POETRY),
        ("project", "pyproject.toml", PROJECT),
        ("project", "pyproject.toml", STANDARD),
        ("project", "pyproject.toml", DYNAMIC),
        ("project", "pyproject.toml", SOURCES),
    ],
)
def test_any_shape_is_read_or_refused(
    kind: Any, name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.plant(tmp_path, {**FILES, name: text})
    if name == "poetry.lock":
        trees.plant(tmp_path, {"pyproject.toml": PROJECT})
    requirements = Requirements(kind=kind, source=name, paths=(".",))
    read(requirements, str(tmp_path), Target(python="3.11.2"))  # as it stands, it is right
    whole = read_toml(str(tmp_path / name))
    refused = 0
    for content in changed(whole):
        if not isinstance(content, dict):
            continue
        monkeypatch.setattr(
            tree,
            "read_table",
            lambda root, path, made=content: made if path == name else read_toml(f"{root}/{path}"),
        )
        refused += refusals(tmp_path, requirements, content)
    assert refused > 10


def refusals(root: Path, requirements: Requirements, content: Any) -> int:
    """How many of two ways to look at a file end with an error in words."""
    refused = 0
    for attempt in (
        lambda: read(requirements, str(root), Target(python="3.11.2")),
        lambda: find_requirements(values.code(root)),
    ):
        try:
            attempt()
        except UsageError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{content}") from error
    return refused


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        (
            "pipfile-lock",
            "Pipfile.lock",
            {
                "_meta": {
                    "requires": {"python_version": "3.9"},
                    "sources": [{"url": "https://example.invalid/simple"}],
                },
                "default": {
                    "a": {"version": "==1", "hashes": [f"sha256:{SHA}"], "markers": "os_name > ''"},
                    "b": {"git": "https://example.invalid/b", "ref": COMMIT},
                    "c": {"path": "libs/d"},
                },
            },
        ),
        (
            "conda",
            "environment.yml",
            {"dependencies": ["python=3.9", "numpy=1.2", {"pip": ["six==1", "-e libs/d"]}]},
        ),
    ],
)
def test_any_shape_of_json(kind: Any, name: str, content: Any, tmp_path: Path) -> None:
    trees.plant(tmp_path, FILES)
    requirements = Requirements(kind=kind, source=name)
    trees.plant(tmp_path, {name: json.dumps(content)})  # which is YAML too
    assert refusals(tmp_path, requirements, content) == 0
    refused = 0
    for odd in changed(content):
        trees.plant(tmp_path, {name: json.dumps(odd)})
        refused += refusals(tmp_path, requirements, odd)
    assert refused > 10
