"""The environment's tar: equal content gives equal bytes, and the guest in it is complete."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files
from reprorun.environment import assemble as module
from reprorun.environment.assemble import assemble, environment_digest, guest_files
from reprorun.model import BaseImage, Lock

from .values import BASE

LOCK = Lock(text="tool==1.0 \\\n    --hash=sha256:aaaa\n")
PACKAGES = "opt/reprorun/lib/python3.11/site-packages"
LONG_FORM = "#!/bin/sh\n'''exec' '/a very/long path/python' \"$0\" \"$@\"\n' '''\nimport sys\n"

Installed = dict[str, tuple[str, int]]  # path below the prefix -> text and mode

TOOL: Installed = {
    "bin/tool": ("#!/somewhere/venv/bin/python\nimport sys\n", 0o755),
    "bin/long": (LONG_FORM, 0o755),
    "bin/from-env": ("#!/usr/bin/env python3\nimport sys\n", 0o755),
    "bin/helper.sh": ("#!/bin/sh\n# starts python\nexec python -m tool\n", 0o755),
    "bin/other": ("#!/usr/bin/env perl\n# not python\n", 0o755),
    "bin/binary": ("\x7fELF python", 0o755),
    "include/site/python3.13/tool/tool.h": ("//\n", 0o644),
    "lib/python3.13/site-packages/tool/__init__.py": ("x = 1\n", 0o644),
    "lib/python3.13/site-packages/tool/run": ("#!/bin/sh\n", 0o755),
    "lib/python3.13/site-packages/tool-1.0.dist-info/RECORD": (
        "../../../bin/tool,sha256=aa,291\n../../../bin/b c,sha256=bb,1\r\n"
        "tool/__init__.py,sha256=cc,6\nbin/inner.py,sha256=dd,1\n",
        0o644,
    ),
    "share/doc/tool": ("text\n", 0o600),
    ".lock": ("", 0o644),
}


@pytest.fixture
def installing(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for uv: puts the tool into the prefix, in an order of its own each time."""
    calls: list[list[str]] = []

    def run(arguments: list[str], *, offline: bool, cwd: str) -> str:
        calls.append([*arguments, str(offline)])
        lock = arguments[arguments.index("--requirement") + 1]
        assert Path(lock).read_text() == LOCK.text
        for name, (text, mode) in sorted(TOOL.items(), reverse=len(calls) % 2 == 0):
            path = Path(cwd, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
            path.chmod(mode)
            os.utime(path, (len(calls), len(calls)))
        return ""

    monkeypatch.setattr(module, "run_uv", run)
    return calls


def made(base: BaseImage = BASE, paths: tuple[str, ...] = (), lock: Lock = LOCK) -> bytes:
    out = io.BytesIO()
    assemble(base, lock, paths, offline=False, out=out)
    return out.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = tar.getmembers()
    assert len({member.name for member in found}) == len(found)
    return {member.name: member for member in found}


def content(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def test_the_same_bytes_again_and_from_elsewhere(
    installing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = made()
    again = made()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another" / "place"))
    elsewhere = made()
    assert first == again == elsewhere
    assert len(installing) == 3
    assert os.listdir(files.cache_directory("scratch")) == []


def test_the_umask_does_not_show(installing: Any) -> None:
    first = made()
    before = os.umask(0o077)
    try:
        assert made() == first
    finally:
        os.umask(before)


def test_nothing_tells_when_and_by_whom_it_was_made(installing: Any) -> None:
    for member in members(made()).values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 315532800
        assert member.mode in (0o644, 0o755, 0o777)
        assert not member.name.startswith("/")


def test_every_parent_comes_before_what_is_in_it(installing: Any) -> None:
    seen: set[str] = set()
    for name, member in members(made()).items():
        parent = os.path.dirname(name)
        assert not parent or parent in seen, name
        if member.isdir():
            seen.add(name)


def test_the_order_of_the_file_system_does_not_show(
    installing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made()
    walk = os.walk

    def backwards(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
        for directory, below, names in walk(top):
            below.sort(reverse=True)
            yield directory, below, sorted(names, reverse=True)

    monkeypatch.setattr("os.walk", backwards)
    assert made() == first


def test_what_any_user_can_write(installing: Any) -> None:
    found = members(made())
    wide = {name for name, member in found.items() if member.isdir() and member.mode == 0o777}
    assert wide == {"workspace", "home/reprorun", "log"}


def test_the_virtual_environment(installing: Any) -> None:
    data = made()
    found = members(data)
    for name in ("python", "python3", "python3.11"):
        assert found[f"opt/reprorun/bin/{name}"].linkname == "/usr/bin/python3.11"
    settings = content(data, "opt/reprorun/pyvenv.cfg").decode()
    assert "home = /usr/bin\n" in settings
    assert "version = 3.11.2\n" in settings
    supervisor = found["opt/reprorun/supervise.py"].linkname.lstrip("/")
    assert supervisor in found


def test_packages_lie_where_the_images_python_looks(installing: Any) -> None:
    data = made()
    found = members(data)
    assert content(data, f"{PACKAGES}/tool/__init__.py") == b"x = 1\n"
    assert found[f"{PACKAGES}/tool/__init__.py"].mode == 0o644
    assert found[f"{PACKAGES}/tool/run"].mode == 0o755
    assert "opt/reprorun/include/site/python3.11/tool/tool.h" in found
    assert "opt/reprorun/share/doc/tool" in found
    assert not any("3.13" in name for name in found)
    assert "opt/reprorun/.lock" not in found
    assert "opt/reprorun/requirements.lock" not in found


SHEBANG = b"#!/opt/reprorun/bin/python\n"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("tool", SHEBANG + b"import sys\n"),
        ("long", SHEBANG + b"import sys\n"),
        ("from-env", SHEBANG + b"import sys\n"),
        ("helper.sh", TOOL["bin/helper.sh"][0].encode()),
        ("other", TOOL["bin/other"][0].encode()),
        ("binary", b"\x7fELF python"),
    ],
)
def test_scripts_start_the_images_python(name: str, wanted: bytes, installing: Any) -> None:
    data = made()
    assert content(data, f"opt/reprorun/bin/{name}") == wanted
    assert members(data)[f"opt/reprorun/bin/{name}"].mode == 0o755


def test_the_hosts_python_shows_nowhere(installing: Any) -> None:
    # a RECORD holds the digest of a script whose first line named the host's Python
    text = content(made(), f"{PACKAGES}/tool-1.0.dist-info/RECORD")
    assert text == (
        b"../../../bin/tool,,\n../../../bin/b c,,\r\n"
        b"tool/__init__.py,sha256=cc,6\nbin/inner.py,sha256=dd,1\n"
    )


def test_uv_is_told_what_the_image_is(installing: list[list[str]]) -> None:
    made(msgspec.structs.replace(BASE, python="3.9.1", machine="aarch64"))
    (call,) = installing
    assert call[:2] == ["pip", "install"]
    for word in ("--require-hashes", "--no-deps", "3.9", "aarch64-manylinux_2_36", ":all:"):
        assert word in call


def test_without_packages_uv_is_not_called(installing: list[list[str]]) -> None:
    assert members(made(lock=Lock(text="")))
    assert installing == []


def test_the_projects_own_directories(installing: Any) -> None:
    data = made(paths=("src", ".", "a/b"))
    text = content(data, f"{PACKAGES}/reprorun_workspace.pth")
    assert text == b"/workspace/src\n/workspace\n/workspace/a/b\n"


# ---------------------------------------------------------------- the digest


def test_the_digest_is_known_before_and_stays() -> None:
    assert environment_digest(BASE, LOCK, ("src",), "t") == environment_digest(
        msgspec.structs.replace(BASE, ref="other", id="other", repo_digest="x"),
        Lock(text=LOCK.text, cached=True, resolved="later"),
        ("src",),
        "t",
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"base": msgspec.structs.replace(BASE, digest="other")},
        {"base": msgspec.structs.replace(BASE, python="3.11.3")},
        {"base": msgspec.structs.replace(BASE, executable="/usr/local/bin/python3.11")},
        {"lock": Lock(text="other==1.0\n")},
        {"paths": ()},
        {"paths": (".", "src")},
        {"template": "other"},
    ],
)
def test_the_digest_changes_with_all_that_is_in_it(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"base": BASE, "lock": LOCK, "paths": ("src", "."), "template": "t"}
    assert environment_digest(**{**given, **changed}) != environment_digest(**given)


def test_the_digest_changes_with_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_digest(BASE, LOCK, (), "t")
    changed = {**guest_files(), "reprorun/launch.py": b"# changed\n"}
    monkeypatch.setattr(module, "guest_files", lambda: changed)
    assert environment_digest(BASE, LOCK, (), "t") != before


# ---------------------------------------------------------------- the guest

INSIDE = """
import sys
sys.path.insert(0, sys.argv[1])
import reprorun, reprorun.experiment_wrapper, reprorun.launch
for name in reprorun.__all__:
    assert getattr(reprorun, name), name
import pkgutil, importlib
for module in pkgutil.iter_modules(reprorun.experiment.__path__, "reprorun.experiment."):
    importlib.import_module(module.name)
print(reprorun.__file__)
print(sorted(n for n in sys.modules if n.startswith("reprorun")))
"""


def test_the_guest_is_complete(tmp_path: Path) -> None:
    for name, text in guest_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    command = [sys.executable, "-I", "-S", "-c", INSIDE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "reprorun/__init__.py")


def test_the_guest_is_no_more_than_it_needs() -> None:
    top = {name for name in guest_files() if name.count("/") == 1}
    assert top == {
        "reprorun/__init__.py",
        "reprorun/experiment_wrapper.py",
        "reprorun/launch.py",
    }
    assert all(name.endswith(".py") for name in guest_files())
