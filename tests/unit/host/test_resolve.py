"""Resolving with the real uv against an index of the test's own: what it chooses, what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun.environment.resolve import resolve
from reprorun.environment.uv_answer import Candidate, Resolution, normal_name
from reprorun.environment.uv_settings import settings_files, uv_settings
from reprorun.environment.wheel_file import WheelMetadata
from reprorun.errors import LockFailed, ReprorunError
from reprorun.model import Wanted
from reprorun.toml import parse_toml
from tests.index import Index, make_sdist, make_wheel

from ..conftest import git
from .indexed import ask
from .values import BASE

LINUX = "cp311-cp311-manylinux_2_17_x86_64"


def versions(found: Resolution) -> list[str]:
    return [f"{one.name}=={one.version}" for one in found.candidates]


def refusal(*lines: str, **fields: Any) -> str:
    with pytest.raises(LockFailed) as caught:
        ask(*lines, **fields)
    text = str(caught.value)
    assert "Traceback" not in text
    assert "\x1b" not in text
    return text


def said(version: str = "1.0", *requires: str, **fields: Any) -> WheelMetadata:
    """What a wheel that was built says."""
    given = {"extras": (), "requires_python": None, **fields}
    return WheelMetadata(name="any", version=version, requires=requires, **given)


# ---------------------------------------------------------------- the good case


def test_every_package_with_version_hash_size_and_address(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.16.0"))
    index.add(*make_wheel("six", "1.15.0"))
    tool = index.add(*make_wheel("Some.Tool", "2.0", requires=["six"]))
    found = ask("some_tool")
    assert versions(found) == ["six==1.16.0", "some-tool==2.0"]
    assert [c.wheel for c in found.candidates] == [six.remote, tool.remote]
    assert not any(request.path.endswith(".whl") for request in index.requests)


def test_lines_with_all_that_they_may_have(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("fast", "1.0"))
    index.add(*make_wheel("tool", "1.0", requires=["fast; extra == 'speed'"]))
    index.add(*make_wheel("windows-only", "1.0"))
    found = ask(
        "tool[speed] >= 0.5", "six ; python_version >= '3.8'", "windows-only; os_name == 'nt'"
    )
    # an extra that nobody declares is none; uv warns and goes on
    assert "six==1.0" in versions(found)
    assert "windows-only==1.0" not in versions(found)


def test_constraints_bound_what_comes_in(index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.add(*make_wheel("six", version))
    index.add(*make_wheel("tool", "1.0", requires=["six"]))
    assert versions(ask("tool", constraints=("six<2",))) == ["six==1.0", "tool==1.0"]


def test_exact_lines_add_nothing(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("tool", "1.0", requires=["six"]))
    assert versions(ask("tool==1.0", exact=True)) == ["tool==1.0"]


def test_packages_of_a_day(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"), uploaded="2022-01-01T00:00:00Z")
    index.add(*make_wheel("six", "2.0"), uploaded="2024-01-01T00:00:00Z")
    assert versions(ask("six", as_of="2023-06-01")) == ["six==1.0"]
    assert versions(ask("six", as_of="2024-06-01")) == ["six==2.0"]
    assert "six" in refusal("six", as_of="2021-01-01")


def test_what_was_yanked_is_not_chosen(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("six", "2.0"), yanked=True)
    assert versions(ask("six")) == ["six==1.0"]


def test_a_wheel_for_the_containers_python_and_not_for_the_hosts(index: Index) -> None:
    for minor in range(8, 15):
        tag = f"cp3{minor}-cp3{minor}-manylinux_2_17_x86_64"
        index.add(*make_wheel("fast", "1.0", tag=tag))
    for minor in (8, 10, 14):
        base = msgspec.structs.replace(BASE, python=f"3.{minor}.1")
        (candidate,) = ask("fast", base=base).candidates
        assert candidate.wheel is not None
        assert f"cp3{minor}-" in candidate.wheel.name


def test_a_wheel_by_its_address(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    (candidate,) = ask(f"six @ {six.url}").candidates
    assert (candidate.name, candidate.address) == ("six", six.url)
    assert candidate.wheel is not None
    assert (candidate.wheel.sha256, candidate.wheel.url) == (six.sha256, six.url)


def test_a_wheel_on_the_disk(index: Index, tmp_path: Path) -> None:
    name, data = make_wheel("six", "1.0")
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / name).write_bytes(data)
    (candidate,) = ask(f"./with space/{name}", root=tmp_path).candidates
    assert candidate.wheel is not None
    assert candidate.wheel.name == name
    assert candidate.wheel.url is not None
    from reprorun.environment.fetch import fetch

    paths = fetch([candidate.wheel], offline=True, progress=print)
    assert Path(paths[candidate.wheel.sha256]).read_bytes() == data


def test_a_project_that_uv_reads_itself(index: Index, tmp_path: Path) -> None:
    index.add(*make_wheel("six", "1.0"))
    (tmp_path / "sub").mkdir()
    text = "[project]\nname = 'mine'\nversion = '1'\ndependencies = ['six']\n"
    (tmp_path / "sub/pyproject.toml").write_text(text)
    assert versions(ask(root=tmp_path, project="sub/pyproject.toml")) == ["six==1.0"]


def test_a_directory_of_ones_own(index: Index, tmp_path: Path) -> None:
    index.add(*make_wheel("six", "1.0"))
    (tmp_path / "lib").mkdir()
    text = (
        "[project]\nname = 'lib'\nversion = '1'\ndependencies = ['six']\n"
        "[build-system]\nrequires = ['no-such-thing']\nbuild-backend = 'none'\n"
    )
    (tmp_path / "lib/pyproject.toml").write_text(text)
    found = ask("-e ./lib", root=tmp_path)
    assert versions(found) == ["six==1.0"]
    assert found.directories == (str(tmp_path / "lib"),)


# ---------------------------------------------------------------- what can't be had


def test_a_package_that_does_not_exist(index: Index) -> None:
    text = refusal("no-such-thing")
    assert text.startswith("the packages could not be had: ")
    assert "no-such-thing was not found" in text


def test_a_version_that_does_not_exist(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    assert "six==9" in refusal("six==9")


def test_requirements_that_contradict_each_other(index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.add(*make_wheel("six", version))
    index.add(*make_wheel("old", "1.0", requires=["six<2"]))
    index.add(*make_wheel("new", "1.0", requires=["six>=2"]))
    text = refusal("old", "new")
    assert "six<2" in text
    assert "six>=2" in text
    assert "unsatisfiable" in text


def test_no_release_for_this_python(index: Index) -> None:
    index.add(*make_wheel("new", "1.0", requires_python=">=3.12"), requires_python=">=3.12")
    text = refusal("new")
    assert "3.12" in text
    assert "3.11.2" in text


def test_no_wheel_for_this_python_and_no_source(index: Index) -> None:
    index.add(*make_wheel("fast", "1.0", tag="cp310-cp310-manylinux_2_17_x86_64"))
    text = refusal("fast")
    assert "fast==1.0" in text
    assert "cp310" in text


def test_a_file_that_the_line_does_not_allow(index: Index) -> None:
    six = index.add(*make_wheel("six", "1.0"))
    good, bad = f"--hash=sha256:{six.sha256}", f"--hash=sha256:{'0' * 64}"
    assert versions(ask(f"six==1.0 {good}", exact=True)) == ["six==1.0"]
    assert versions(ask(f"six==1.0 {bad} {good}", exact=True)) == ["six==1.0"]
    text = refusal(f"six==1.0 {bad}", exact=True)
    assert six.sha256 in text or "hash" in text.lower()


def test_of_several_wheels_one_that_the_line_allows(index: Index) -> None:
    plain = index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("six", "1.0", tag=LINUX))
    (candidate,) = ask(f"six==1.0 --hash=sha256:{plain.sha256}", exact=True).candidates
    assert candidate.wheel is not None
    assert candidate.wheel.sha256 == plain.sha256


@pytest.mark.parametrize("line", ["six ==", "???", "-r nowhere.txt", "six; nonsense == 'x'"])
def test_lines_that_are_none(line: str, index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    refusal(line)


def test_an_index_that_is_down(index: Index) -> None:
    index.stop()
    text = refusal("six")
    assert "six" in text
    assert len(text) < 1500


def test_an_index_that_is_down_and_everything_is_known(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    before = ask("six")
    index.stop()
    assert ask("six", offline=True) == before


def test_offline_nothing_is_asked(index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    text = refusal("six", offline=True)
    assert "--offline only what is in the cache" in text
    assert index.requests == []


# ---------------------------------------------------------------- source only


def test_of_a_package_without_wheels_the_source(index: Index) -> None:
    tool = index.add(*make_sdist("tool", "1.0"))
    (candidate,) = ask("tool").candidates
    assert candidate == Candidate(name="tool", version="1.0", sdist=tool.remote)


def test_a_wheel_that_does_not_fit_is_as_good_as_none(index: Index) -> None:
    index.add(*make_wheel("tool", "1.0", tag="cp310-cp310-manylinux_2_17_x86_64"))
    tool = index.add(*make_sdist("tool", "1.0"))
    (candidate,) = ask("tool").candidates
    assert (candidate.wheel, candidate.sdist) == (None, tool.remote)


def test_what_was_built_says_what_it_needs(index: Index) -> None:
    index.add(*make_sdist("tool", "1.0"))
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("fast", "1.0"))
    built = {("tool", said("1.0", "six", "fast; extra == 'speed'", extras=("speed",)))}
    assert versions(ask("tool", built=built)) == ["six==1.0", "tool==1.0"]
    assert versions(ask("tool[speed]", built=built)) == ["fast==1.0", "six==1.0", "tool==1.0"]


def test_a_version_with_a_wheel_goes_before_a_newer_one_with_source_only(index: Index) -> None:
    index.add(*make_wheel("tool", "1.0"))
    index.add(*make_sdist("tool", "2.0"))
    assert versions(ask("tool")) == ["tool==1.0"]
    assert versions(ask("tool>=2")) == ["tool==2.0"]


def test_other_versions_need_not_what_the_built_one_does(index: Index) -> None:
    for version in ("1.0", "2.0"):
        index.add(*make_sdist("tool", version))
    index.add(*make_wheel("six", "1.0"))
    index.add(*make_wheel("bound", "1.0", requires=["tool<2"]))
    built = {("tool", said("2.0", "six"))}
    assert versions(ask("tool", "bound", built=built)) == ["bound==1.0", "tool==1.0"]


def test_an_extra_at_an_address_that_uv_does_not_take(index: Index) -> None:
    index.add(*make_sdist("tool", "1.0"))
    index.add(*make_wheel("six", "1.0"))
    odd = 'far @ https://git@example.invalid/repos/far/tarball/0875192; extra == "dev"'
    built = {("tool", said("1.0", "six", odd, extras=("dev",)))}
    assert versions(ask("tool", built=built)) == ["six==1.0", "tool==1.0"]


def test_a_wheel_that_says_badly_what_it_needs_counts_as_source_only(index: Index) -> None:
    odd = 'far @ https://git@example.invalid/repos/far/tarball/0875192; extra == "dev"'
    index.add(*make_wheel("tool", "1.0", requires=[odd]))
    index.add(*make_sdist("tool", "1.0"))
    (candidate,) = ask("tool").candidates
    assert candidate.wheel is None
    assert candidate.sdist is not None


def test_many_source_only_packages(index: Index) -> None:
    names = [f"p{number}" for number in range(12)]
    for name in names:
        index.add(*make_sdist(name, "1.0"))
    index.add(*make_wheel("all", "1.0", requires=names))
    found = ask("all")
    assert sorted(versions(found)) == sorted([*(f"{n}==1.0" for n in names), "all==1.0"])


def test_a_source_by_its_address(index: Index) -> None:
    tool = index.add(*make_sdist("tool", "1.0"))
    (candidate,) = ask(f"tool @ {tool.url}").candidates
    assert candidate.sdist is not None
    assert (candidate.sdist.sha256, candidate.address) == (tool.sha256, tool.url)


def test_uvs_settings_hold_for_source_only_packages_too(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    text = f'[[index]]\nurl = "{index.url}"\ndefault = true\n'
    (tmp_path / "uv.toml").write_text(text + 'constraint-dependencies = ["six<2"]\n')
    (tmp_path / "uv.toml").write_text('constraint-dependencies = ["six<2"]\n' + text)
    index.add(*make_sdist("tool", "1.0"))
    for version in ("1.0", "2.0"):
        index.add(*make_wheel("six", version))
    built = {("tool", said("1.0", "six"))}
    assert versions(ask("tool", "six", root=tmp_path, built=built)) == ["six==1.0", "tool==1.0"]


# ---------------------------------------------------------------- git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A package in git that leaves a trace where it is run."""
    root = tmp_path / "tool.git"
    (root / "sub").mkdir(parents=True)
    trace = f"open({str(tmp_path / 'trace')!r}, 'w').close()\n"
    for name in (".", "sub"):
        (root / name / "setup.py").write_text(
            f"{trace}from setuptools import setup\nsetup(name='tool', version='3.0')\n"
        )
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    git(root, "tag", "v3")
    return root


@pytest.mark.parametrize("revision", ["", "@main", "@v3"])
@pytest.mark.parametrize("below", ["", "#subdirectory=sub"])
def test_a_repository_is_pinned_to_its_commit(
    revision: str, below: str, repository: Path, index: Index, tmp_path: Path
) -> None:
    (candidate,) = ask(f"tool @ git+{repository.as_uri()}{revision}{below}").candidates
    assert candidate.git is not None
    assert candidate.git.commit == git(repository, "rev-parse", "HEAD")
    assert candidate.git.url == repository.as_uri()
    assert candidate.git.subdirectory == ("sub" if below else "")
    assert not (tmp_path / "trace").exists()


def test_a_branch_that_has_gone(repository: Path, index: Index) -> None:
    assert "nowhere" in refusal(f"tool @ git+{repository.as_uri()}@nowhere")


def test_what_a_repository_needs_once_it_is_built(repository: Path, index: Index) -> None:
    index.add(*make_wheel("six", "1.0"))
    line = f"tool @ git+{repository.as_uri()}"
    found = ask(line, built={("tool", said("3.0", "six"))})
    assert [candidate.name for candidate in found.candidates] == ["six", "tool"]


def test_nothing_of_a_package_is_run(index: Index, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    index.add(*make_sdist("one", "1.0", setup_py=f"open({str(trace)!r}, 'w')\n"))
    backend = f"def __getattr__(name): open({str(trace)!r}, 'w')\n"
    own = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    files = {"own.py": backend.encode()}
    two = index.add(*make_sdist("two", "1.0", pyproject=own, files=files))
    ask("one", f"two @ {two.url}")
    assert not trace.exists()


# ---------------------------------------------------------------- secrets


def test_a_login_of_the_index_is_not_in_the_answer(guarded: Index) -> None:
    guarded.add(*make_wheel("six", "1.0"))
    guarded.add(*make_sdist("tool", "1.0"))
    found = ask("six", "tool")
    assert len(found.candidates) == 2
    assert "s3cret" not in str(found)


def test_a_login_is_not_in_what_went_wrong(guarded: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3cret" not in refusal("no-such-thing")
    monkeypatch.setenv("UV_DEFAULT_INDEX", guarded.url_with_login.replace("s3cret", "wr0ng"))
    text = refusal("six")
    assert "wr0ng" not in text
    assert "401" in text or "six" in text
    guarded.stop()
    assert "wr0ng" not in refusal("six")


# ---------------------------------------------------------------- settings and names


def test_uvs_settings_are_found_as_uv_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("UV_NO_CONFIG", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    own, deep = tmp_path / "project/pyproject.toml", tmp_path / "project/a/b"
    deep.mkdir(parents=True)
    (tmp_path / "config/uv").mkdir(parents=True)
    (tmp_path / "config/uv/uv.toml").write_text('resolution = "lowest"\nprerelease = "allow"\n')
    own.write_text('[tool.uv]\nresolution = "highest"\n[tool.uv.sources]\nx = {path = "y"}\n')
    assert uv_settings(str(deep)) == {"resolution": "highest", "prerelease": "allow"}
    assert settings_files(str(deep))[-1] == str(own)
    (deep / "uv.toml").write_text('resolution = "lowest-direct"\n')
    assert uv_settings(str(deep))["resolution"] == "lowest-direct"
    monkeypatch.setenv("UV_CONFIG_FILE", str(own.parent / "other.toml"))
    (own.parent / "other.toml").write_text('index-strategy = "unsafe-best-match"\n')
    assert uv_settings(str(deep)) == {"index-strategy": "unsafe-best-match"}
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    assert uv_settings(str(deep)) == {}


def test_settings_survive_being_written_for_uv(tmp_path: Path) -> None:
    from reprorun.environment.resolve import _toml

    text = (
        'a = "quote \\" and \\\\ \\n \\u00e9"\nb = [1, 2.5, true]\nc = 2024-03-31T12:00:00Z\n'
        '[d]\n"odd key" = {x = [{y = "z"}]}\n'
    )
    found = parse_toml(text, "text")
    written = "".join(f"{key} = {_toml(value)}\n" for key, value in found.items())
    assert parse_toml(written, "written") == found


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Some_Tool>=1", "some-tool"),
        ("some..tool[x]", "some-tool"),
        (" six ; python_version>'3'", "six"),
        ("six@ https://a.invalid/x.whl", "six"),
        ("-e .", ""),
        ("", ""),
    ],
)
def test_names_as_indexes_compare_them(line: str, name: str) -> None:
    assert normal_name(line) == name


def test_a_wanted_nothing_is_nothing(index: Index) -> None:
    found = resolve(Wanted(), "/", BASE, {}, as_of=None, offline=False)
    assert found == Resolution(candidates=())
    with pytest.raises(ReprorunError):
        resolve(Wanted(project="gone.toml"), "/", BASE, {}, as_of=None, offline=False)


# ---------------------------------------------------------------- files of somebody else's


def test_settings_of_somebody_else_decide_nothing_on_this_host(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.delenv("UV_CACHE_DIR")
    index.add(*make_wheel("six", "1.0"))
    planted = tmp_path / "planted"
    text = (
        f'cache-dir = "{planted}"\nkeyring-provider = "subprocess"\n'
        f'allow-insecure-host = ["example.invalid"]\nfind-links = ["{tmp_path}"]\n'
        f'[[index]]\nurl = "{index.url}"\ndefault = true\n'
    )
    (tmp_path / "uv.toml").write_text(text)
    own, foreign = (uv_settings(str(tmp_path), foreign=each) for each in (False, True))
    assert {"keyring-provider", "allow-insecure-host", "find-links", "index"} <= set(own)
    assert set(foreign) == {"index"}
    assert versions(ask("six", root=tmp_path, foreign=True)) == ["six==1.0"]
    assert not planted.exists()
    ask("six", root=tmp_path)
    assert planted.exists()  # as the user's own says
