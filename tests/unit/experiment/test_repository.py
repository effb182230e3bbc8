"""Which commit, whether dirty, and which files are kept."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import pytest

from reprorun.experiment import git
from reprorun.experiment import repository as repository_module
from reprorun.experiment.repository import (
    LARGE_FILE,
    LeftOut,
    RepositoryError,
    Submodule,
    describe,
    find_root,
    list_directory,
    list_tree,
)

EARLIER = "log directory of an earlier run"


def log_dir(root: Path, name: str = "data/local/experiment/train") -> Path:
    path = root / name
    path.mkdir(parents=True)
    (path / "metadata.json").write_text(json.dumps({"githash": "abc", "launcher": "train.py"}))
    (path / "variant.json").write_text("{}")
    (path / "progress.csv").write_text("step\n1\n")
    return path


def files(root: Path | str, launcher: str | None = None) -> list[str]:
    return [*list_tree(str(root), launcher).files]


class TestFindRoot:
    def test_of_a_file_of_a_directory_and_of_a_missing_file(self, repo):
        repo.write("deep/er/file.py")
        for name in ("train.py", "deep/er/file.py", "deep/er", "", "no/such/file"):
            assert find_root(str(repo.path / name)) == str(repo.path)

    def test_outside_git(self, tmp_path):
        assert find_root(str(tmp_path / "train.py")) is None

    def test_inside_the_git_directory_is_outside(self, repo):
        assert find_root(str(repo.path / ".git" / "config")) is None

    def test_a_root_with_odd_characters(self, make_repo, tmp_path):
        odd = tmp_path / os.fsdecode(b"a b'\"\n\xff\n")
        make_repo(odd).write("x.py")
        assert find_root(str(odd / "x.py")) == str(odd)
        assert files(odd) == ["x.py"]

    def test_another_owner_is_an_error_with_advice(self, repo, monkeypatch):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        with pytest.raises(RepositoryError) as caught:
            find_root(str(repo.path))
        assert f"git config --global --add safe.directory {repo.path}" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_worktree_whose_repository_is_gone_is_an_error(self, tmp_path):
        (tmp_path / ".git").write_text("gitdir: /no/such/place\n")
        with pytest.raises(RepositoryError, match="/no/such/place"):
            find_root(str(tmp_path))

    def test_without_git_installed(self, repo, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_root(str(tmp_path / "x")) is None
        with pytest.raises(RepositoryError, match="git is not installed"):
            find_root(str(repo.write("a/b.py")))
        with pytest.raises(RepositoryError, match="git is not installed"):
            describe(str(repo.path))

    def test_a_git_hook_around_us_changes_nothing(self, repo, make_repo, tmp_path, monkeypatch):
        commit = repo.git("rev-parse", "HEAD")
        other = make_repo(tmp_path / "other")
        monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
        assert find_root(str(repo.path)) == str(repo.path)
        assert files(repo.path) == ["train.py"]
        assert describe(str(repo.path)).githash == commit


class TestDescribe:
    def test_clean(self, repo):
        facts = describe(str(repo.path))
        commit = repo.git("rev-parse", "HEAD")
        assert facts == (str(repo.path), commit, False, ())
        assert facts.githash == commit

    @pytest.mark.parametrize(
        "change",
        [
            lambda repo: repo.write("train.py", "changed"),
            lambda repo: repo.write("new.py"),
            lambda repo: repo.write("new dir/new.py"),
            lambda repo: (repo.path / "train.py").unlink(),
            lambda repo: repo.git("mv", "train.py", "other.py"),
            lambda repo: (repo.path / "train.py").chmod(0o755),
            lambda repo: (repo.write("s.py"), repo.git("add", "s.py")),
        ],
    )
    def test_every_kind_of_change_is_dirty(self, repo, change):
        change(repo)
        facts = describe(str(repo.path))
        assert facts.dirty
        assert facts.githash == repo.git("rev-parse", "HEAD") + "-dirty"

    def test_ignored_files_and_our_unfinished_writes_are_not_dirty(self, repo):
        repo.write(".gitignore", "*.log\n")
        repo.commit()
        repo.write("x.log")
        repo.write("deep/.reprorun-0123.tmp")
        assert not describe(str(repo.path)).dirty
        repo.write(".reprorun-0123.txt")
        assert describe(str(repo.path)).dirty

    def test_before_the_first_commit(self, make_repo, tmp_path):
        new = make_repo(tmp_path / "new")
        assert describe(str(new.path)) == (str(new.path), None, False, ())
        new.write("x.py")
        assert describe(str(new.path)).dirty
        assert describe(str(new.path)).githash is None

    def test_a_conflict_is_dirty(self, repo):
        repo.git("checkout", "-q", "-b", "side")
        repo.write("train.py", "side\n")
        repo.commit()
        repo.git("checkout", "-q", "main")
        repo.write("train.py", "main\n")
        repo.commit()
        with pytest.raises(Exception, match="merge"):
            repo.git("merge", "side")
        assert describe(str(repo.path)).dirty
        assert files(repo.path) == ["train.py"]

    def test_the_users_settings_hide_nothing(self, repo):
        repo.git("config", "status.showUntrackedFiles", "no")
        repo.write("new.py")
        assert describe(str(repo.path)).dirty


class TestLogDirectories:
    def test_untracked_ones_are_neither_dirty_nor_kept(self, repo):
        log_dir(repo.path)
        log_dir(repo.path, "data/local/experiment/train_1")
        tree = list_tree(str(repo.path))
        assert tree.files == ("train.py",)
        assert tree.left_out == (
            LeftOut("data/local/experiment/train/", None, None, EARLIER),
            LeftOut("data/local/experiment/train_1/", None, None, EARLIER),
        )
        assert not describe(str(repo.path)).dirty

    def test_tracked_ones_neither(self, repo):
        path = log_dir(repo.path)
        (path / "deep").mkdir()
        (path / "deep" / "model.pkl").write_text("1")
        repo.commit()
        (path / "deep" / "model.pkl").write_text("2")
        repo.git("mv", "data/local/experiment/train/progress.csv", "data/local/experiment/train/p")
        (path / "variant.json").unlink()
        assert not describe(str(repo.path)).dirty
        assert files(repo.path) == ["train.py"]

    def test_a_file_that_leaves_one_is_a_change(self, repo):
        log_dir(repo.path)
        repo.commit()
        repo.git("mv", "data/local/experiment/train/progress.csv", "kept.csv")
        assert describe(str(repo.path)).dirty

    def test_other_code_below_data_is_kept(self, repo):
        log_dir(repo.path)
        repo.write("data/local/experiment/notes.md")
        assert files(repo.path) == ["data/local/experiment/notes.md", "train.py"]
        assert describe(str(repo.path)).dirty

    def test_markers_that_git_ignores_are_seen(self, repo):
        repo.write(".gitignore", "*.json\n")
        repo.commit()
        log_dir(repo.path)
        assert files(repo.path) == [".gitignore", "train.py"]
        assert not describe(str(repo.path)).dirty

    @pytest.mark.parametrize(
        ("name", "text", "is_one"),
        [
            ("metadata.json", '{"launcher": "train.py"}', True),
            ("metadata.json", '{"githash": "abc"}', False),
            ("metadata.json", '{"launcher": "a", "title": "b"}', False),
            ("metadata.json", "{}", False),
            ("metadata.json", '["launcher"]', False),
            ("metadata.json", '{"launcher": ', False),
            ("metadata.json", "\xff\xfe\0", False),
            ("metadata.json", "[" * 100_000, False),
            ("run.json", '{"reprorun": "1"}', True),
            ("run.json", '{"other": "1"}', False),
            ("run.json", '"reprorun"', False),
        ],
    )
    def test_what_marks_one(self, repo, name, text, is_one):
        repo.write(f"somewhere/{name}", text.encode("latin-1"))
        assert (f"somewhere/{name}" not in files(repo.path)) == is_one

    def test_empty_metadata_beside_a_variant(self, repo):
        repo.write("a/metadata.json", "{}")
        repo.write("a/variant.json", "{}")
        assert files(repo.path) == ["train.py"]

    def test_a_marker_that_is_a_fifo_is_not_waited_for(self, repo):
        repo.write("a/x.py")
        os.mkfifo(repo.path / "a/metadata.json")
        assert files(repo.path) == ["a/x.py", "train.py"]

    def test_the_root_is_never_one(self, repo):
        repo.write("metadata.json", '{"launcher": "train.py"}')
        assert files(repo.path) == ["metadata.json", "train.py"]
        assert describe(str(repo.path)).dirty


class TestListTree:
    def test_tracked_and_untracked_as_on_disk(self, repo):
        repo.write(".gitignore", "ignored*\n")
        repo.write("gone.py")
        repo.commit()
        repo.write("ignored.py")
        repo.write("new/file.py")
        (repo.path / "gone.py").unlink()
        tree = list_tree(str(repo.path))
        assert tree.files == (".gitignore", "new/file.py", "train.py")
        assert tree.left_out == ()

    def test_odd_names(self, repo):
        names = [
            "a b.py",
            "quote'\".py",
            "new\nline.py",
            "tab\t.py",
            "? q",
            "160000 x 0\tname",
            "-rf",
            "é.py",
            os.fsdecode(b"latin-\xe9.py"),
        ]
        for name in names:
            repo.write(name)
        assert files(repo.path) == sorted([*names, "train.py"])
        repo.commit()
        assert files(repo.path) == sorted([*names, "train.py"])

    def test_large_files_are_left_out_with_their_digest(self, repo):
        content = b"x" * LARGE_FILE
        repo.write("data/large.bin", content)
        repo.write("data/just.bin", content[:-1])
        tree = list_tree(str(repo.path))
        assert tree.files == ("data/just.bin", "train.py")
        digest = hashlib.sha256(content).hexdigest()
        assert tree.left_out == (LeftOut("data/large.bin", LARGE_FILE, digest, "8 MiB or larger"),)

    def test_the_launcher_is_kept_even_when_ignored(self, repo):
        repo.write(".gitignore", "scratch/\n")
        repo.write("scratch/run.py")
        repo.write("scratch/other.py")
        assert files(repo.path, "scratch/run.py") == [".gitignore", "scratch/run.py", "train.py"]

    @pytest.mark.parametrize("launcher", ["../x.py", "/etc/passwd", "a/../../x"])
    def test_a_launcher_outside_is_an_error(self, repo, launcher):
        with pytest.raises(RepositoryError, match="outside"):
            list_tree(str(repo.path), launcher)

    def test_links_are_kept_as_links(self, repo):
        (repo.path / "dangling").symlink_to("/no/such/place")
        (repo.path / "link.py").symlink_to("train.py")
        repo.write("real/x.py")
        (repo.path / "dir").symlink_to("real")
        assert files(repo.path) == ["dangling", "dir", "link.py", "real/x.py", "train.py"]

    def test_what_links_outside_lead_to_is_named(self, repo):
        repo.write("d/x.py")
        (repo.path / "d" / "s").symlink_to("..")
        for name, target in (
            ("absolute", "/no/such/place"),
            ("up", "../elsewhere"),
            ("own", str(repo.path / "train.py")),  # in a container there is no such place
            ("chain", "up"),
            ("d/late", "s/../../elsewhere"),
            ("inside", "d/../train.py"),
        ):
            (repo.path / name).symlink_to(target)
        left_out = {entry.path: entry.reason for entry in list_tree(str(repo.path)).left_out}
        assert set(left_out) == {"absolute", "up", "own", "chain", "d/late"}
        assert "(to ../elsewhere)" in left_out["up"]
        assert {"absolute", "up", "own", "chain", "d/late"} <= set(files(repo.path))

    def test_nothing_is_reached_through_a_link(self, repo, tmp_path):
        repo.write("pkg/a.py")
        repo.commit()
        (repo.path / "pkg").rename(tmp_path / "moved")
        (repo.path / "pkg").symlink_to(tmp_path / "moved")
        assert files(repo.path) == ["pkg", "train.py"]

    def test_a_file_that_became_a_directory(self, repo):
        repo.write("thing")
        repo.commit()
        (repo.path / "thing").unlink()
        repo.write("thing/x.py")
        assert files(repo.path) == ["thing/x.py", "train.py"]

    def test_special_files_are_left_out(self, make_repo, tmp_path, monkeypatch):
        root = tmp_path / "plain"
        root.mkdir()
        os.mkfifo(root / "pipe")
        monkeypatch.chdir(root)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("sock")
            tree = list_directory(str(root))
        assert tree.files == ()
        assert tree.left_out == (
            LeftOut("pipe", None, None, "special file (FIFO)"),
            LeftOut("sock", None, None, "special file (socket)"),
        )

    def test_a_tracked_file_that_became_special(self, repo):
        (repo.path / "train.py").unlink()
        os.mkfifo(repo.path / "train.py")
        tree = list_tree(str(repo.path))
        assert tree.left_out == (LeftOut("train.py", None, None, "special file (FIFO)"),)

    def test_unreadable_files_are_an_error(self, repo, monkeypatch):
        # The tests may run as root, who can read everything.
        monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("train.py"))
        with pytest.raises(RepositoryError, match=r"train\.py can't be read"):
            list_tree(str(repo.path))

    def test_unreadable_directories_are_an_error(self, repo, monkeypatch):
        warning = "warning: could not open directory 'secret/': Permission denied\n"
        monkeypatch.setattr(git, "_run", lambda *_, **__: (0, b"", warning))
        with pytest.raises(RepositoryError, match="secret/"):
            list_tree(str(repo.path))


class TestInnerRepositories:
    @pytest.fixture
    def with_submodule(self, repo, make_repo, tmp_path):
        inner = make_repo(tmp_path / "inner")
        inner.write("lib.py")
        inner.commit()
        library = make_repo(tmp_path / "library")
        library.write("top.py")
        library.git("submodule", "add", "-q", str(inner.path), "nested dir")
        library.commit()
        repo.git("submodule", "add", "-q", str(library.path), "vendor/lib")
        repo.git("submodule", "update", "-q", "--init", "--recursive")
        repo.commit()
        return repo

    def test_files_and_commits(self, with_submodule, tmp_path):
        repo = with_submodule
        repo.write("vendor/lib/new.py")
        assert files(repo.path) == [
            ".gitmodules",
            "train.py",
            "vendor/lib/.gitmodules",
            "vendor/lib/nested dir/lib.py",
            "vendor/lib/new.py",
            "vendor/lib/top.py",
        ]
        (repo.path / "vendor/lib/new.py").unlink()
        facts = describe(str(repo.path))
        assert not facts.dirty
        assert facts.submodules == (
            Submodule("vendor/lib", repo.git("-C", "vendor/lib", "rev-parse", "HEAD")),
            Submodule(
                "vendor/lib/nested dir",
                repo.git("-C", "vendor/lib/nested dir", "rev-parse", "HEAD"),
            ),
        )

    @pytest.mark.parametrize("name", ["vendor/lib/top.py", "vendor/lib/nested dir/new.py"])
    def test_changes_inside_are_dirty(self, with_submodule, name):
        with_submodule.write(name, "changed")
        assert describe(str(with_submodule.path)).dirty

    def test_a_moved_commit_is_dirty_and_recorded(self, with_submodule):
        repo = with_submodule
        repo.git("config", "submodule.vendor/lib.ignore", "all")
        repo.git(
            *("-C", "vendor/lib", "-c", "user.name=a", "-c", "user.email=b"),
            *("commit", "-q", "--allow-empty", "-m", "moved"),
        )
        facts = describe(str(repo.path))
        assert facts.dirty
        assert facts.submodules[0].commit == repo.git("-C", "vendor/lib", "rev-parse", "HEAD")

    def test_log_directories_inside_are_not_dirty(self, with_submodule):
        log_dir(with_submodule.path / "vendor/lib")
        assert not describe(str(with_submodule.path)).dirty
        tree = list_tree(str(with_submodule.path))
        assert "vendor/lib/data/local/experiment/train/progress.csv" not in tree.files
        assert [out.reason for out in tree.left_out] == [EARLIER]

    def test_one_that_is_not_checked_out(self, with_submodule):
        repo = with_submodule
        commit = repo.git("-C", "vendor/lib", "rev-parse", "HEAD")
        repo.git("submodule", "deinit", "-q", "-f", "vendor/lib")
        tree = list_tree(str(repo.path))
        assert tree.files == (".gitmodules", "train.py")
        assert tree.left_out == (
            LeftOut("vendor/lib/", None, None, "submodule that is not checked out"),
        )
        assert describe(str(repo.path)) == (
            str(repo.path),
            repo.git("rev-parse", "HEAD"),
            False,
            (Submodule("vendor/lib", commit),),
        )

    def test_an_embedded_repository_is_listed(self, repo, make_repo):
        inner = make_repo(repo.path / "embedded")
        inner.write("inside.py")
        inner.write(".gitignore", "no.py\n")
        inner.commit()
        inner.write("new.py")
        inner.write("no.py")
        assert files(repo.path) == [
            "embedded/.gitignore",
            "embedded/inside.py",
            "embedded/new.py",
            "train.py",
        ]
        assert describe(str(repo.path)).dirty

    def test_an_embedded_repository_in_a_log_directory_is_not(self, repo, make_repo):
        make_repo(log_dir(repo.path) / "clone").write("x.py")
        assert files(repo.path) == ["train.py"]
        assert not describe(str(repo.path)).dirty

    def test_a_link_in_place_of_a_submodule(self, with_submodule, tmp_path):
        (with_submodule.path / "vendor/lib").rename(tmp_path / "moved")
        (with_submodule.path / "vendor/lib").symlink_to(tmp_path / "moved")
        assert files(with_submodule.path) == [".gitmodules", "train.py", "vendor/lib"]
        assert describe(str(with_submodule.path)).dirty


class TestListDirectory:
    def test_everything_but_caches(self, tmp_path):
        for name in (
            "train.py",
            "b/deep/x.py",
            "b/__pycache__/x.pyc",
            "venv/pyvenv.cfg",
            "venv/lib/x.py",
            "node_modules/x.js",
            "b/.git",
            ".git/HEAD",
            ".reprorun-1.tmp",
            "a.b/y",
        ):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        (tmp_path / "link").symlink_to("b")
        log_dir(tmp_path)
        tree = list_directory(str(tmp_path))
        assert tree.files == ("a.b/y", "b/deep/x.py", "link", "train.py")
        assert tree.left_out == (
            LeftOut(".git/", None, None, "git's own data"),
            LeftOut("b/.git", None, None, "git's own data"),
            LeftOut("data/local/experiment/train/", None, None, EARLIER),
            LeftOut("node_modules/", None, None, "installed packages"),
            LeftOut("venv/", None, None, "virtual environment"),
        )

    def test_an_unreadable_directory_is_an_error(self, tmp_path, monkeypatch):
        def walk(top, onerror):
            onerror(PermissionError(13, "Permission denied", f"{top}/secret"))
            return iter(())

        monkeypatch.setattr(repository_module.os, "walk", walk)
        with pytest.raises(RepositoryError, match="secret can't be read: Permission denied"):
            list_directory(str(tmp_path))
