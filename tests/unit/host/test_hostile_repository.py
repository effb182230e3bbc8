"""Repositories that name programs for git to run: none of them is run on the host.

Each test first shows that plain git would have run something.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reprorun.environment.source import check_out
from reprorun.errors import LockFailed
from reprorun.experiment.repository import describe, find_root, list_tree
from reprorun.model import GitSource
from reprorun.probe.code import find_code

from ..conftest import MakeRepository, git

FILES = {
    "train.py": "print(1)\n",
    "data.txt": "1\n",
    ".gitattributes": "*.txt filter=evil diff=evil\n",
}
PROGRAMS = (
    "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "core.fsmonitor",
    "core.pager", "pager.status", "pager.ls-files", "diff.external", "diff.evil.textconv",
    "diff.evil.command", "core.sshCommand", "core.askPass", "core.editor", "credential.helper",
    "uploadpack.packObjectsHook", "gpg.program", "merge.evil.driver", "core.alternateRefsCommand",
)  # fmt: skip
HOOKS = ("post-checkout", "pre-commit", "post-index-change", "fsmonitor-watchman", "post-merge",
         "reference-transaction", "pre-auto-gc", "update", "pre-receive")  # fmt: skip


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """What every program would make."""
    return tmp_path / "planted"


@pytest.fixture
def hostile(repository: MakeRepository, planted: Path) -> Path:
    """A repository with a program at every setting, and a file that looks changed."""
    root = repository(FILES)
    for key in PROGRAMS:
        git(root, "config", key, f"sh -c 'echo {key} >> {planted}; cat'")
    git(root, "config", "filter.evil.required", "true")
    git(root, "config", "alias.status", f"!touch {planted}")
    hooks = root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        (hooks / name).write_text(f"#!/bin/sh\necho {name} >> {planted}\n")
        (hooks / name).chmod(0o755)
    planted.unlink(missing_ok=True)
    os.utime(root / "data.txt", (1, 1))  # git has to look into it
    return root


def plain_git(root: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)


def test_plain_git_would_run_them(hostile: Path, planted: Path) -> None:
    plain_git(hostile, "status")
    assert "filter.evil.process" in planted.read_text()


def test_questions_about_the_working_tree(hostile: Path, planted: Path) -> None:
    assert find_root(str(hostile / "train.py")) == str(hostile)
    found = describe(str(hostile))
    assert found.commit
    assert not found.dirty
    (hostile / "data.txt").write_text("2\n")
    assert describe(str(hostile)).dirty
    assert "data.txt" in list_tree(str(hostile)).files
    find_code("train.py", str(hostile))
    assert not planted.exists()


def test_filters_of_an_included_file_and_of_odd_names(
    repository: MakeRepository, planted: Path
) -> None:
    root = repository({"a.txt": "1\n", ".gitattributes": "a.txt filter=a.b=c\n"})
    (root / ".git/more").write_text(f'[filter "a.b=c"]\n\tclean = "touch {planted}; cat"\n')
    git(root, "config", "include.path", "more")
    os.utime(root / "a.txt", (1, 1))
    assert not describe(str(root)).dirty
    assert not planted.exists()
    plain_git(root, "status")
    assert planted.exists()


def test_filters_of_the_user_stay(
    repository: MakeRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one, a working tree is clean that differs from the commit only in what it filters."""
    settings = tmp_path / "gitconfig"
    settings.write_text('[filter "upper"]\n\tclean = "tr a-z A-Z"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    root = repository({"a.txt": "abc\n", ".gitattributes": "a.txt filter=upper\n"})
    os.utime(root / "a.txt", (1, 1))
    assert not describe(str(root)).dirty
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert describe(str(root)).dirty


def test_a_submodule_that_brings_its_own(
    repository: MakeRepository, tmp_path: Path, planted: Path
) -> None:
    root = repository({"train.py": "1\n"})
    inner = root / "inner"
    inner.mkdir()
    (inner / "a.txt").write_text("1\n")
    (inner / ".gitattributes").write_text("* filter=evil\n")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x")):
        git(inner, *words)
    git(root, "add", "inner")
    git(inner, "config", "filter.evil.clean", f"touch {planted}; cat")
    git(inner, "config", "core.fsmonitor", f"touch {planted}; cat")
    os.utime(inner / "a.txt", (1, 1))
    assert find_code("train.py", str(root)).submodules
    assert not planted.exists()


# ---------------------------------------------------------------- a clone (`--repo`, packages)


def test_a_commit_of_a_repository_that_is_not_ones_own(
    hostile: Path, planted: Path, tmp_path: Path
) -> None:
    commit = git_quiet(hostile, "rev-parse", "HEAD")
    place = tmp_path / "clone"
    check_out(GitSource(url=str(hostile), commit=commit), str(place), offline=False)
    assert (place / "data.txt").read_text() == "1\n"
    find_code(str(place / "train.py"), str(place))
    assert not planted.exists()


@pytest.mark.parametrize(
    "address",
    ["ext::sh -c touch% {planted}", "--upload-pack=touch {planted}", "-u touch {planted}",
     "ssh://-oProxyCommand=touch%20{planted}/x", "fd::17"],
)  # fmt: skip
def test_addresses_that_are_programs(address: str, planted: Path, tmp_path: Path) -> None:
    source = GitSource(url=address.format(planted=planted), commit="0" * 40)
    with pytest.raises(LockFailed):
        check_out(source, str(tmp_path / "clone"), offline=False)
    assert not planted.exists()


@pytest.mark.parametrize(
    "address", ["ext::sh -c touch% {planted}", "ssh://-oProxyCommand=touch%20{planted}/x"]
)
def test_submodules_whose_address_is_a_program(
    repository: MakeRepository, address: str, planted: Path, tmp_path: Path
) -> None:
    root = repository({
        "train.py": "1\n",
        ".gitmodules": f'[submodule "a"]\n\tpath = a\n\turl = {address.format(planted=planted)}\n',
    })  # fmt: skip
    commit = git(root, "rev-parse", "HEAD")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{commit},a")
    git(root, "commit", "-qm", "submodule")
    source = GitSource(url=str(root), commit=git(root, "rev-parse", "HEAD"))
    with pytest.raises(LockFailed):
        check_out(source, str(tmp_path / "clone"), offline=False)
    assert not planted.exists()


@pytest.mark.parametrize("name", ["..", "../../x", ".git/hooks", ".git"])
def test_submodules_whose_name_or_path_leads_elsewhere(
    repository: MakeRepository, name: str, tmp_path: Path
) -> None:
    root = repository({"train.py": "1\n"})
    commit = git(root, "rev-parse", "HEAD")
    (root / ".gitmodules").write_text(f'[submodule "{name}"]\n\tpath = a\n\turl = {root}\n')
    git(root, "add", "-A")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{commit},a")
    git(root, "commit", "-qm", "submodule")
    source = GitSource(url=str(root), commit=git(root, "rev-parse", "HEAD"))
    before = sorted(os.listdir(tmp_path))
    place = tmp_path / "place" / "clone"
    refused(lambda: check_out(source, str(place), offline=False))
    assert sorted(os.listdir(tmp_path)) in (before, sorted([*before, "place"]))
    assert os.listdir(tmp_path / "place") in ([], ["clone"])


def refused(action: Callable[[], None]) -> None:
    """git has its own ways with such names: to refuse, or to leave the submodule out."""
    try:
        action()
    except LockFailed:
        return


def test_a_replaced_commit_is_not_taken_for_the_one_that_is_named(
    repository: MakeRepository, tmp_path: Path
) -> None:
    root = repository({"train.py": "good\n"})
    good = git(root, "rev-parse", "HEAD")
    (root / "train.py").write_text("evil\n")
    git(root, "commit", "-qam", "evil")
    git(root, "replace", good, "HEAD")
    place = tmp_path / "clone"
    check_out(GitSource(url=str(root), commit=good), str(place), offline=False)
    assert (place / "train.py").read_text() == "good\n"


def git_quiet(root: Path, *words: str) -> str:
    """git in a hostile repository, with nothing of it being run."""
    done = subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *words],
        cwd=root, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()
