"""A tree is listed again only when it has changed, and no change is missed.

Git counts whole seconds, so the repositories have to have been left alone for two: all are made
before the first test, and waited for once.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reprorun.experiment import git as git_module
from reprorun.experiment import unchanged
from reprorun.experiment.archive import write_archive
from reprorun.experiment.repository import list_tree

IDENTITY = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.invalid")
LAUNCHER = "scratch/launcher.py"  # ignored by git
OLD = (1_600_000_000, 1_600_000_000)
Change = Callable[[Path], object]


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", *IDENTITY, *words], cwd=root, check=True, capture_output=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def same_size_and_time(root: Path) -> None:
    before = (root / "train.py").stat()
    write(root / "train.py", "print(2)\n")
    os.utime(root / "train.py", ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced_by_an_older_file(root: Path) -> None:
    write(root / "scratch/old.py", "print(2)\n")
    os.utime(root / "scratch/old.py", OLD)
    (root / "scratch/old.py").rename(root / "train.py")


def a_link_instead(root: Path) -> None:
    (root / "train.py").unlink()
    (root / "train.py").symlink_to("package/a.py")


def a_directory_becomes_a_link(root: Path) -> None:
    (root / "package").rename(root / "scratch/package")
    (root / "package").symlink_to("scratch/package")


def committed(root: Path) -> None:
    write(root / "train.py", "print(2)\n")
    git(root, "commit", "-qam", "second")


def staged_and_changed(root: Path) -> None:
    write(root / "train.py", "print(2)\n")
    git(root, "add", "train.py")
    write(root / "train.py", "print(3)\n")


def a_repository_inside(root: Path) -> None:
    git(root, "init", "-q", "inner")
    write(root / "inner/x.py", "x = 1\n")


CHANGES: dict[str, Change] = {
    "content": lambda root: write(root / "train.py", "print(22)\n"),
    "same size and time": same_size_and_time,
    "line endings that git would not commit": lambda root: write(root / "text.txt", "a\r\nb\r\n"),
    "replaced by an older file": replaced_by_an_older_file,
    "mode": lambda root: (root / "train.py").chmod(0o755),
    "gone": lambda root: (root / "package/b.py").unlink(),
    "new": lambda root: write(root / "package/c.py", "c = 1\n"),
    "a changed file again": lambda root: write(root / "dirty.py", "y = 3\n"),
    "a new file again": lambda root: write(root / "new.py", "z = 2\n"),
    "a new file gone": lambda root: (root / "new.py").unlink(),
    "the launcher, which is ignored": lambda root: write(root / LAUNCHER, "print('other')\n"),
    "ignored any more": lambda root: write(root / ".git/info/exclude", "new.py\n"),
    "not ignored any more": lambda root: write(root / ".gitignore", "metadata.json\n"),
    "a link instead": a_link_instead,
    "a directory becomes a link": a_directory_becomes_a_link,
    "committed": committed,
    "staged and changed": staged_and_changed,
    "a repository inside": a_repository_inside,
    "a log directory that git does not see": lambda root: write(
        root / "package/metadata.json", '{"launcher": "x.py"}'
    ),
    "a log directory around new files": lambda root: write(
        root / "new/metadata.json", '{"launcher": "x.py"}'
    ),
    "a new log directory": lambda root: [
        write(root / "data/run/metadata.json", '{"launcher": "x.py"}'),
        write(root / "data/run/progress.csv", "1\n"),
    ],
    "a link leads out by way of another": lambda root: [
        (root / "scratch/way").unlink(),
        (root / "scratch/way").symlink_to("/usr"),
    ],
    "a large file": lambda root: write(root / "new.py", "x" * (8 << 20)),
}
# What git is told not to look at, or to look at less closely; each with a change.
SETTINGS: dict[str, tuple[str, ...]] = {
    "assumed unchanged": ("update-index", "--assume-unchanged", "train.py"),
    "left out of the working tree": ("update-index", "--skip-worktree", "train.py"),
    "no times of change": ("config", "core.trustctime", "false"),
    "few facts": ("config", "core.checkStat", "minimal"),
    "a monitor": ("config", "core.fsmonitor", "/bin/true"),
    "no modes": ("config", "core.fileMode", "false"),
}


def make(root: Path) -> Path:
    for name in ("train.py", "package/a.py", "package/b.py", "dirty.py", "log/run/x.py"):
        write(root / name, "print(1)\n")
    write(root / "text.txt", "a\nb\n")
    write(root / ".gitattributes", "*.txt text=auto\n")
    write(root / ".gitignore", "scratch/\nmetadata.json\n")
    write(root / LAUNCHER, "print('launch')\n")
    write(root / "log/run/metadata.json", '{"launcher": "train.py"}')
    (root / "scratch/way").symlink_to("../package")
    (root / "link").symlink_to("scratch/way/a.py")
    for path in root.rglob("*"):  # else git would compare files as old as its index by content
        os.utime(path, OLD, follow_symlinks=False)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    write(root / "dirty.py", "y = 2\n")
    write(root / "new.py", "z = 1\n")
    write(root / "new/x.py", "x = 1\n")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A repository for each change, left alone for long enough."""
    place = tmp_path_factory.mktemp("made")
    names = [*CHANGES, *SETTINGS, "nothing", "touched", "filter", "worktree"]
    found = {name: make(place / f"repo-{number}") for number, name in enumerate(names)}
    for name, words in SETTINGS.items():
        git(found[name], *words)
    git(found["filter"], "config", "filter.x.clean", "cat")
    git(found["touched"], "config", "core.autocrlf", "input")
    time.sleep(2.1)
    return found


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The repositories that were listed in full."""
    found: list[str] = []
    ask = git_module.tracked_and_new

    def noting(root: str) -> list[git_module.Listed]:
        found.append(root)
        return ask(root)

    monkeypatch.setattr(git_module, "tracked_and_new", noting)
    return found


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], tuple[object, str]]:
    """How a repository is listed and archived by somebody who has never seen it."""

    def look(root: Path) -> tuple[object, str]:
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / os.urandom(4).hex()))
            return result(root, tmp_path)

    return look


def result(root: Path, tmp_path: Path) -> tuple[object, str]:
    tree = list_tree(str(root), LAUNCHER)
    digest = write_archive(str(root), tree, str(tmp_path / "a.tar.xz"))
    return tree._replace(state=""), digest


def test_what_is_unchanged_is_not_listed_again(made, fresh, listings, tmp_path):
    root = made["nothing"]
    first = result(root, tmp_path)
    assert listings == [str(root)]
    assert result(root, tmp_path) == first
    write(root / "scratch/ignored.txt", "of no account")
    assert result(root, tmp_path) == first
    assert listings == [str(root)]
    assert first == fresh(root)
    files, left_out = first[0].files, [entry.path for entry in first[0].left_out]
    assert LAUNCHER in files
    assert "log/run/x.py" not in files
    assert left_out == ["log/run/"]


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_is_missed(made, fresh, listings, tmp_path, change):
    root = made[change]
    result(root, tmp_path)
    before = result(root, tmp_path)
    assert len(listings) == 1
    CHANGES[change](root)
    after = result(root, tmp_path)
    assert after == fresh(root)
    assert after != before


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_change_is_missed_where_git_looks_less_closely(made, fresh, tmp_path, setting):
    root = made[setting]
    before = [result(root, tmp_path) for _ in range(2)]
    same_size_and_time(root)
    after = result(root, tmp_path)
    assert after == fresh(root)
    assert after not in before


def test_a_new_log_directory_is_no_reason_to_list_again(made, listings, tmp_path):
    root = made["touched"]
    before = result(root, tmp_path)[0]
    write(root / "data/run_1/metadata.json", '{"launcher": "train.py"}')
    write(root / "data/run_1/progress.csv", "1\n")
    after = result(root, tmp_path)[0]
    assert len(listings) == 1
    assert after.files == before.files
    assert [entry.path for entry in after.left_out] == ["data/run_1/", "log/run/"]


def test_filters_of_the_repository_are_not_run_for_it(made, listings, tmp_path):
    """Git could run them; so it is not asked."""
    root = made["filter"]
    assert unchanged.look_at(str(root), LAUNCHER) is None
    assert result(root, tmp_path) == result(root, tmp_path)
    assert len(listings) == 2


def test_what_has_just_changed_is_not_trusted(made, listings, tmp_path):
    root = made["worktree"]
    write(root / "new.py", "z = 2\n")
    result(root, tmp_path)
    result(root, tmp_path)
    assert len(listings) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1", '{"seen": 1}', "é"])
def test_a_damaged_note_is_no_note(made, fresh, tmp_path, text):
    root = made["nothing"]
    first = result(root, tmp_path)
    notes = [*Path(os.environ["XDG_CACHE_HOME"]).glob("reprorun/archives/*.tree")]
    assert notes
    for note in notes:
        note.write_text(text)
    assert result(root, tmp_path) == first
