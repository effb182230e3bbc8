"""Source trees: sdists and git checkouts as they lie in a build's container; nothing is run."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from reprorun.environment import source as module
from reprorun.environment import tar
from reprorun.environment.source import BuildSystem, SourceTree, from_distribution, from_git
from reprorun.environment.tar import Entry
from reprorun.errors import LockFailed, ReprorunError, UsageError
from reprorun.model import GitSource
from tests.packages import make_sdist

from ..conftest import git

PLACE = "workspace/source"


def put(directory: Path, sdist: tuple[str, bytes]) -> str:
    (directory / sdist[0]).write_bytes(sdist[1])
    return str(directory / sdist[0])


def tarred(directory: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    path = directory / "a-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(directory: Path, members: Mapping[str, bytes]) -> str:
    path = directory / "a-1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(path)


def entries(tree: SourceTree) -> dict[str, Entry]:
    found = {entry.path: entry for entry in tree.entries}
    assert len(found) == len(tree.entries)
    return found


def refusal(path: str) -> str:
    with pytest.raises(ReprorunError) as caught:
        from_distribution(path)
    text = str(caught.value)
    assert len(text.splitlines()) <= 2
    return text


# ---------------------------------------------------------------- what is in it


def test_a_tar(tmp_path: Path) -> None:
    files = {"pkg/__init__.py": b"x = 1\n", "data/ü.txt": b"2"}
    tree = from_distribution(put(tmp_path, make_sdist("Some.Tool", "1.0", files=files)))
    found = entries(tree)
    top = f"{PLACE}/some_tool-1.0"
    assert tree.directory == f"/{top}"
    assert found[f"{top}/pkg/__init__.py"].data == b"x = 1\n"
    assert found[f"{top}/data/ü.txt"].data == b"2"
    assert tree.system == BuildSystem(requires=(), backend="own", backend_path=(".",))
    assert b"".join(tar.stream(tree.entries))


def test_a_zip(tmp_path: Path) -> None:
    tree = from_distribution(zipped(tmp_path, {"a-1/": b"", "a-1/setup.py": b"1"}))
    assert entries(tree)[f"{PLACE}/a-1/setup.py"].data == b"1"
    assert tree.system.backend == "setuptools.build_meta:__legacy__"
    assert tree.system.requires == ("setuptools>=40.8.0", "wheel")


@pytest.mark.parametrize("ending", ["bz2", "xz", "gz"])
def test_other_compressions(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a-1.tar.{ending}"
    with tarfile.open(path, f"w:{ending}") as archive:  # type: ignore[call-overload]
        info = member("a-1/setup.py")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"1"))
    assert f"{PLACE}/a-1/setup.py" in entries(from_distribution(str(path)))


def test_whoever_builds_can_write_everything(tmp_path: Path) -> None:
    run = member("a-1/run.sh")
    run.mode = 0o700
    tree = from_distribution(tarred(tmp_path, (run, b"1"), (member("a-1/d/x"), b"2")))
    modes = {path: entry.mode for path, entry in entries(tree).items()}
    assert modes == {
        "workspace": 0o777,
        PLACE: 0o777,
        f"{PLACE}/a-1": 0o777,
        f"{PLACE}/a-1/run.sh": 0o777,
        f"{PLACE}/a-1/d": 0o777,
        f"{PLACE}/a-1/d/x": 0o666,
    }


def test_names_that_begin_with_a_dot_and_a_slash(tmp_path: Path) -> None:
    root = member("./", tarfile.DIRTYPE)
    tree = from_distribution(tarred(tmp_path, (root, b""), (member("./a-1/setup.py"), b"1")))
    assert entries(tree)[f"{PLACE}/a-1/setup.py"].data == b"1"


def test_an_empty_directory_is_kept(tmp_path: Path) -> None:
    setup, empty = member("a-1/setup.py"), member("a-1/empty", tarfile.DIRTYPE)
    found = entries(from_distribution(tarred(tmp_path, (setup, b"1"), (empty, b""))))
    assert found[f"{PLACE}/a-1/empty"].kind == tarfile.DIRTYPE


def test_links(tmp_path: Path) -> None:
    tree = from_distribution(
        tarred(
            tmp_path,
            (member("a-1/real"), b"content"),
            (member("a-1/soft", tarfile.SYMTYPE, "real"), b""),
            (member("a-1/hard", tarfile.LNKTYPE, "a-1/real"), b""),
        )
    )
    found = entries(tree)
    assert found[f"{PLACE}/a-1/soft"].link == "real"
    assert found[f"{PLACE}/a-1/hard"].data == b"content"


def test_of_a_file_that_is_there_twice_the_last_counts(tmp_path: Path) -> None:
    first, last = (f'[build-system]\nrequires = ["{n}"]\n'.encode() for n in ("first", "last"))
    name = "a-1/pyproject.toml"
    tree = from_distribution(tarred(tmp_path, (member(name), first), (member(name), last)))
    assert tree.system.requires == ("last",)
    assert entries(tree)[f"{PLACE}/{name}"].data == last


# ---------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "name", ["../x", "a-1/../../x", "/etc/passwd", "..", "a-1/../..", "../../workspace/x"]
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])
def test_a_path_that_escapes(name: str, kind: bytes, tmp_path: Path) -> None:
    good = (member("a-1/setup.py"), b"")
    path = tarred(tmp_path, good, (member(name, kind, "x"), b""))
    assert "leads out of it" in refusal(path)
    if kind == tarfile.REGTYPE:
        assert "leads out of it" in refusal(zipped(tmp_path, {"a-1/x": b"", name: b""}))


def test_a_link_that_files_lie_in_becomes_a_directory(tmp_path: Path) -> None:
    link = member("a-1/etc", tarfile.SYMTYPE, "/etc")
    tree = from_distribution(tarred(tmp_path, (link, b""), (member("a-1/etc/passwd"), b"evil")))
    found = entries(tree)
    assert found[f"{PLACE}/a-1/etc"].kind == tarfile.DIRTYPE
    assert found[f"{PLACE}/a-1/etc/passwd"].data == b"evil"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "a-1/nowhere"])
def test_a_hard_link_to_what_it_does_not_hold(target: str, tmp_path: Path) -> None:
    good, link = (member("a-1/setup.py"), b""), (member("a-1/x", tarfile.LNKTYPE, target), b"")
    assert "is no source distribution" in refusal(tarred(tmp_path, good, link))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_left_out(kind: bytes, tmp_path: Path) -> None:
    path = tarred(tmp_path, (member("a-1/setup.py"), b""), (member("a-1/null", kind), b""))
    assert f"{PLACE}/a-1/null" not in entries(from_distribution(path))


@pytest.mark.parametrize(
    "names", [[], ["a-1/x", "b-1/x"], ["setup.py"], ["a-1/x", "setup.py"]]
)  # fmt: skip
def test_not_one_directory(names: list[str], tmp_path: Path) -> None:
    refusal(zipped(tmp_path, dict.fromkeys(names, b"")))


@pytest.mark.parametrize("name", ["a-1.tar.gz", "a-1.zip", "a-1.tar.bz2", "a-1.tar.xz"])
@pytest.mark.parametrize("content", [b"", b"hello", bytes(600), b"\x1f\x8b" + bytes(50)])
def test_what_is_no_archive(name: str, content: bytes, tmp_path: Path) -> None:
    assert name in refusal(put(tmp_path, (name, content)))


def test_an_archive_that_was_cut_short(tmp_path: Path) -> None:
    name, data = make_sdist("a", "1", files={"a.py": os.urandom(3000)})
    for size in range(0, len(data) - 10, 101):
        refusal(put(tmp_path, (name, data[:size])))
    packed = Path(zipped(tmp_path, {"a-1/x": os.urandom(3000)})).read_bytes()
    for size in range(0, len(packed), 101):
        refusal(put(tmp_path, ("b-1.zip", packed[:size])))


def test_an_archive_that_was_damaged_is_no_surprise(tmp_path: Path) -> None:
    # that it is what was locked is seen by its sha256
    name, data = make_sdist("a", "1", files={"a.py": os.urandom(3000)})
    for at in range(0, len(data), 53):
        flipped = bytearray(data)
        flipped[at] ^= 0xFF
        with suppress(ReprorunError):
            from_distribution(put(tmp_path, (name, bytes(flipped))))


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = Path(zipped(tmp_path, {"a-1/x": b"1"}))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refusal(str(path))


def test_more_than_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1 << 20)
    name, data = make_sdist("a", "1", files={str(n): bytes(1 << 19) for n in range(3)})
    assert "holds more than 1 MiB" in refusal(put(tmp_path, (name, data)))
    bomb = {"a-1/one": bytes(50 << 20)}
    assert "holds more than 1 MiB" in refusal(zipped(tmp_path, bomb))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = member("a-1/one")
        info.size = 50 << 20
        archive.addfile(info, io.BytesIO(bytes(50 << 20)))
    packed = gzip.compress(out.getvalue())
    assert "holds more than 1 MiB" in refusal(put(tmp_path, ("a-1.tar.gz", packed)))


# ---------------------------------------------------------------- how it wants to be built


def system(tmp_path: Path, text: str) -> BuildSystem:
    return from_distribution(put(tmp_path, make_sdist("a", "1", pyproject=text))).system


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", BuildSystem()),
        ("[project]\nname = 'a'\n", BuildSystem()),
        ("[build-system]\nrequires = ['x>=1']\n", BuildSystem(requires=("x>=1",))),
        (
            "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n",
            BuildSystem(requires=("hatchling",), backend="hatchling.build"),
        ),
        (
            "[build-system]\nrequires = []\nbuild-backend = 'a:b.c'\nbackend-path = ['x', 'y']\n",
            BuildSystem(requires=(), backend="a:b.c", backend_path=("x", "y")),
        ),
    ],
)
def test_build_systems(text: str, wanted: BuildSystem, tmp_path: Path) -> None:
    assert system(tmp_path, text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "[build-system]\nbuild-backend = 'x'\n",
        "[build-system]\nrequires = 'x'\n",
        "[build-system]\nrequires = [1]\n",
        "[build-system]\nrequires = []\nbuild-backend = 1\n",
        "[build-system]\nrequires = []\nbackend-path = '.'\n",
        "build-system = 1\n",
        "build-system = []\n",
        "[build-system\n",
        "\0",
    ],
)
def test_build_systems_that_are_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pyproject\.toml of a-1\.tar\.gz"):
        system(tmp_path, text)


# ---------------------------------------------------------------- git


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with two commits, a package at the top, and one in a directory below."""
    root = tmp_path / "origin"
    for name in ("setup.py", "sub/pyproject.toml", "sub/run.sh"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "sub/pyproject.toml").write_text("[build-system]\nrequires = ['x']\n")
    (root / "sub/run.sh").chmod(0o755)
    (root / "sub/link").symlink_to("run.sh")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def checked_out(root: Path, **fields: str) -> SourceTree:
    given = {"url": root.as_uri(), "commit": git(root, "rev-parse", "HEAD"), **fields}
    return from_git(GitSource(**given), offline=False)


def test_a_commit(origin: Path) -> None:
    first = git(origin, "rev-parse", "HEAD")
    (origin / "setup.py").write_text("# changed\n")
    git(origin, "commit", "-q", "-am", "second")
    tree = checked_out(origin, commit=first)
    found = entries(tree)
    assert tree.directory == f"/{PLACE}/source"
    assert found[f"{PLACE}/source/setup.py"].data == b""
    assert found[f"{PLACE}/source/sub/run.sh"].mode == 0o777
    assert found[f"{PLACE}/source/sub/link"].link == "run.sh"
    assert f"{PLACE}/source/.git/HEAD" in found
    assert tree.system == BuildSystem()


def test_a_directory_of_a_repository(origin: Path) -> None:
    tree = checked_out(origin, subdirectory="sub")
    assert tree.directory == f"/{PLACE}/source/sub"
    assert tree.system.requires == ("x",)


@pytest.mark.parametrize("place", ["nowhere", "../..", "/etc", "setup.py", "sub/run.sh"])
def test_a_directory_that_a_repository_does_not_have(place: str, origin: Path) -> None:
    with pytest.raises(LockFailed, match="has no directory"):
        checked_out(origin, subdirectory=place)


def test_submodules(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # git takes submodules from this machine only where it is allowed to
    for name, value in {"COUNT": "1", "KEY_0": "protocol.file.allow", "VALUE_0": "always"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "deep.c").write_text("int x;\n")
    git(inner, "init", "-q", "-b", "main")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "inner")
    git(origin, "submodule", "--quiet", "add", inner.as_uri(), "vendor")
    git(origin, "commit", "-q", "-m", "with a submodule")
    assert entries(checked_out(origin))[f"{PLACE}/source/vendor/deep.c"].data == b"int x;\n"


def test_a_login_does_not_reach_the_build(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://user:s3cret@git.invalid/tool.git"
    given = {"COUNT": "1", "KEY_0": f"url.{origin.as_uri()}.insteadOf", "VALUE_0": url}
    for name, value in given.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    tree = checked_out(origin, url=url)
    assert b"https://git.invalid/tool.git" in entries(tree)[f"{PLACE}/source/.git/config"].data
    assert not [entry.path for entry in tree.entries if b"s3cret" in entry.data]


@pytest.mark.parametrize("commit", ["0" * 40, "main", "--force", "-b", "", "HEAD~1", "x" * 40])
def test_a_commit_that_is_none(commit: str, origin: Path) -> None:
    with pytest.raises(LockFailed, match=r"file://.*origin"):
        checked_out(origin, commit=commit)


@pytest.mark.parametrize(
    "url", ["--upload-pack=touch pwned", "ext::sh -c touch% pwned", "-u", "file:///nowhere.git"]
)
def test_an_address_that_is_none(
    url: str, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LockFailed, match="can't be fetched"):
        checked_out(origin, url=url)
    assert not (tmp_path / "pwned").exists()


def test_a_repository_that_can_not_be_reached_shows_no_login(origin: Path) -> None:
    with pytest.raises(LockFailed, match="can't be fetched") as caught:
        checked_out(origin, url="http://user:s3cret@127.0.0.1:1/tool.git")
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1/tool.git" in str(caught.value)


def test_offline_only_what_is_on_this_machine(origin: Path) -> None:
    commit = git(origin, "rev-parse", "HEAD")
    assert from_git(GitSource(url=origin.as_uri(), commit=commit), offline=True)
    with pytest.raises(LockFailed, match="--offline"):
        from_git(GitSource(url="https://u:s3cret@git.invalid/x", commit=commit), offline=True)


def test_nothing_of_a_repository_is_run(origin: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for name in ("setup.py", "conftest.py"):
        (origin / name).write_text(f"open({str(trace)!r}, 'w')\n")
    (origin / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    hooks = origin / ".githooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {trace}\n")
    (hooks / "post-checkout").chmod(0o755)
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "evil")
    template = tmp_path / "template/hooks"
    template.mkdir(parents=True)
    (template / "post-checkout").write_text(f"#!/bin/sh\ntouch {trace}\n")
    (template / "post-checkout").chmod(0o755)
    before = dict(os.environ)
    os.environ["GIT_TEMPLATE_DIR"] = str(template.parent)
    try:
        checked_out(origin)
        from_distribution(
            put(tmp_path, make_sdist("a", "1", setup_py=f"open({str(trace)!r}, 'w')\n"))
        )
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert not trace.exists()
    assert subprocess.run(["git", "--version"], check=False, capture_output=True).returncode == 0
