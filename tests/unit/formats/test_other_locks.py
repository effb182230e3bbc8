"""poetry.lock, Pipfile.lock and requirements.lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reprorun.errors import UsageError
from reprorun.model import GitSource, Wanted

from . import trees
from .trees import COMMIT, SHA, versions

PROJECT = """
[tool.poetry]
name = "study"
[tool.poetry.dependencies]
python = "^3.9"
numpy = [{version = "^1.24", python = "<3.12"}, {version = "^2.0", python = ">=3.12"}]
requests = {version = "^2.28", extras = ["socks"]}
colorama = {version = "*", markers = "sys_platform == 'win32'"}
attrs = {version = "*", optional = true}
core = {path = "libs/core"}
pkg = {git = "https://example.invalid/pkg.git"}
[tool.poetry.extras]
plot = ["attrs"]
[tool.poetry.group.dev.dependencies]
pytest = "*"
"""
STANDARD = (
    PROJECT.replace("[tool.poetry]", "[tool.poetry]\npackage-mode = true")
    + """
[project]
name = "study"
dependencies = ["requests[socks] (>=2.28,<3)", "core", "colorama ; sys_platform == 'win32'"]
"""
)


def package(name: str, version: str, more: str = "") -> str:
    return (
        f'[[package]]\nname = "{name}"\nversion = "{version}"\noptional = false\n'
        f'python-versions = ">=3.8"\ngroups = ["main"]\n'
        f'files = [{{file = "{name}-{version}.whl", hash = "sha256:{SHA}"}}]\n{more}\n'
    )


POETRY = "".join(
    [
        package("numpy", "1.26.4", 'markers = "python_version < \\"3.12\\""'),
        package("numpy", "2.1.0", 'markers = "python_version >= \\"3.12\\""'),
        package(
            "requests",
            "2.31.0",
            '[package.dependencies]\nidna = ">=2.5,<4"\n'
            'PySocks = {version = ">=1.5.6", optional = true, markers = "extra == \\"socks\\""}\n'
            'chardet = {version = "*", optional = true, markers = "extra == \\"chardet\\""}\n'
            'win = {version = "*", markers = "os_name == \\"nt\\""}\n'
            '[package.extras]\nsocks = ["PySocks (>=1.5.6,!=1.5.7)"]\nchardet = ["chardet"]',
        ),
        package("idna", "3.7"),
        package("pysocks", "1.7.1"),
        package("chardet", "5.0"),
        package("colorama", "0.4.6"),
        package("attrs", "23.1"),
        package("pytest", "8.0").replace('"main"', '"dev"'),
        package(
            "core",
            "0.1",
            '[package.dependencies]\nsix = "^1.16"\n'
            '[package.source]\ntype = "directory"\nurl = "libs/core"',
        ),
        package("six", "1.16.0"),
        package(
            "pkg",
            "3",
            '[package.source]\ntype = "git"\nurl = "git@example.invalid:a/pkg.git"\n'
            f'reference = "HEAD"\nresolved_reference = "{COMMIT}"',
        ),
        '[metadata]\nlock-version = "2.1"\npython-versions = "^3.9"\n',
    ]
)


def poetry(root: Path, text: str, project: str | None = PROJECT, python: str = "3.11.2") -> Wanted:
    files: dict[str, str | bytes] = {"poetry.lock": text, "libs/core/core.py": ""}
    if project is not None:
        files["pyproject.toml"] = project
    return trees.wanted(root, "poetry-lock", "poetry.lock", files, python=python)


@pytest.mark.parametrize(("python", "numpy"), [("3.11.2", "1.26.4"), ("3.12.0", "2.1.0")])
def test_poetry(python: str, numpy: str, tmp_path: Path) -> None:
    found = poetry(tmp_path, POETRY, python=python)
    assert versions(found) == [
        "idna==3.7",
        f"numpy=={numpy}",
        "pkg==3",
        "pysocks==1.7.1",
        "requests==2.31.0",
        "six==1.16.0",
    ]
    assert found.paths == ("libs/core",)
    pinned = {one.name: one for one in found.pinned or ()}
    assert pinned["pkg"].git == GitSource(url="ssh://git@example.invalid/a/pkg.git", commit=COMMIT)
    assert [(file.name, file.sha256, file.url) for file in pinned["six"].files] == [
        ("six-1.16.0.whl", SHA, None)
    ]


def test_poetry_with_a_standard_project_table(tmp_path: Path) -> None:
    found = poetry(tmp_path, POETRY, STANDARD)
    assert versions(found) == ["idna==3.7", "pysocks==1.7.1", "requests==2.31.0", "six==1.16.0"]


def test_poetry_without_its_project_takes_the_main_group(tmp_path: Path) -> None:
    found = versions(poetry(tmp_path, POETRY, None))
    assert "numpy==1.26.4" in found
    assert "numpy==2.1.0" not in found
    assert "pytest==8.0" not in found


def test_poetry_of_old(tmp_path: Path) -> None:
    text = f"""
[[package]]
name = "Six"
version = "1.16.0"
category = "main"
optional = false
python-versions = ">=2.7, !=3.0.*, !=3.1.*"

[[package]]
name = "pytest"
version = "7.0"
category = "dev"
optional = false
python-versions = "*"

[metadata]
lock-version = "1.1"
python-versions = "~2.7 || ^3.6"

[metadata.files]
pytest = []
six = [
    {{file = "six-1.16.0.whl", hash = "sha256:{SHA}"}},
    {{file = "six-1.16.0.tar.gz", hash = "md5:1"}},
]
"""
    for project in (None, '[tool.poetry.dependencies]\nsix = "*"\n'):
        [six] = poetry(tmp_path, text, project).pinned or ()
        assert [file.name for file in six.files] == ["six-1.16.0.whl"]


def test_an_index_of_poetrys(tmp_path: Path) -> None:
    source = '[package.source]\ntype = "legacy"\nurl = "https://example.invalid/simple"\n'
    found = poetry(tmp_path, package("six", "1", source), '[tool.poetry.dependencies]\nsix = "1"\n')
    assert found.options == ("--index", "https://example.invalid/simple")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POETRY.replace('"numpy"', '"nump"'), "numpy is not in it"),
        (POETRY.replace("1.26.4", "0.9"), "numpy is in it for another Python or version"),
        (POETRY.replace(COMMIT, "main"), "'main' is no commit"),
        (POETRY.replace('"libs/core"', '"../core"'), "outside the repository"),
        (POETRY.replace("sha256:", "md5:"), "no file with a sha256"),
        (POETRY.replace('"^3.9"', '"^3.12"'), r"it is for Python \^3\.12"),
        (POETRY.replace('"^3.9"', '"what"'), "no version constraint"),
        ("[[package]]\n", "is not the text"),
        ("x", "can't be read"),
    ],
)
def test_bad_locks_of_poetry(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        poetry(tmp_path / "root", text)
    assert "poetry.lock" in str(caught.value)


def pipfile(root: Path, default: dict[str, Any], **meta: Any) -> Wanted:
    text = json.dumps({"_meta": meta, "default": default, "develop": {"pytest": {}}})
    files: dict[str, str | bytes] = {
        "Pipfile.lock": text,
        "libs/core/pyproject.toml": '[project]\nname = "core"\n',
        "libs/core/src/": "",
        "w/x-1.whl": "",
    }
    return trees.wanted(root, "pipfile-lock", "Pipfile.lock", files)


HASHES = {"hashes": [f"sha256:{SHA}"]}


def test_pipfile(tmp_path: Path) -> None:
    found = pipfile(
        tmp_path,
        {
            "requests": {**HASHES, "version": "==2.31.0", "extras": ["socks"], "index": "pypi"},
            "colorama": {**HASHES, "version": "==1", "markers": "sys_platform == 'win32'"},
            "pkg": {"git": "https://example.invalid/p.git", "ref": COMMIT, "subdirectory": "py"},
            "core": {"editable": True, "path": "libs/core"},
            "x": {**HASHES, "path": "w/x-1.whl"},
            "y": {**HASHES, "file": "https://example.invalid/y-1.whl"},
        },
        sources=[{"url": "https://example.invalid/a"}, {"url": "https://example.invalid/b"}],
    )
    assert found.exact
    assert found.lines == (
        f"pkg @ git+https://example.invalid/p.git@{COMMIT}#subdirectory=py",
        f"requests==2.31.0 --hash=sha256:{SHA}",
        f"x @ file://{tmp_path}/w/x-1.whl --hash=sha256:{SHA}",
        f"y @ https://example.invalid/y-1.whl --hash=sha256:{SHA}",
    )
    assert found.paths == ("libs/core/src", "libs/core")
    assert found.options == (
        "--default-index",
        "https://example.invalid/a",
        "--index",
        "https://example.invalid/b",
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"version": "==1"}, "it has no sha256"),
        ({**HASHES, "version": "*"}, "no exact version"),
        ({**HASHES, "version": 3}, "no exact version"),
        ({"git": "https://example.invalid/x", "ref": "main"}, "'main' is no commit"),
        ({"path": "../x"}, "outside the repository"),
        ({"path": "gone"}, "no directory gone"),
        (3, "is not the table"),
    ],
)
def test_bad_pipfiles(entry: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        pipfile(tmp_path / "root", {"x": entry})
    assert "Pipfile.lock" in str(caught.value)


def own(root: Path, text: str, source: str = "requirements.lock") -> Wanted:
    return trees.wanted(root, "lock", source, {source: text})


def test_our_own_lock(tmp_path: Path) -> None:
    found = own(
        tmp_path,
        f"""# made by reprorun
--index-url https://example.invalid/simple
numpy==1.26.4 \\
    --hash=sha256:{SHA} \\
    --hash=sha256:{"b" * 64}
    # via scipy
x @ git+https://example.invalid/x@{COMMIT}
y[z]==2+cpu ; python_version >= "3.8" --hash=sha256:{SHA}
old==1 ; python_version < "3" --hash=sha256:{SHA}
""",
    )
    assert found.exact
    assert found.lines == (
        f"numpy==1.26.4 --hash=sha256:{SHA} --hash=sha256:{'b' * 64}",
        f"x @ git+https://example.invalid/x@{COMMIT}",
        f"y==2+cpu --hash=sha256:{SHA}",
    )
    assert found.options == ("--default-index", "https://example.invalid/simple")


def test_a_lock_outside_the_repository(tmp_path: Path) -> None:
    text = f"numpy==1 --hash=sha256:{SHA}\n"
    trees.plant(tmp_path, {"record/requirements.lock": text, "root/x": ""})
    path = str(tmp_path / "record/requirements.lock")
    found = trees.wanted(tmp_path / "root", "lock", path, {})
    assert found.lines == (f"numpy==1 --hash=sha256:{SHA}",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("numpy", "numpy has no --hash"),
        ("numpy==1", "numpy has no --hash"),
        (f"numpy>=1 --hash=sha256:{SHA}", "numpy>=1 is no exact version"),
        (f"numpy==1.* --hash=sha256:{SHA}", "is no exact version"),
        ("numpy==1 --hash=sha256:12", "numpy has no --hash"),
        ("x @ git+https://example.invalid/x@main", "'main' is no commit"),
        ("x @ https://example.invalid/x.whl", "x has no --hash"),
        ("-e .", "has no place in a lock"),
        ("-r x.txt", "has no place in a lock"),
        (f"six==1 --hash=sha256:{SHA}", "six is in it a second time"),
    ],
)
def test_our_own_lock_edited_by_hand(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        own(tmp_path, f"six==1 --hash=sha256:{SHA}\n{line}\n")
    assert str(caught.value).startswith("requirements.lock, line 2: ")
