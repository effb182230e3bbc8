"""What an archive had that its commit hasn't; repositories, archives and records are hostile."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.cli import run
from reprorun.errors import RecordError, UsageError
from reprorun.experiment.archive import write_archive
from reprorun.experiment.repository import describe, list_tree
from reprorun.model import Archive, LeftOut, Submodule
from reprorun.workflow import code_diff
from reprorun.workflow.code_changes import LARGEST, CodeChange
from reprorun.workflow.code_diff import CodeSummary, compare_code

from ..conftest import MakeRepository, git
from . import values

Capture = pytest.CaptureFixture[str]
FILES = {"train.py": "one\ntwo\nthree\n", "lib/helper.py": "def f():\n    pass\n", "old.py": "x\n"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def launched(root: Path, log_dir: Path, **fields: Any) -> Path:
    """A record of the repository as it is now."""
    log_dir.mkdir(parents=True)
    tree, found = list_tree(str(root)), describe(str(root))
    digest = write_archive(str(root), tree, str(log_dir / store.ARCHIVE_FILE))
    left_out = tuple(LeftOut(**entry._asdict()) for entry in tree.left_out)
    given: dict[str, Any] = {
        "githash": found.githash,
        "dirty": found.dirty,
        "archive": Archive(sha256=digest.removeprefix("sha256:"), size=1, files=len(tree.files)),
        "left_out": left_out,
        "submodules": tuple(Submodule(path=s.path, commit=s.commit) for s in found.submodules),
    }
    store.write_record(str(log_dir), values.record(**{**given, **fields}))
    return log_dir


def archived(log_dir: Path, members: dict[str, bytes | str], **fields: Any) -> Path:
    """A record with an archive of just these members; a text is a link's target."""
    log_dir.mkdir(parents=True)
    path = log_dir / store.ARCHIVE_FILE
    with lzma.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    store.write_record(str(log_dir), values.record(**fields))
    return log_dir


def compared(log_dir: Path, repo: Path | str | None) -> tuple[dict[str, CodeChange], CodeSummary]:
    found: list[CodeChange] = []
    summary = compare_code(str(log_dir), None if repo is None else str(repo), found.append)
    assert summary.changes == len(found)
    return {change.path: change for change in found}, summary


def commit_of(root: Path) -> str:
    return git(root, "rev-parse", "HEAD")


# ---------------------------------------------------------------- what differs


def test_nothing_differs(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    changes, summary = compared(launched(root, tmp_path / "run"), root)
    assert changes == {}
    assert summary == CodeSummary(commit=commit_of(root), repository=str(root), changes=0, notes=())


def test_added_changed_and_deleted(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    (root / "train.py").write_text("one\n2\nthree\n")
    (root / "new.py").write_text("a\nb")
    (root / "old.py").unlink()
    changes, summary = compared(launched(root, tmp_path / "run"), root / "lib")
    assert changes == {
        "train.py": CodeChange(
            path="train.py",
            kind="changed",
            patch=("@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"),
        ),
        "new.py": CodeChange(
            path="new.py",
            kind="added",
            facts=("3 bytes",),
            patch=("@@ -0,0 +1,2 @@", "+a", "+b", "\\ No newline at end of file"),
        ),
        "old.py": CodeChange(path="old.py", kind="deleted", facts=("2 bytes",)),
    }
    assert summary.commit == commit_of(root)


def test_what_is_no_text(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository({**FILES, "data.bin": "ab\0", "latin.txt": "plain\n", "big.txt": "x"})
    (root / "data.bin").write_bytes(b"ab\0c")
    (root / "latin.txt").write_bytes("é\n".encode("latin-1"))
    (root / "big.txt").write_text("y" * (LARGEST + 1))
    (root / "new.bin").write_bytes(b"\xff\xfe")
    (root / "new_big.txt").write_text("y" * (LARGEST + 1))
    changes, _ = compared(launched(root, tmp_path / "run"), root)
    said = {path: (change.facts, change.patch) for path, change in changes.items()}
    assert said == {
        "data.bin": (("binary, 3 bytes, now 4 bytes",), ()),
        "latin.txt": (("binary, 6 bytes, now 2 bytes",), ()),
        "big.txt": ((f"1 byte, now {LARGEST + 1} bytes, too large to compare lines",), ()),
        "new.bin": (("binary, 2 bytes",), ()),
        "new_big.txt": ((f"too large to show, {LARGEST + 1} bytes",), ()),
    }


def test_modes_and_links(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository({**FILES, "tool.sh": "echo\n", "was.py": "x\n"})
    (root / "link").symlink_to("train.py")
    (root / "same").symlink_to("train.py")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "links")
    (root / "tool.sh").chmod(0o755)
    (root / "link").unlink()
    (root / "link").symlink_to("old.py")
    (root / "was.py").unlink()
    (root / "was.py").symlink_to("train.py")
    (root / "run").write_text("x\n")
    (root / "run").chmod(0o755)
    changes, _ = compared(launched(root, tmp_path / "run"), root)
    assert set(changes) == {"tool.sh", "link", "was.py", "run"}
    assert changes["tool.sh"].facts == ("now executable",)
    assert changes["tool.sh"].patch == ()
    assert changes["link"].patch[1:] == (
        "-train.py", "\\ No newline at end of file", "+old.py", "\\ No newline at end of file",
    )  # fmt: skip
    assert changes["was.py"].facts == ("was a file, now a link",)
    assert changes["run"].facts == ("executable",)


def test_line_endings_alone(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    (root / "train.py").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    changes, _ = compared(launched(root, tmp_path / "run"), root)
    assert changes["train.py"].facts == ("only the line endings differ",)


def test_names_of_any_kind(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    names = ["a b.txt", "new\nline", "tab\t", "é", os.fsdecode(b"\xff"), "-x", ":(glob)*"]
    for name in names:
        (root / name).write_text("1\n")
    git(root, "add", "-A", "--", ".")
    git(root, "commit", "-q", "-m", "names")
    (root / names[1]).write_text("2\n")
    (root / names[4]).write_text("2\n")
    (root / names[6]).unlink()
    changes, _ = compared(launched(root, tmp_path / "run"), root)
    assert {path: change.kind for path, change in changes.items()} == {
        names[1]: "changed", names[4]: "changed", names[6]: "deleted",
    }  # fmt: skip


def test_a_repository_with_sha256(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "--object-format=sha256")
    (root / "train.py").write_text("one\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    (root / "new.py").write_text("")
    changes, summary = compared(launched(root, tmp_path / "run"), root)
    assert list(changes) == ["new.py"]
    assert len(summary.commit) == 64


def test_a_file_that_git_lfs_keeps(repository: MakeRepository, tmp_path: Path) -> None:
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 7\n"
    root = repository({**FILES, "a.bin": pointer, "b.bin": pointer})
    (root / "a.bin").write_bytes(content)
    (root / "b.bin").write_bytes(b"others!")
    changes, _ = compared(launched(root, tmp_path / "run"), root)
    assert list(changes) == ["b.bin"]


# ---------------------------------------------------------------- what is not compared


def test_what_was_left_out_is_not_deleted(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository({**FILES, "big.bin": "x" * (8 << 20)})
    old = root / "data" / "local" / "experiment" / "train"
    old.mkdir(parents=True)
    (old / "metadata.json").write_text('{"launcher": "train.py"}')
    (old / "progress.csv").write_text("1\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "with a run")
    changes, summary = compared(launched(root, tmp_path / "run"), root)
    assert changes == {}
    assert summary.notes == (
        "big.bin, 8388608 bytes, is not compared; it was left out: 8 MiB or larger",
        "log directories of earlier runs are not compared: data/local/experiment/train/",
    )


def test_submodules(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(root), str(other)], check=True)
    for name in ("same", "moved"):
        git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), name)
    git(root, "commit", "-q", "-m", "submodules")
    (root / "moved" / "train.py").write_text("changed\n")
    git(root / "moved", "commit", "-q", "-a", "-m", "second")
    changes, summary = compared(launched(root, tmp_path / "run"), root)
    assert changes == {}
    first, second = commit_of(root / "same"), commit_of(root / "moved")
    assert summary.notes == (
        "the files of the submodule moved are not compared; it is "
        f"at {first} in the commit, at {second} in the run",
        f"the files of the submodule same are not compared; it is at {first}, as in the commit",
    )


def test_a_record_of_garage(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository({**FILES, "big.bin": "x" * (8 << 20)})
    log_dir = tmp_path / "run"
    members: dict[str, bytes | str] = {
        name: text.encode() for name, text in FILES.items() if name != "old.py"
    }
    archived(log_dir, {**members, "new.py": b"1\n"})
    (log_dir / store.RUN_FILE).unlink()
    (log_dir / "variant.json").write_text("{}")
    (log_dir / "metadata.json").write_text(
        f'{{"githash": "{commit_of(root)}-dirty", "launcher": "train.py"}}'
    )
    changes, summary = compared(log_dir, root)
    assert {path: change.kind for path, change in changes.items()} == {
        "new.py": "added", "old.py": "deleted",
    }  # fmt: skip
    assert summary.notes == ("big.bin is not compared: garage kept no files that large",)


# ---------------------------------------------------------------- finding the repository


def test_the_repository_around_the_record(repository: MakeRepository) -> None:
    root = repository(FILES)
    changes, summary = compared(launched(root, root / "data" / "local" / "run"), None)
    assert changes == {}
    assert summary.repository == str(root)


def test_the_repository_around_the_working_directory(
    repository: MakeRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(FILES)
    log_dir = launched(root, tmp_path / "run")
    with pytest.raises(UsageError, match=r"no repository here has the commit.* --repo PATH_OR_URL"):
        compared(log_dir, None)
    monkeypatch.chdir(root / "lib")
    assert compared(log_dir, None)[1].repository == str(root)


def test_a_repository_by_its_url(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    log_dir = launched(root, tmp_path / "run")
    changes, summary = compared(log_dir, f"file://{root}")
    assert changes == {}
    assert summary.repository == f"file://{root}"


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        ("nowhere", "no such directory"),
        ("", "no such directory"),
        ("-oops", "no such directory"),
        ("../elsewhere", "in no git repository"),
        ("file:///nowhere/at/all", "can't be cloned"),
        ("ext::sh -c 'touch planted'", "no such directory"),
        ("ext://x", "can't be cloned"),
    ],
)
def test_no_such_repository(
    repo: str, said: str, repository: MakeRepository, tmp_path: Path
) -> None:
    log_dir = launched(repository(FILES), tmp_path / "run")
    with pytest.raises(UsageError, match=said):
        compared(log_dir, repo)
    assert not Path("planted").exists()


def test_a_repository_without_the_commit(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    log_dir = launched(root, tmp_path / "run", githash="f" * 40)
    with pytest.raises(UsageError, match=f"has no commit {'f' * 40}"):
        compared(log_dir, root)


def test_a_login_is_not_shown(repository: MakeRepository, tmp_path: Path, capsys: Capture) -> None:
    log_dir = launched(repository(FILES), tmp_path / "run")
    url = "http://user:s3cret@127.0.0.1:9/x.git"
    assert run(["show", str(log_dir), "--diff", "--repo", url]) == 2
    said = capsys.readouterr().err
    assert "can't be cloned" in said
    assert "s3cret" not in said


# ---------------------------------------------------------------- hostile


def test_nothing_of_the_repository_is_run(
    repository: MakeRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository({**FILES, ".gitattributes": "* filter=evil diff=evil\n"})
    (root / "train.py").write_text("changed\n")
    log_dir = launched(root, tmp_path / "run")
    planted = tmp_path / "planted"
    for key in (
        "filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv",
        "diff.evil.command", "diff.external", "core.fsmonitor", "core.pager", "pager.cat-file",
        "pager.ls-tree", "alias.ls-tree", "alias.cat-file", "core.sshCommand",
    ):  # fmt: skip
        git(root, "config", key, f"!touch {planted}" if "alias" in key else f"touch {planted}; cat")
    # a partial clone that lacks an object would fetch it, by a program of its choice
    blob = git(root, "rev-parse", "HEAD:train.py")
    for key, value in (
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::sh -c touch% {planted}"),
        ("remote.origin.uploadpack", f"touch {planted}"),
        ("protocol.allow", "always"),
        ("protocol.ext.allow", "always"),
        ("core.repositoryFormatVersion", "1"),
    ):
        git(root, "config", key, value)
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {planted}")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))
    assert compared(log_dir, root)[0]["train.py"].patch
    (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(UsageError):
        compared(log_dir, root)
    assert not planted.exists()


@pytest.mark.parametrize("githash", ["--help", "HEAD", "main", "a" * 39 + "\n", "$(id)", "a" * 70])
def test_a_commit_that_is_none(githash: str, repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    with pytest.raises(RecordError, match="as its commit, which is none"):
        compared(launched(root, tmp_path / "run", githash=githash), root)


def test_a_record_without_a_commit(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    with pytest.raises(UsageError, match="names no commit"):
        compared(launched(root, tmp_path / "run", githash=None), root)


def test_another_archive_than_the_records(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    log_dir = launched(root, tmp_path / "run")
    with (log_dir / store.ARCHIVE_FILE).open("ab") as file:
        file.write(b"\0" * 4)
    with pytest.raises(RecordError, match="is not the archive that the record was made with"):
        compared(log_dir, root)
    (log_dir / store.ARCHIVE_FILE).unlink()
    with pytest.raises(RecordError, match="nothing to compare"):
        compared(log_dir, root)


def test_a_hostile_archive(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository(FILES)
    for number, name in enumerate(("../out", "/etc/x", "a/../../b")):
        log_dir = archived(tmp_path / f"run{number}", {name: b"x"}, githash=commit_of(root))
        with pytest.raises(RecordError):
            compared(log_dir, root)


def test_links_that_lead_out_are_shown_and_not_followed(
    repository: MakeRepository, tmp_path: Path
) -> None:
    root = repository({"a": "1\n"})
    members: dict[str, bytes | str] = {"a": b"1\n", "out": "/etc/passwd"}
    log_dir = archived(tmp_path / "run", members, githash=commit_of(root))
    changes, _ = compared(log_dir, root)
    assert changes["out"].patch == (
        "@@ -0,0 +1,1 @@", "+/etc/passwd", "\\ No newline at end of file",
    )  # fmt: skip


# ---------------------------------------------------------------- the command


@pytest.fixture
def changed(repository: MakeRepository, tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        root = repository(FILES)
        (root / "train.py").write_text("one\n\ttwo\x1b[2J\nthree\n")
        (root / "evil\x1b]0;x\x07").write_text("x\n")
        return launched(root, root / "data" / "local" / "run")

    return make


def test_the_command(changed: Callable[[], Path], capsys: Capture) -> None:
    log_dir = changed()
    assert run(["show", str(log_dir), "--diff"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["added    evil\\x1b]0;x\\x07 (2 bytes)", "@@ -0,0 +1,1 @@", "+x"]
    assert lines[3] == "changed  train.py"
    assert "+\ttwo\\x1b[2J" in lines
    root, commit = log_dir.parents[2], commit_of(log_dir.parents[2])
    assert lines[-1] == (f"The archive differs from the commit {commit} (in {root}) in 2 files.")


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colors_on_a_terminal(
    no_color: str, colored: bool, changed: Callable[[], Path], capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(["show", str(changed()), "--diff"]) == 0
    said = capsys.readouterr().out
    assert ("\x1b[32m+" in said) is colored
    assert "\x1b[2J" not in said


@pytest.mark.parametrize("arguments", [["--diff", "--json"], ["--repo", "."]])
def test_wrong_usage(arguments: list[str], changed: Callable[[], Path]) -> None:
    assert run(["show", str(changed()), *arguments]) == 2


def test_the_reason_is_the_archives() -> None:
    """The words by which log directories are recognised are those that the archive writes."""
    from reprorun.experiment import tree

    assert tree.EARLIER_RUN == code_diff.EARLIER_RUN
