"""Locks: remembered by everything that they are made from. uv itself is not called here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun.environment import lock as module
from reprorun.environment import uv
from reprorun.environment.lock import make_lock
from reprorun.errors import LockFailed
from reprorun.model import Lock, Requirements

from .values import BASE

TEXT = """\
numpy==2.1.0 \\
    --hash=sha256:aaaa
# a comment with ==
-e .
six==1.16.0 ; python_version >= "3" \\
    --hash=sha256:bbbb
"""


class Uv:
    """Stands in for uv and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.cwds: list[str] = []
        self.read: list[str] = []

    def __call__(self, arguments: list[str], *, offline: bool, cwd: str) -> str:
        self.calls.append([*arguments, *(["OFFLINE"] if offline else [])])
        self.cwds.append(cwd)
        self.read += [Path(word).read_text() for word in arguments if word.endswith("extra.txt")]
        return TEXT


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Uv:
    made = Uv()
    monkeypatch.setattr(module, "run_uv", made)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    (root / "requirements.txt").write_text("-r sub/more.txt\nnumpy\n --constraint=limits.txt\n")
    (root / "sub/more.txt").write_text("six\n-c ../deeper.txt  # why\n")
    (root / "limits.txt").write_text("numpy<3\n")
    (root / "deeper.txt").write_text("six<2\n")
    return root


def lock(root: Path, *extra: str, source: str | None = "requirements.txt", **given: Any) -> Lock:
    base = given.pop("base", BASE)
    return make_lock(Requirements(source=source), extra, str(root), base, **given)


def test_nothing_needed_nothing_asked(fake: Uv, tmp_path: Path) -> None:
    assert lock(tmp_path, source=None) == Lock(text="")
    assert fake.calls == []


def test_a_lock(fake: Uv, project: Path) -> None:
    found = lock(project)
    assert found.text == TEXT
    assert found.source == "requirements.txt"
    assert not found.cached
    assert found.packages == ("numpy==2.1.0", "six==1.16.0")
    (call,) = fake.calls
    assert call[:3] == ["pip", "compile", str(project / "requirements.txt")]
    assert "--generate-hashes" in call
    assert call[-2:] == ["--only-binary", ":all:"]
    assert call[call.index("--python-version") + 1] == "3.11"
    assert call[call.index("--python-platform") + 1] == "x86_64-manylinux_2_36"
    assert fake.cwds == [str(project)]


def test_the_same_is_not_asked_again(fake: Uv, project: Path) -> None:
    first = lock(project)
    second = lock(project, offline=True)
    assert len(fake.calls) == 1
    assert second.cached
    assert (second.text, second.source) == (first.text, first.source)
    assert second.resolved[:16] == first.resolved[:16]
    assert second.resolved.endswith("+00:00")


def test_the_same_in_another_place_is_not_asked_again(fake: Uv, project: Path) -> None:
    lock(project)
    project.rename(project.parent / "moved")
    assert lock(project.parent / "moved").cached


def test_fresh_asks_again(fake: Uv, project: Path) -> None:
    lock(project)
    assert not lock(project, fresh=True).cached
    assert len(fake.calls) == 2


@pytest.mark.parametrize("name", ["requirements.txt", "sub/more.txt", "limits.txt", "deeper.txt"])
def test_a_change_in_any_file_asks_again(name: str, fake: Uv, project: Path) -> None:
    lock(project)
    with open(project / name, "a") as file:
        file.write("# changed\n")
    assert not lock(project).cached


@pytest.mark.parametrize(
    "given",
    [
        {"as_of": "2024-03-31"},
        {"base": msgspec.structs.replace(BASE, python="3.12.1")},
        {"base": msgspec.structs.replace(BASE, machine="aarch64")},
        {"base": msgspec.structs.replace(BASE, libc="musl")},
        {"base": msgspec.structs.replace(BASE, libc="glibc 2.28")},
    ],
)
def test_what_else_asks_again(given: dict[str, Any], fake: Uv, project: Path) -> None:
    lock(project)
    assert not lock(project, **given).cached
    assert lock(project, **given).cached


def test_a_patch_release_of_python_does_not(fake: Uv, project: Path) -> None:
    lock(project)
    assert lock(project, base=msgspec.structs.replace(BASE, python="3.11.9", id="other")).cached


def test_extra_requirements(fake: Uv, project: Path, tmp_path: Path) -> None:
    assert not lock(project, "cloudpickle==3.0").cached
    assert not lock(project).cached
    assert fake.read == ["cloudpickle==3.0\n"]
    lock(tmp_path, "cloudpickle==3.0", source=None)
    assert len(fake.calls) == 3
    assert fake.cwds[2] != str(tmp_path)


def test_packages_of_a_day(fake: Uv, project: Path) -> None:
    lock(project, as_of="2024-03-31", offline=True)
    (call,) = fake.calls
    assert call[-3:] == ["--exclude-newer", "2024-03-31", "OFFLINE"]


@pytest.mark.parametrize("loop", ["-r requirements.txt\n", "-r sub/../requirements.txt\n"])
def test_files_that_include_each_other(loop: str, fake: Uv, project: Path) -> None:
    (project / "requirements.txt").write_text(loop)
    assert not lock(project).cached


@pytest.mark.parametrize("line", ["-r missing.txt", "--requirement sub"])
def test_an_include_that_is_not_there(line: str, fake: Uv, project: Path) -> None:
    (project / "requirements.txt").write_text(line + "\n")
    with pytest.raises(LockFailed, match=r"(missing\.txt|sub) can't be read"):
        lock(project)
    assert fake.calls == []


def test_a_file_that_is_no_text(fake: Uv, project: Path) -> None:
    (project / "requirements.txt").write_bytes(b"numpy\xff\n")
    with pytest.raises(LockFailed, match="can't be read"):
        lock(project)


def test_what_failed_is_not_remembered(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str], *, offline: bool, cwd: str) -> str:
        raise LockFailed("no such package")

    monkeypatch.setattr(module, "run_uv", fail)
    with pytest.raises(LockFailed):
        lock(project)
    monkeypatch.setattr(module, "run_uv", Uv())
    assert not lock(project).cached


# ---------------------------------------------------------------- calling uv


def uv_that(monkeypatch: pytest.MonkeyPatch, code: int, out: str = "", err: str = "") -> list[Any]:
    calls: list[Any] = []

    def run(command: list[str], **given: Any) -> Any:
        calls.append((command, given))
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr("subprocess.run", run)
    return calls


def test_uv_is_called_without_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = uv_that(monkeypatch, 0, "answer")
    assert uv.run_uv(["pip", "$(x)"], offline=True, cwd=str(tmp_path)) == "answer"
    ((command, given),) = calls
    assert command[1:3] == ["pip", "$(x)"]
    assert "--offline" in command
    assert not given.get("shell")
    assert given["cwd"] == str(tmp_path)


def test_uvs_own_words_are_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "error: No solution found:  \n  Because x>=2 was not found   \n\n"
    uv_that(monkeypatch, 1, "ignored", said)
    with pytest.raises(LockFailed) as caught:
        uv.run_uv([], offline=False, cwd="/")
    wanted = "the packages could not be had: No solution found:\n  Because x>=2 was not found"
    assert str(caught.value) == wanted
    assert caught.value.exit_code == 125
    with pytest.raises(LockFailed, match=r"\nWith --offline only what is in the cache"):
        uv.run_uv([], offline=True, cwd="/")


def test_without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> str:
        raise FileNotFoundError("/nowhere/uv")

    monkeypatch.setattr("uv.find_uv_bin", find)
    with pytest.raises(LockFailed, match=r"there is no uv \(/nowhere/uv\)"):
        uv.run_uv([], offline=False, cwd="/")


@pytest.mark.parametrize(
    ("libc", "platform"),
    [
        ("glibc 2.17", "x86_64-manylinux_2_17"),
        ("glibc 2.30", "x86_64-manylinux_2_28"),
        ("glibc 2.36", "x86_64-manylinux_2_36"),
        ("glibc 2.99", "x86_64-manylinux_2_39"),
        ("glibc 2.5", "x86_64-manylinux_2_17"),
        ("musl", "x86_64-unknown-linux-musl"),
    ],
)
def test_platforms(libc: str, platform: str) -> None:
    words = uv.for_image(msgspec.structs.replace(BASE, libc=libc))
    assert words[words.index("--python-platform") + 1] == platform
