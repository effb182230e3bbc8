"""Locks: what is in them, what they are remembered by, and what can't be locked."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files
from reprorun.environment.builds import Built
from reprorun.environment.fetch import fetch, keep
from reprorun.environment.lock import Request, make_lock
from reprorun.environment.lock_text import lock_text
from reprorun.environment.uv_answer import Candidate
from reprorun.environment.wheel_file import read_metadata
from reprorun.errors import LockFailed, ReprorunError, UsageError
from reprorun.model import GitSource, Lock, Pinned, RemoteFile, Wanted
from tests.index import Index, Served, make_sdist, make_wheel

from ..conftest import git
from .indexed import ask
from .values import BASE

OTHER = "cp310-cp310-manylinux_2_17_x86_64"


class Builder:
    """Stands in for the container: hands out ready wheels, and remembers what was asked."""

    def __init__(self, *wheels: tuple[str, bytes]) -> None:
        self.wheels = {name.split("-")[0].replace("_", "-"): (name, data) for name, data in wheels}
        self.asked: list[Candidate] = []

    def __call__(self, candidate: Candidate) -> Built:
        self.asked.append(candidate)
        name, data = self.wheels[candidate.name]
        sha256, path = keep(name, data)
        wheel = RemoteFile(name=name, sha256=sha256, size=len(data))
        return Built(wheel=wheel, metadata=read_metadata(path), built_with=("setuptools==1",))


def nothing_to_build(candidate: Candidate) -> Built:
    raise AssertionError(candidate)


def request(*lines: str, **fields: Any) -> Request:
    """What is needed; `wanted` takes the place of the lines."""
    given: dict[str, Any] = {
        "wanted": Wanted(lines=lines), "root": "/", "base": BASE, "source": "requirements.txt",
    }  # fmt: skip
    return Request(**{**given, **fields})


def lock(*lines: str, build: Any = nothing_to_build, fresh: bool = False, **fields: Any) -> Lock:
    return make_lock(request(*lines, **fields), build, fresh=fresh)


def pinned(*packages: Pinned, **fields: Any) -> Wanted:
    return Wanted(pinned=packages, **fields)


def versions(found: Lock) -> list[str]:
    return [f"{one.name}=={one.version}" for one in found.packages]


def refusal(*lines: str, **fields: Any) -> str:
    with pytest.raises(ReprorunError) as caught:
        lock(*lines, **fields)
    return str(caught.value)


# ---------------------------------------------------------------- what is in it


def test_a_lock(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.16.0"))
    index.add(*make_wheel("Some.Tool", "2.0", requires=["six"]))
    found = lock("some_tool")
    assert versions(found) == ["six==1.16.0", "some-tool==2.0"]
    assert found.packages[0].wheel == six.remote
    assert found.source == "requirements.txt"
    assert not found.cached
    assert found.resolved.endswith("+00:00")
    assert found.packages[0].source is None


def test_nothing_needed_nothing_asked(index: Index) -> None:
    assert lock() == Lock(source="requirements.txt")
    assert lock(wanted=Wanted(paths=("src",)), source=None) == Lock(paths=("src",))
    assert index.requests == []


def test_a_version_that_needs_what_there_is_not_gives_way_to_an_older_one(index: Index) -> None:
    for version in ("1.0", "2.0", "3.0"):
        index.add(*make_sdist("tool", version))
    needs = {"1.0": (), "2.0": ("nowhere",), "3.0": ("nowhere>2",)}

    def build(candidate: Candidate) -> Built:
        name, data = make_wheel("tool", candidate.version, requires=needs[candidate.version])
        sha256, path = keep(name, data)
        wheel = RemoteFile(name=name, sha256=sha256, size=len(data))
        return Built(wheel=wheel, metadata=read_metadata(path), built_with=())

    assert versions(lock("tool", build=build)) == ["tool==1.0"]


def test_what_is_added(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("cloudpickle", "3.0"))
    assert versions(lock("six", extra=("cloudpickle==3.0",))) == ["cloudpickle==3.0", "six==1.0"]
    assert versions(lock(extra=("cloudpickle",))) == ["cloudpickle==3.0"]


def test_notes_and_paths_of_what_was_read_stay(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    found = lock(wanted=Wanted(lines=("six",), paths=("lib",), notes=("one",)))
    assert (found.paths, found.notes) == (("lib",), ("one",))


def test_places_of_local_projects(index: Index, tmp_path: Path) -> None:
    index.add(*make_wheel("six", "1.0"))
    for name in ("flat", "with_src/src"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("flat", "with_src"):
        text = f"[project]\nname = '{name}'\nversion = '1'\ndependencies = ['six']\n"
        (tmp_path / name / "pyproject.toml").write_text(text)
    found = lock("-e ./flat", "./with_src", root=str(tmp_path))
    assert found.paths == ("flat", "with_src/src")
    assert versions(found) == ["six==1.0"]


def test_a_local_project_outside_the_repository(index: Index, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "other").mkdir()
    text = "[project]\nname = 'other'\nversion = '1'\n"
    (tmp_path / "other/pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match="outside the repository"):
        lock("../other", root=str(tmp_path / "root"))


# ---------------------------------------------------------------- remembered


def test_the_same_is_not_asked_again(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    first = lock("six")
    index.stop()
    again = lock("six", source="other.txt", offline=True)
    assert again == msgspec.structs.replace(first, cached=True, source="other.txt")


def test_fresh_asks_again(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    lock("six")
    index.add(*make_wheel("six", "2.0"))
    assert versions(lock("six")) == ["six==1.0"]
    # uv keeps what an index said for some minutes, unless it says otherwise
    found = lock("six", fresh=True)
    assert not found.cached
    assert versions(found) == ["six==2.0"]
    assert versions(lock("six")) == ["six==2.0"]


@pytest.mark.parametrize(
    "changed",
    [
        {"as_of": "2024-03-31"},
        {"base": msgspec.structs.replace(BASE, python="3.12.1")},
        {"base": msgspec.structs.replace(BASE, python="3.11.9")},  # markers see it
        {"base": msgspec.structs.replace(BASE, libc="glibc 2.28")},
        {"wanted": Wanted(lines=("six", "six>0"))},
        {"wanted": Wanted(lines=("six",), constraints=("six>0",))},
        {"wanted": Wanted(lines=("six",), options=("--prerelease", "allow"))},
        {"extra": ("six>0",)},
    ],
)
def test_what_asks_again(changed: dict[str, Any], index: Index) -> None:
    index.add(*make_wheel("six", "1.0"), uploaded="2020-01-01T00:00:00Z")
    lock("six")
    assert not lock("six", **changed).cached
    assert lock("six", **changed).cached
    assert lock("six").cached


@pytest.mark.parametrize(
    "same",
    [
        {"base": msgspec.structs.replace(BASE, id="other", digest="other", ref="other")},
        {"source": "other.txt"},
        {"offline": True},
    ],
)
def test_what_does_not(same: dict[str, Any], index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    lock("six")
    assert lock("six", **same).cached


def test_a_variable_of_uv_asks_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(*make_wheel("six", "1.0"))
    lock("six")
    monkeypatch.setenv("UV_PRERELEASE", "allow")
    assert not lock("six").cached
    monkeypatch.setenv("OTHER", "x")
    assert lock("six").cached


@pytest.mark.parametrize("place", ["project/uv.toml", "config/uv/uv.toml"])
def test_a_setting_of_uv_asks_again(place: str, index: Index, tmp_path: Path) -> None:
    index.add(*make_wheel("six", "1.0"))
    root = tmp_path / "project"
    root.mkdir()
    given: dict[str, Any] = {"root": str(root)}
    lock("six", **given)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text('prerelease = "allow"\n')
    assert not lock("six", **given).cached
    assert lock("six", **given).cached


def test_a_file_that_uv_reads_itself_asks_again(index: Index, tmp_path: Path) -> None:
    index.add(*make_wheel("six", "1.0"))
    path = tmp_path / "pyproject.toml"
    text = "[project]\nname = 'mine'\nversion = '1'\ndependencies = ['six']\n"
    path.write_text(text)
    given: dict[str, Any] = {
        "wanted": Wanted(project="pyproject.toml"),
        "root": str(tmp_path),
        "projects": ("pyproject.toml",),
    }
    assert versions(lock(**given)) == ["six==1.0"]
    path.write_text(text + "# changed\n")
    assert not lock(**given).cached
    path.unlink()
    with pytest.raises(UsageError, match=r"pyproject\.toml can't be read"):
        lock(**given)


def test_what_failed_is_not_remembered(index: Index) -> None:
    refusal("six")
    index.add(*make_wheel("six", "1.0"))
    assert not lock("six", fresh=True).cached
    assert os.listdir(files.cache_directory("locks")) != []


@pytest.mark.parametrize(
    "kept", [b"", b"{", b"[]", b"null", b'{"packages": 1}', b'{"packages": [{}]}', b"\xff" * 90]
)
def test_what_was_kept_badly_is_asked_for_again(kept: bytes, index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    first = lock("six")
    (name,) = os.listdir(files.cache_directory("locks"))
    Path(files.cache_directory("locks"), name).write_bytes(kept)
    found = lock("six")
    assert found.packages == first.packages
    assert not found.cached
    assert lock("six").cached


def test_several_at_once(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    found: list[Lock] = []
    threads = [threading.Thread(target=lambda: found.append(lock("six"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.packages for one in found}) == 1
    assert len(found) == 4


# ---------------------------------------------------------------- source only


def test_what_has_only_source_is_built(index: Index) -> None:
    sdist = index.add(*make_sdist("tool", "1.0"))
    index.add(*make_wheel("six", "1.0"))
    build = Builder(make_wheel("tool", "1.0", requires=["six"]))
    found = lock("tool", build=build)
    assert versions(found) == ["six==1.0", "tool==1.0"]
    assert build.asked == [Candidate(name="tool", version="1.0", sdist=sdist.remote)]
    tool = found.packages[1]
    assert tool.wheel.name == "tool-1.0-py3-none-any.whl"
    assert tool.source is not None
    assert (tool.source.kind, tool.source.sha256) == ("sdist", sdist.sha256)
    assert tool.source.built_with == ("setuptools==1",)
    assert lock("tool").cached  # nothing is built again


def test_extras_of_what_was_built(index: Index) -> None:
    index.add(*make_sdist("tool", "1.0"))
    index.add(*make_wheel("fast", "1.0"))
    name, data = make_wheel("tool", "1.0", requires=["fast; extra == 'speed'"])
    data = with_extra(data, "speed")
    assert versions(lock("tool", build=Builder((name, data)))) == ["tool==1.0"]
    found = lock("tool[speed]", build=Builder((name, data)))
    assert versions(found) == ["fast==1.0", "tool==1.0"]


def with_extra(data: bytes, extra: str) -> bytes:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("METADATA"):
                text += f"Provides-Extra: {extra}\n".encode()
            new.writestr(name, text)
    return out.getvalue()


def test_two_that_need_each_other(index: Index) -> None:
    for name in ("one", "two"):
        index.add(*make_sdist(name, "1.0"))
    build = Builder(
        make_wheel("one", "1.0", requires=["two"]), make_wheel("two", "1.0", requires=["one"])
    )
    assert versions(lock("one", build=build)) == ["one==1.0", "two==1.0"]
    assert sorted(candidate.name for candidate in build.asked) == ["one", "two"]


def test_a_chain_of_source_only_packages(index: Index) -> None:
    wheels = []
    for number in range(5):
        index.add(*make_sdist(f"p{number}", "1.0"))
        needs = [f"p{number + 1}"] if number < 4 else []
        wheels.append(make_wheel(f"p{number}", "1.0", requires=needs))
    build = Builder(*wheels)
    assert versions(lock("p0", build=build)) == [f"p{n}==1.0" for n in range(5)]
    assert len(build.asked) == 5


def test_what_was_built_needs_another_version_of_what_was_chosen(index: Index) -> None:
    index.add(*make_sdist("tool", "1.0"))
    for version in ("1.0", "2.0"):
        index.add(*make_wheel("six", version))
    build = Builder(make_wheel("tool", "1.0", requires=["six<2"]))
    assert versions(lock("tool", "six", build=build)) == ["six==1.0", "tool==1.0"]


def test_what_was_built_needs_what_can_not_be_had(index: Index) -> None:
    index.add(*make_sdist("tool", "1.0"))
    build = Builder(make_wheel("tool", "1.0", requires=["no-such-thing"]))
    assert "no-such-thing" in refusal("tool", build=build)


def test_a_build_that_fails_ends_it(index: Index) -> None:
    index.add(*make_sdist("tool", "1.0"))

    def fail(candidate: Candidate) -> Built:
        raise LockFailed("no compiler")

    assert refusal("tool", build=fail) == "no compiler"
    assert os.listdir(files.cache_directory("locks")) == []


def test_exact_lines_that_have_only_source(index: Index) -> None:
    sdist = index.add(*make_sdist("tool", "1.0"))
    build = Builder(make_wheel("tool", "1.0", requires=["not-in-the-lock"]))
    line = f"tool==1.0 --hash=sha256:{sdist.sha256}"
    found = lock(wanted=Wanted(lines=(line,), exact=True), build=build)
    assert versions(found) == ["tool==1.0"]


# ---------------------------------------------------------------- git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "tool.git"
    (root / "sub").mkdir(parents=True)
    for name in (".", "sub"):
        trace = f"open({str(tmp_path / 'trace')!r}, 'w').close()\n"
        (root / name / "setup.py").write_text(trace)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def test_a_repository_is_pinned_to_its_commit(
    repository: Path, index: Index, tmp_path: Path
) -> None:
    index.add(*make_wheel("six", "1.0"))
    commit = git(repository, "rev-parse", "HEAD")
    build = Builder(make_wheel("tool", "3.0", requires=["six"]))
    line = f"tool @ git+{repository.as_uri()}@main#subdirectory=sub"
    found = lock(line, build=build)
    assert versions(found) == ["six==1.0", "tool==3.0"]
    tool = found.packages[1]
    assert tool.address == repository.as_uri()
    assert tool.source is not None
    assert (tool.source.kind, tool.source.commit) == ("git", commit)
    assert tool.source.subdirectory == "sub"
    assert not (tmp_path / "trace").exists()
    wanted = f"tool @ git+{repository.as_uri()}@{commit}#subdirectory=sub\n    # built from source:"
    assert wanted in lock_text(found)


def test_a_repository_in_a_lock_file(repository: Path, index: Index) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    source = GitSource(url=repository.as_uri(), commit=commit)
    build = Builder(make_wheel("tool", "3.0"))
    wanted = pinned(Pinned(name="tool", version="", git=source))
    assert versions(lock(wanted=wanted, build=build)) == ["tool==3.0"]
    assert build.asked[0].git == source
    assert index.requests == []


# ---------------------------------------------------------------- lock files


def pin(*served: Served, url: bool = True, version: str = "1.0") -> Pinned:
    found = tuple(each.remote for each in served)
    if not url:
        found = tuple(msgspec.structs.replace(file, url=None, size=None) for file in found)
    name = found[0].name.split("-")[0].replace("_", "-")
    return Pinned(name=name, version=version, files=found)


def test_pinned_files_with_addresses_are_not_asked_for(index: Index) -> None:
    six, tool = (index.add(*make_wheel(name, "1.0")) for name in ("six", "tool"))
    found = lock(wanted=pinned(pin(tool), pin(six)))
    assert [package.wheel for package in found.packages] == [six.remote, tool.remote]
    assert index.requests == []


def test_pinned_files_without_addresses_are_looked_up(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("six", "2.0"))
    tool = index.add(*make_wheel("tool", "1.0", requires=["not-in-the-lock"]))
    found = lock(wanted=pinned(pin(six, url=False), pin(tool, url=False)))
    assert [package.wheel for package in found.packages] == [six.remote, tool.remote]


def test_of_pinned_files_the_best_that_fits(index: Index) -> None:
    plain = index.add(*make_wheel("six", "1.0"))
    other = index.add(*make_wheel("six", "1.0", tag=OTHER))
    best = index.add(*make_wheel("six", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64"))
    older = index.add(*make_wheel("six", "1.0", tag="cp311-cp311-manylinux_2_17_x86_64"))
    sdist = index.add(*make_sdist("six", "1.0"))
    everything = (sdist, plain, other, older, best)
    for url in (True, False):
        found = lock(wanted=pinned(pin(*everything, url=url)))
        assert found.packages[0].wheel.name == best.filename
    found = lock(wanted=pinned(pin(sdist, plain, other, url=False)))
    assert found.packages[0].wheel.name == plain.filename


def test_pinned_files_that_are_in_the_cache_need_no_address(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    fetch([six.remote], offline=False, progress=print)
    index.stop()
    found = lock(wanted=pinned(pin(six, url=False)), offline=True)
    assert versions(found) == ["six==1.0"]


def test_a_pinned_source_is_built(index: Index) -> None:
    tool = index.add(*make_sdist("tool", "1.0"))
    other = index.add(*make_wheel("tool", "1.0", tag=OTHER))
    for url in (True, False):
        build = Builder(make_wheel("tool", "1.0", requires=["not-in-the-lock"]))
        found = lock(wanted=pinned(pin(other, tool, url=url)), build=build)
        assert versions(found) == ["tool==1.0"]
        assert build.asked[0].sdist == tool.remote


def test_no_file_of_a_lock_fits(index: Index) -> None:
    fast = index.add(*make_wheel("fast", "1.0", tag=OTHER))
    text = refusal(wanted=pinned(pin(fast)), source="uv.lock")
    for word in ("fast 1.0", "Python 3.11", "x86_64", "uv.lock", fast.filename, "--python"):
        assert word in text
    nothing = Pinned(name="x", version="1")
    assert "no file at all" in refusal(wanted=pinned(nothing), source="uv.lock")


def test_the_index_has_another_file_than_the_lock(index: Index) -> None:
    name, data = make_wheel("six", "1.0")
    index.add(name, data)
    other = RemoteFile(name=name, sha256="0" * 64)
    text = refusal(wanted=pinned(Pinned(name="six", version="1.0", files=(other,))))
    assert "six 1.0: the index has six-1.0-py3-none-any.whl with sha256" in text
    assert "none of them is allowed by the hashes" in text


def test_the_index_has_not_what_the_lock_names(index: Index) -> None:
    gone = RemoteFile(name="six-1.0-py3-none-any.whl", sha256="0" * 64)
    assert "six" in refusal(wanted=pinned(Pinned(name="six", version="1.0", files=(gone,))))


def test_what_is_added_to_a_lock_file(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    pickle = index.add(*make_wheel("cloudpickle", "3.0"))
    index.add(*make_wheel("cloudpickle", "4.0"))
    found = lock(wanted=pinned(pin(six)), extra=("cloudpickle==3.0",))
    assert versions(found) == ["cloudpickle==3.0", "six==1.0"]
    # what the lock has already is not doubled
    both = pinned(pin(six), pin(pickle, version="3.0"))
    assert versions(lock(wanted=both, extra=("cloudpickle",))) == ["cloudpickle==3.0", "six==1.0"]


def test_a_lock_file_that_pins_nothing(index: Index) -> None:
    assert lock(wanted=pinned()).packages == ()


@pytest.mark.parametrize("name", ["../../evil.whl", "six-1.0-py3-none-any.whl/../x", "a\0b.whl"])
def test_a_hostile_name_in_a_lock_file(name: str, index: Index) -> None:
    file = RemoteFile(name=name, sha256="0" * 64)
    refusal(wanted=pinned(Pinned(name="six", version="1.0", files=(file,))))


# ---------------------------------------------------------------- without the index


def test_an_index_that_is_down_and_everything_is_known(index: Index, tmp_path: Path) -> None:
    index.add(*make_wheel("six", "1.0"))
    lock("six")
    index.stop()
    assert lock("six").cached
    assert lock("six", offline=True).cached


def test_an_index_that_is_down_says_what_is_missing(index: Index) -> None:
    index.stop()
    text = refusal("six")
    assert "six" in text
    assert "Traceback" not in text


def test_offline_says_what_is_missing(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    text = refusal("six", offline=True)
    assert "six" in text
    assert "--offline" in text
    assert index.requests == []


# ---------------------------------------------------------------- secrets


def everywhere(found: Lock) -> str:
    """The lock in every form in which it is kept."""
    return "\n".join([str(found), shared(found)])


def shared(found: Lock) -> str:
    """What others may see of it: its text, and what the cache lets them read."""
    place = Path(files.cache_directory("locks"))
    open_to_others = [path for path in place.iterdir() if path.stat().st_mode & 0o077]
    return "\n".join([lock_text(found), *(p.read_text() + p.name for p in open_to_others)])


def test_the_login_of_an_index_is_in_no_lock(guarded: Index) -> None:
    guarded.add(*make_wheel("six", "1.0"))
    guarded.add(*make_sdist("tool", "1.0"))
    found = lock("six", "tool", build=Builder(make_wheel("tool", "1.0")))
    assert versions(found) == ["six==1.0", "tool==1.0"]
    assert "s3cret" not in everywhere(found)
    wheels = [package.wheel for package in found.packages]
    assert len(fetch(wheels, offline=False, progress=print)) == 2  # and yet it can be fetched


def test_the_login_of_an_address_is_nothing_that_others_see(guarded: Index) -> None:
    six = guarded.add(*make_wheel("six", "1.0"))
    tool = guarded.add(*make_sdist("tool", "1.0"))
    lines = [
        f"{served.filename.split('-')[0]} @ {served.url.replace('://', '://user:s3cret@')}"
        for served in (six, tool)
    ]
    found = lock(*lines, build=Builder(make_wheel("tool", "1.0")))
    assert versions(found) == ["six==1.0", "tool==1.0"]
    assert "s3cret" not in shared(found)


def test_the_login_of_a_lock_files_address_is_nothing_that_others_see(guarded: Index) -> None:
    six = guarded.add(*make_wheel("six", "1.0"))
    file = msgspec.structs.replace(six.remote, url=six.url.replace("://", "://user:s3cret@"))
    found = lock(wanted=pinned(Pinned(name="six", version="1.0", files=(file,))))
    assert "s3cret" not in shared(found)


def test_the_login_of_a_repository_is_in_no_lock(index: Index) -> None:
    url = "https://user:s3cret@git.invalid/tool.git"
    source = GitSource(url=url, commit="0" * 40)
    build = Builder(make_wheel("tool", "3.0"))
    found = lock(wanted=pinned(Pinned(name="tool", version="", git=source)), build=build)
    assert build.asked[0].git == source
    assert "s3cret" not in everywhere(found)
    assert "git+https://git.invalid/tool.git@" in lock_text(found)


def test_a_login_is_in_no_error(guarded: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3cret" not in refusal("no-such-thing")
    guarded.stop()
    assert "s3cret" not in refusal("six")
    url = guarded.url_with_login.replace("/simple/", "/files/six-1.0-py3-none-any.whl")
    assert "s3cret" not in refusal(f"six @ {url}")


# ---------------------------------------------------------------- as text


def text_of(*lines: str, **fields: Any) -> str:
    return lock_text(lock(*lines, **fields))


def test_the_text_is_what_uv_reads_back(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("tool", "2.0", requires=["six"]))
    found = lock("tool")
    text = lock_text(found)
    assert text.count("--hash=sha256:") == 2
    lines = text.replace("\\\n", " ").splitlines()
    again = ask(*lines, exact=True)
    assert [c.wheel for c in again.candidates] == [package.wheel for package in found.packages]
    assert lock_text(lock(wanted=Wanted(lines=tuple(lines), exact=True))) == text


def test_what_has_an_address_is_named_by_it(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    assert text_of(f"six @ {six.url}") == f"six @ {six.url} \\\n    --hash=sha256:{six.sha256}\n"


def test_what_was_built_is_named_by_its_source(index: Index) -> None:
    sdist = index.add(*make_sdist("tool", "1.0"))
    name, data = make_wheel("tool", "1.0")
    text = text_of("tool", build=Builder((name, data)))
    first, second, third = text.splitlines()
    assert (first, second) == ("tool==1.0 \\", f"    --hash=sha256:{sdist.sha256}")
    assert third.startswith(f"    # built from source: {name} sha256:")


def test_the_same_lock_at_another_time_has_the_same_text(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    first = lock("six")
    assert lock_text(lock("six", fresh=True)) == lock_text(first)


def test_an_empty_lock_is_an_empty_text() -> None:
    assert lock_text(Lock()) == ""
