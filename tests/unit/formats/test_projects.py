"""Local projects: pyproject.toml, Poetry's table, setup.cfg and setup.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.formats.poetry_versions import admits, python_marker, specifier
from reprorun.formats.projects import read_project
from reprorun.model import Wanted

from . import trees

HEAD = '[project]\nname = "x"\nversion = "1"\n'
SETUPTOOLS = HEAD + 'dynamic = ["dependencies"]\n'


def project(root: Path, text: str, **files: str) -> Wanted:
    return trees.wanted(root, "project", "pyproject.toml", {"pyproject.toml": text, **files})


def setup(root: Path, source: str, **files: str) -> Wanted:
    return trees.wanted(root, "setup", source, dict(files))


def test_a_plain_project_is_left_to_uv(tmp_path: Path) -> None:
    found = project(tmp_path, HEAD + 'dependencies = ["numpy>=1"]\n')
    assert (found.project, found.lines) == ("pyproject.toml", ())


def test_sources_of_uv_that_are_not_here_are_left_to_uv(tmp_path: Path) -> None:
    text = HEAD + 'dependencies = ["torch"]\n[tool.uv.sources]\ntorch = {index = "cpu"}\n'
    assert project(tmp_path, text).project == "pyproject.toml"


@pytest.mark.parametrize("source", ['{path = "libs/a"}', "{workspace = true}"])
def test_local_sources_of_uv(source: str, tmp_path: Path) -> None:
    text = f'{HEAD}dependencies = ["a[x]", "idna"]\n[tool.uv.sources]\na = {source}\n'
    member = (
        '[project]\nname = "a"\ndependencies = ["six"]\noptional-dependencies = {x = ["attrs"]}\n'
    )
    text += '[tool.uv.workspace]\nmembers = ["libs/*"]\n'
    found = project(tmp_path, text, **{"libs/a/pyproject.toml": member})
    assert found.project is None
    assert set(found.lines) == {"six", "attrs", "idna"}
    assert found.paths == (".", "libs/a")


def test_a_source_that_only_uv_can_follow_beside_a_local_one(tmp_path: Path) -> None:
    text = HEAD + 'dependencies = ["a", "torch"]\n[tool.uv.sources]\na = {path = "a"}\n'
    with pytest.raises(UsageError, match="uv lock"):
        project(tmp_path, text + 'torch = {index = "cpu"}\n', **{"a/pyproject.toml": HEAD})


@pytest.mark.parametrize(
    ("more", "files"),
    [
        (
            '[tool.setuptools.dynamic]\ndependencies = {file = ["needs.txt"]}\n',
            {"needs.txt": "numpy>1 # x\n\nsix\n"},
        ),
        (
            '[tool.setuptools.dynamic]\ndependencies = {file = "needs.txt"}\n',
            {"needs.txt": "numpy>1\nsix"},
        ),
        (
            "",
            {"setup.py": "from setuptools import *\nsetup(install_requires=['numpy>1', 'six'])"},
        ),
        ("", {"setup.cfg": "[options]\ninstall_requires =\n    numpy>1\n    six\n"}),
        ('[tool.poetry.dependencies]\npython = "*"\nnumpy = ">1"\nsix = "*"\n', {}),
    ],
)
def test_dynamic_dependencies_that_can_be_read(
    more: str, files: dict[str, str], tmp_path: Path
) -> None:
    assert project(tmp_path, SETUPTOOLS + more, **files).lines == ("numpy>1", "six")


@pytest.mark.parametrize(
    ("more", "files", "message"),
    [
        ("", {}, "dependencies are dynamic"),
        (
            '[tool.setuptools.dynamic]\ndependencies = {file = "gone.txt"}\n',
            {},
            "reads its dependencies from gone.txt",
        ),
        (
            '[tool.setuptools.dynamic]\ndependencies = {file = "../x"}\n',
            {},
            "reads its dependencies from",
        ),
        (
            '[tool.setuptools.dynamic]\ndependencies = {file = "n.txt"}\n',
            {"n.txt": "-r x.txt"},
            "is an option",
        ),
        (
            "",
            {"setup.py": "from setuptools import setup\nsetup(install_requires=f())\n"},
            r"setup\.py, line 2: install_requires is computed",
        ),
    ],
)
def test_dynamic_dependencies_that_can_not(
    more: str, files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        project(tmp_path, SETUPTOOLS + more, **files)


def test_poetry_without_a_lock(tmp_path: Path) -> None:
    text = """
[tool.poetry]
name = "x"
packages = [{include = "x", from = "lib"}]
[tool.poetry.dependencies]
python = "^3.9"
numpy = "^1.21"
scipy = {version = "~1.7", python = "<3.12"}
requests = {version = "*", extras = ["socks"], markers = "os_name == 'posix'"}
plotly = {version = "^5", optional = true}
pkg = {git = "https://example.invalid/p.git", tag = "v1"}
mine = {path = "libs/mine", develop = true}
torch = [{version = "1.12", platform = "linux"}, {version = "1.11", platform = "darwin"}]
early = {version = "^1.0", allow-prereleases = true}
[tool.poetry.group.dev.dependencies]
pytest = "*"
[[tool.poetry.source]]
name = "extra"
url = "https://example.invalid/simple"
"""
    mine = '[tool.poetry]\nname = "mine"\n[tool.poetry.dependencies]\nsix = "1.16.0"\n'
    found = project(tmp_path, text, **{"libs/mine/pyproject.toml": mine, "lib/x.py": ""})
    assert found.lines == (
        "numpy>=1.21,<2.0",
        'scipy>=1.7,<1.8 ; python_version < "3.12"',
        "requests[socks] ; os_name == 'posix'",
        "pkg @ git+https://example.invalid/p.git@v1",
        'torch==1.12 ; sys_platform == "linux"',
        'torch==1.11 ; sys_platform == "darwin"',
        "early>=1.0,<2.0,>=0a0",
        "six==1.16.0",
    )
    assert found.paths == ("lib", ".", "libs/mine")
    assert "https://example.invalid/simple" in found.options


@pytest.mark.parametrize(
    ("poetry", "pep440"),
    [
        ("^1.2.3", ">=1.2.3,<2.0"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1.0"),
        ("^1.0.0rc1", ">=1.0.0rc1,<2.0"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1", ">=1,<2.0"),
        ("~=1.4.2", "~=1.4.2"),
        ("1.2.*", "==1.2.*"),
        ("*", ""),
        ("1.2.3", "==1.2.3"),
        ("=1.2", "==1.2"),
        (">=1, <2", ">=1,<2"),
        (">= 1.2 < 2", ">=1.2,<2"),
        ("!=1.5.*", "!=1.5.*"),
        (">=2.7, !=3.0.*, !=3.1.*", ">=2.7,!=3.0.*,!=3.1.*"),
        ("<2 || *", ""),
    ],
)
def test_versions_of_poetry(poetry: str, pep440: str) -> None:
    assert specifier(poetry, "x") == pep440


def test_alternatives_need_poetry_itself() -> None:
    with pytest.raises(UsageError, match="poetry lock"):
        specifier("^1 || ^3", "x")
    assert admits("^1 || ^3", "3.5", "x")
    assert not admits("^1 || ^3", "2.5", "x")


def test_pythons_of_poetry() -> None:
    assert python_marker("^3.8", "x") == 'python_version >= "3.8" and python_version < "4.0"'
    assert python_marker("3.8.*", "x") == 'python_version == "3.8"'
    assert python_marker("<3.8 | >=3.10.2", "x") == (
        '(python_version < "3.8") or (python_full_version >= "3.10.2")'
    )
    assert python_marker("*", "x") == ""


def test_setup_cfg(tmp_path: Path) -> None:
    text = """[metadata]
name = x
[options]
install_requires =
    numpy>=1.2
    # why
    six; python_version < "3"
package_dir =
    = lib
python_requires = >=3.8
"""
    found = setup(tmp_path, "setup.cfg", **{"setup.cfg": text, "lib/x.py": ""})
    assert found.lines == ("numpy>=1.2", 'six ; python_version < "3"')
    assert found.paths == ("lib", ".")


def test_setup_py_wins_over_setup_cfg_as_in_setuptools(tmp_path: Path) -> None:
    py = (
        "from setuptools import setup\nsetup(install_requires=['numpy'], package_dir={'': 'lib'})\n"
    )
    cfg = "[metadata]\nname = x\n[options]\ninstall_requires = six\n"
    found = setup(tmp_path, "setup.py", **{"setup.py": py, "setup.cfg": cfg, "lib/x.py": ""})
    assert found.lines == ("numpy",)
    assert found.paths == ("lib", ".")
    assert set(found.files) == {"setup.py", "setup.cfg"}


def test_a_bare_setup_py_leaves_it_to_setup_cfg(tmp_path: Path) -> None:
    cfg = "[options]\ninstall_requires = file: a.txt, b.txt\n"
    files = {"setup.py": "import setuptools\nsetuptools.setup()\n", "setup.cfg": cfg}
    found = setup(tmp_path, "setup.py", **files, **{"a.txt": "numpy\n", "b.txt": "six\n"})
    assert found.lines == ("numpy", "six")


CONDITIONS = """from setuptools import setup
setup(
    install_requires=['numpy'],
    extras_require={
        ':python_version<"3.12"': ['tomli  # why', 'mock ; os_name == "posix" or os_name == "nt"'],
        ': sys_platform == "linux"': ['p @ https://example.invalid/p-1.zip ; os_name == "posix"'],
        'Dev': ['pytest'],
        'dev:python_version<"3.9"': ['attrs>=20'],
    },
)
"""


def test_conditions_in_extras_require_are_markers_as_in_setuptools(tmp_path: Path) -> None:
    found = setup(tmp_path, "setup.py", **{"setup.py": CONDITIONS})
    assert found.lines == (
        "numpy",
        'tomli ; python_version<"3.12"',
        'mock ; (os_name == "posix" or os_name == "nt") and (python_version<"3.12")',
        'p @ https://example.invalid/p-1.zip ; (os_name == "posix") and (sys_platform == "linux")',
    )
    read = read_project(str(tmp_path), ".")
    assert set(read.extras) == {"dev"}
    assert [line.text for line in read.extra("dev")] == [
        "pytest",
        'attrs>=20 ; python_version<"3.9"',
    ]


def test_conditions_in_setup_py_beside_a_list_in_setup_cfg(tmp_path: Path) -> None:
    py = "from setuptools import setup\nsetup(extras_require={':os_name==\"nt\"': ['six']})\n"
    files = {"setup.py": py, "setup.cfg": "[options]\ninstall_requires = numpy\n"}
    assert setup(tmp_path, "setup.py", **files).lines == ("numpy", 'six ; os_name=="nt"')
