"""A record's packages once more: the same wheels, wherever they can be had, or nothing silently."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun.environment.fetch import keep
from reprorun.errors import LockFailed, UsageError
from reprorun.model import BaseImage, Code, Lock, Package, Record, RemoteFile, Source
from reprorun.workflow.report import Silent
from reprorun.workflow.restore import Wish
from reprorun.workflow.restore_lock import restore_lock
from tests.index import Index, Served, make_wheel

from .values import BASE, code, record

OTHER_PYTHON = replace(BASE, python="3.9.2", digest="sha256:" + "e" * 64, ref="base:3.9")


def taken(served: Served, name: str, version: str) -> Package:
    """A package as a record holds it: without the address of the index."""
    wheel = replace(served.remote, url=None)
    return Package(name=name, version=version, wheel=wheel)


def restore(
    packages: tuple[Package, ...],
    base: BaseImage = BASE,
    tree: Any = None,
    requirements: str | None = "requirements.txt",
    **wish: Any,
) -> Lock:
    kept: Record = record(packages=packages, requirements=requirements, base_image=BASE)
    engine: Any = None  # nothing is built
    return restore_lock(kept, base, engine, Silent(), Wish(**wish), tree or _no_tree)


def _no_tree() -> Code:
    raise UsageError("the record's files are not needed")


def wheels(lock: Lock) -> dict[str, str]:
    return {package.name: package.wheel.sha256 for package in lock.packages}


def versions(lock: Lock) -> list[str]:
    return [f"{package.name}=={package.version}" for package in lock.packages]


def refusal(*args: Any, **fields: Any) -> str:
    with pytest.raises(LockFailed) as caught:
        restore(*args, **fields)
    return str(caught.value)


@pytest.fixture
def files_of(tmp_path: Path) -> Any:
    def make(text: str) -> Any:
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/requirements.txt").write_text(text)
        (tmp_path / "tree/train.py").write_text("")
        return lambda: code(tmp_path / "tree", files=("requirements.txt", "train.py"))

    return make


def test_what_is_in_the_cache_is_taken_and_nobody_is_asked(index: Index) -> None:
    name, data = make_wheel("six", "1.0")
    sha256, _ = keep(name, data)
    package = Package(name="six", version="1.0", wheel=RemoteFile(name=name, sha256=sha256))
    lock = restore((package,))
    assert lock.packages == (package,)
    assert index.requests == []


def test_the_very_wheel_is_looked_up_in_the_index(index: Index, files_of: Any) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("six", "2.0"))
    lock = restore((taken(six, "six", "1.0"),), tree=files_of("six\n"))
    assert wheels(lock) == {"six": six.sha256}
    assert lock.packages[0].wheel.url == six.url


def test_the_index_that_the_records_files_name_is_asked(
    index: Index, files_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    six = index.add(*make_wheel("six", "1.0"))
    lock = restore((taken(six, "six", "1.0"),), tree=files_of(f"--index-url {index.url}\nsix\n"))
    assert lock.packages[0].wheel.url == six.url


def test_what_is_gone_is_named(index: Index, files_of: Any) -> None:
    tool = index.add(*make_wheel("tool", "1.0"))
    packages = (
        taken(tool, "tool", "1.0"),
        Package(name="six", version="1.0", wheel=_wheel("six", "1.0")),
        Package(name="gone", version="3.0", wheel=_wheel("gone", "3.0")),
    )
    index.add(*make_wheel("six", "1.5"))
    message = refusal(packages, tree=files_of("tool\nsix\ngone\n"))
    assert "gone from the index: six 1.0, gone 3.0." in message
    assert "--allow-newer" in message
    assert "tool" not in message.splitlines()[0].partition("index:")[2]


def test_another_wheel_of_the_same_version_is_not_taken(index: Index, files_of: Any) -> None:
    index.add(*make_wheel("six", "1.0", files={"other.py": b"x = 1\n"}))
    package = Package(name="six", version="1.0", wheel=_wheel("six", "1.0"))
    assert "six 1.0" in refusal((package,), tree=files_of("six\n"))


def test_the_nearest_newer_version_where_that_is_allowed(index: Index, files_of: Any) -> None:
    for version in ("0.9", "1.5", "2.0"):
        index.add(*make_wheel("six", version, requires=["helper"] if version == "1.5" else []))
    index.add(*make_wheel("helper", "1.0"))
    tool = index.add(*make_wheel("tool", "1.0", requires=["six"]))
    index.add(*make_wheel("tool", "1.1"))
    packages = (
        taken(tool, "tool", "1.0"),
        Package(name="six", version="1.0", wheel=_wheel("six", "1.0")),
    )
    lock = restore(packages, tree=files_of("tool\n"), allow_newer=True)
    assert versions(lock) == ["helper==1.0", "six==1.5", "tool==1.0"]
    assert wheels(lock)["tool"] == tool.sha256
    assert all(package.wheel.url for package in lock.packages)


def test_the_nearest_older_version_where_there_is_no_newer(index: Index, files_of: Any) -> None:
    for version in ("0.8", "0.9"):
        index.add(*make_wheel("six", version))
    package = Package(name="six", version="1.0", wheel=_wheel("six", "1.0"))
    lock = restore((package,), tree=files_of("six\n"), allow_newer=True)
    assert versions(lock) == ["six==0.9"]


def test_another_python_gets_other_wheels_of_the_same_versions(index: Index, files_of: Any) -> None:
    new = index.add(*make_wheel("fast", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64"))
    old = index.add(*make_wheel("fast", "1.0", tag="cp39-cp39-manylinux_2_17_x86_64"))
    index.add(*make_wheel("fast", "2.0", tag="cp39-cp39-manylinux_2_17_x86_64"))
    pure = index.add(*make_wheel("pure", "1.0", requires=["back; python_version < '3.10'"]))
    index.add(*make_wheel("back", "1.0"))
    keep(new.filename, new.data)
    keep(pure.filename, pure.data)
    packages = (taken(new, "fast", "1.0"), taken(pure, "pure", "1.0"))
    assert restore(packages).packages == packages
    lock = restore(packages, OTHER_PYTHON, tree=files_of("fast\npure\n"))
    assert versions(lock) == ["back==1.0", "fast==1.0", "pure==1.0"]
    assert wheels(lock)["fast"] == old.sha256
    assert wheels(lock)["pure"] == pure.sha256


def test_another_python_may_need_more_also_where_every_wheel_fits(
    index: Index, files_of: Any
) -> None:
    pure = index.add(*make_wheel("pure", "1.0", requires=["back; python_version < '3.10'"]))
    index.add(*make_wheel("back", "1.0"))
    keep(pure.filename, pure.data)
    packages = (taken(pure, "pure", "1.0"),)
    assert versions(restore(packages)) == ["pure==1.0"]
    lock = restore(packages, OTHER_PYTHON, tree=files_of("pure\n"))
    assert versions(lock) == ["back==1.0", "pure==1.0"]
    assert lock.packages[1] == packages[0]  # the record's own, which is here


def test_an_index_that_does_not_answer_is_not_called_empty(
    index: Index, files_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    package = Package(name="six", version="1.0", wheel=_wheel("six", "1.0"))
    message = refusal((package,), tree=files_of("six\n"), allow_newer=True)
    assert "gone from the index" not in message


def test_offline_nothing_is_asked(index: Index, files_of: Any) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    assert refusal((taken(six, "six", "1.0"),), tree=files_of("six\n"), offline=True)
    assert index.requests == []


def test_a_wheel_that_was_built_is_taken_from_the_cache_or_built_from_the_same_source(
    index: Index, files_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.packages import make_sdist

    sdist = index.add(*make_sdist("tool", "1.0"))
    name, data = make_wheel("tool", "1.0")
    sha256, path = keep(name, data)
    source = Source(kind="sdist", name=sdist.filename, sha256=sdist.sha256, built_with=("x==1",))
    wheel = RemoteFile(name=name, sha256=sha256)
    package = Package(name="tool", version="1.0", wheel=wheel, source=source)
    assert restore((package,)).packages == (package,)
    shutil.rmtree(Path(path).parent)

    from reprorun.environment.builds import Built
    from reprorun.environment.wheel_file import read_metadata
    from reprorun.workflow import restore_lock as module

    asked: list[Any] = []

    def build(*_: Any, **fields: Any) -> Any:
        def one(candidate: Any) -> Built:
            asked.append((candidate.sdist.sha256, fields["as_of"]))
            other, content = make_wheel("tool", "1.0", files={"built_again.py": b""})
            digest, where = keep(other, content)
            found = RemoteFile(name=other, sha256=digest, size=len(content))
            return Built(wheel=found, metadata=read_metadata(where), built_with=("x==1",))

        return one

    monkeypatch.setattr(module, "WheelBuilder", build)
    told: list[str] = []

    class Listening(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    kept = record(packages=(package,), requirements="requirements.txt", base_image=BASE)
    engine: Any = None
    lock = restore_lock(kept, BASE, engine, Listening(), Wish(), files_of("tool\n"))
    assert lock.packages[0].source == source
    assert lock.packages[0].wheel.sha256 != sha256
    assert asked == [(sdist.sha256, "2024-03-31")]  # what a build needs is of the record's day
    assert any("came out otherwise" in text for text in told)


def _wheel(name: str, version: str) -> RemoteFile:
    """A wheel that nobody has."""
    file, data = make_wheel(name, version)
    return RemoteFile(name=file, sha256=hashlib.sha256(data).hexdigest())
