"""uv.lock and pylock.toml: real ones, with their addresses replaced, and what may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.formats.uv_lock import is_member
from reprorun.model import GitSource, RemoteFile, Wanted

from . import trees
from .trees import COMMIT, DATA, SHA, versions

# what `uv export --frozen --no-dev --no-emit-project` says of the same lock
OLD = [
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "click==8.5.1",
    "idna==3.20",
    "iniconfig==1.1.1",
    "pysocks==1.7.1",
    "requests==2.31.0",
    "six==1.17.0",
    "urllib3==2.8.0",
    "zipp==4.1.2",
]
NEW = [line.replace("iniconfig==1.1.1", "iniconfig==2.3.1") for line in OLD]
MEMBERS: dict[str, str | bytes] = {
    "uv.lock": (DATA / "uv.lock").read_bytes(),
    "pylock.toml": (DATA / "pylock.toml").read_bytes(),
    "pyproject.toml": '[project]\nname = "study"\nversion = "0.1"\n',
    "libs/core/pyproject.toml": '[project]\nname = "core"\nversion = "0.1"\n',
    "libs/core/src/core/__init__.py": "",
    "libs/tool/pyproject.toml": '[project]\nname = "tool"\nversion = "0.1"\n',
}


def uv(root: Path, *, python: str = "3.11.2", paths: tuple[str, ...] = (".",)) -> Wanted:
    return trees.wanted(root, "uv-lock", "uv.lock", MEMBERS, python=python, paths=paths)


def lock(root: Path, packages: str, head: str = "") -> Wanted:
    text = f'version = 1\nrequires-python = ">=3.8"\n{head}\n{packages}'
    return trees.wanted(root, "uv-lock", "uv.lock", {"uv.lock": text, "libs/a/x.py": ""})


def needing(source: str, more: str) -> str:
    """A project that needs one package, and that package."""
    return f"""
[[package]]
name = "mine"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "x" }}]

[[package]]
name = "x"
version = "2"
source = {{ {source} }}
{more}
"""


@pytest.mark.parametrize(
    ("python", "expected"), [("3.10.4", OLD), ("3.11.2", OLD), ("3.12.1", NEW)]
)
def test_a_real_lock_for_each_python(python: str, expected: list[str], tmp_path: Path) -> None:
    found = uv(tmp_path, python=python)
    assert versions(found) == expected
    assert found.paths == ("libs/core/src", "libs/core")
    assert found.files == ("uv.lock",)


@pytest.mark.parametrize(("python", "expected"), [("3.11.2", OLD), ("3.12.1", NEW)])
def test_pylock_says_the_same(python: str, expected: list[str], tmp_path: Path) -> None:
    found = trees.wanted(tmp_path, "pylock", "pylock.toml", MEMBERS, python=python)
    assert sorted(versions(found)) == expected
    assert found.paths == ()
    known = {one.name: one for one in uv(tmp_path, python=python).pinned or ()}
    for one in found.pinned or ():
        assert {file.sha256 for file in one.files} == {
            file.sha256 for file in known[one.name].files
        }


def test_files_come_with_address_digest_and_size(tmp_path: Path) -> None:
    [six] = [one for one in uv(tmp_path).pinned or () if one.name == "six"]
    assert six.files[0] == RemoteFile(
        name="six-1.17.0-py2.py3-none-any.whl",
        sha256="4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",
        url="https://example.invalid/files/six-1.17.0-py2.py3-none-any.whl",
        size=11050,
    )
    assert [file.name for file in six.files[1:]] == ["six-1.17.0.tar.gz"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("libs/core/src", "libs/core"), ["six==1.17.0"]),
        (("libs/tool",), ["pluggy==1.7.0"]),
        (("elsewhere",), OLD),
        ((), OLD),
    ],
)
def test_the_launchers_own_project_is_where_it_starts(
    paths: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    assert versions(uv(tmp_path, paths=paths)) == expected


def test_members_are_known_by_their_directory(tmp_path: Path) -> None:
    trees.plant(tmp_path, MEMBERS)
    assert is_member(str(tmp_path), "uv.lock", "libs/core")
    assert is_member(str(tmp_path), "uv.lock", "")
    assert not is_member(str(tmp_path), "uv.lock", "libs")


def test_a_workspace_without_a_project_of_its_own_has_all_its_members(tmp_path: Path) -> None:
    members = [
        f'[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ editable = "libs/{name}" }}\n'
        f'dependencies = [{{ name = "{needs}" }}]\n'
        for name, needs in (("a", "x"), ("b", "y"))
    ]
    packages = [
        f'[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ registry = "w" }}\n'
        f'sdist = {{ url = "https://example.invalid/{name}.zip", hash = "sha256:{SHA}" }}\n'
        for name in ("x", "y", "z")
    ]
    trees.plant(tmp_path, {"libs/b/": ""})
    found = lock(tmp_path, "\n".join([*members, *packages]))
    assert versions(found) == ["x==1", "y==1"]
    assert found.paths == ("libs/a", "libs/b")


def test_a_commit(tmp_path: Path) -> None:
    source = f'git = "https://example.invalid/x.git?rev=main&subdirectory=py%2Fx#{COMMIT}"'
    [x] = lock(tmp_path, needing(source, "")).pinned or ()
    assert x.git == GitSource(
        url="https://example.invalid/x.git", commit=COMMIT, subdirectory="py/x"
    )


@pytest.mark.parametrize(
    ("source", "more", "url"),
    [
        (
            'url = "https://example.invalid/x-2.tar.gz"',
            f'sdist = {{ hash = "sha256:{SHA}" }}',
            "https://example.invalid/x-2.tar.gz",
        ),
        (
            'path = "w/x-2.whl"',
            f'wheels = [{{ filename = "x-2.whl", hash = "sha256:{SHA}" }}]',
            "file://{root}/w/x-2.whl",
        ),
        (
            'registry = "w"',
            f'wheels = [{{ path = "x-2.whl", hash = "sha256:{SHA}" }}]',
            "file://{root}/w/x-2.whl",
        ),
    ],
)
def test_files_that_no_index_has(source: str, more: str, url: str, tmp_path: Path) -> None:
    trees.plant(tmp_path, {"w/x-2.whl": ""})
    [x] = lock(tmp_path, needing(source, more)).pinned or ()
    assert [file.url for file in x.files] == [url.replace("{root}", str(tmp_path))]


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (needing('registry = "https://example.invalid"', ""), "it lists no files"),
        (
            needing(
                'registry = "https://example.invalid"',
                'sdist = { url = "https://example.invalid/x" }',
            ),
            "is no sha256",
        ),
        (needing('git = "https://example.invalid/x#main"', ""), "'main' is no commit"),
        (needing('git = "https://[/x#main"', ""), "is no address"),
        (
            needing('path = "../x.whl"', f'wheels = [{{ hash = "sha256:{SHA}" }}]'),
            "outside the repository",
        ),
        (needing('path = "x.whl"', f'wheels = [{{ hash = "sha256:{SHA}" }}]'), "there is no x.whl"),
        (needing('editable = "../x"', ""), "outside the repository"),
        (needing('editable = "gone"', ""), "there is no directory gone"),
        (needing('virtual = "x"', 'dependencies = [{ name = "gone" }]'), "x needs gone, and none"),
        (needing('virtual = "x"', 'dependencies = [{ name = "x", marker = "what" }]'), "no marker"),
        (needing('virtual = "x"', "dependencies = 3"), "is not the list"),
        ("[[package]]\n", "a package's name is not the text"),
        ("[package]\nx = 1\n", "is not the list"),
        ('[[package]]\nname="x"\nversion="1"\nsource={registry="y"}', "names no project"),
    ],
)
def test_bad_locks(packages: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        lock(tmp_path / "root", packages)
    assert "uv.lock" in str(caught.value)


def test_another_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"for Python >=3\.10, not for 3\.9\.2"):
        uv(tmp_path, python="3.9.2")
    with pytest.raises(UsageError, match=r"for Python >=3\.10, not for 3\.9\.2"):
        trees.wanted(tmp_path, "pylock", "pylock.toml", MEMBERS, python="3.9.2")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"version 2 of uv\.lock"):
        trees.wanted(tmp_path, "uv-lock", "uv.lock", {"uv.lock": "version = 2\n"})


def pylock(root: Path, packages: str) -> Wanted:
    text = f'lock-version = "1.0"\ncreated-by = "x"\n{packages}'
    files: dict[str, str | bytes] = {"pylock.toml": text, "w/x-1.zip": "", "d/pyproject.toml": ""}
    return trees.wanted(root, "pylock", "pylock.toml", files)


def test_all_sources_of_pylock(tmp_path: Path) -> None:
    digest = f'hashes = {{ sha256 = "{SHA}" }}'
    found = pylock(
        tmp_path,
        f"""
default-groups = ["main"]
[[packages]]
name = "commit"
vcs = {{ type = "git", url = "https://example.invalid/x", commit-id = "{COMMIT}" }}
[[packages]]
name = "here"
directory = {{ path = "d" }}
[[packages]]
name = "zipped"
archive = {{ path = "w/x-1.zip", {digest} }}
[[packages]]
name = "grouped"
version = "1"
marker = "'main' in dependency_groups"
index = "https://example.invalid/simple"
wheels = [{{ url = "https://example.invalid/grouped-1-py3-none-any.whl", {digest} }}]
[[packages]]
name = "left-out"
version = "1"
marker = "'dev' in dependency_groups or 'x' in extras"
sdist = {{ url = "https://example.invalid/left_out-1.tar.gz", {digest} }}
""",
    )
    pinned = {one.name: one for one in found.pinned or ()}
    assert list(pinned) == ["commit", "zipped", "grouped"]
    assert pinned["commit"].git == GitSource(url="https://example.invalid/x", commit=COMMIT)
    assert pinned["zipped"].files[0].url == f"file://{tmp_path}/w/x-1.zip"
    assert pinned["grouped"].files[0].name == "grouped-1-py3-none-any.whl"
    assert found.paths == ("d",)


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        ("", "no lock that can be read"),
        ("packages = 3", "no lock that can be read"),
        ('[[packages]]\nname = "X"\ndirectory = {path="d"}', "no lock that can be read"),
        ('[[packages]]\nname = "x"\ndirectory = {path="../d"}', "outside the repository"),
        (
            '[[packages]]\nname = "x"\nvcs = {type="hg", url="git:x", commit-id="1"}',
            "not from git",
        ),
        (
            '[[packages]]\nname = "x"\nvcs = {type="git", url="git:x", commit-id="1"}',
            "no commit",
        ),
        (
            '[[packages]]\nname = "x"\nrequires-python = ">=4"\ndirectory = {path="d"}',
            "x is for Python >=4",
        ),
        (
            '[[packages]]\nname = "x"\narchive = {path="gone.zip", hashes={sha256="1"}}',
            "there is no gone.zip",
        ),
        ('[[packages]]\nname = "x"\narchive = {path="w/x-1.zip", hashes={md5="1"}}', "no sha256"),
    ],
)
def test_bad_pylocks(packages: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        pylock(tmp_path / "root", packages)
    assert "pylock.toml" in str(caught.value)
