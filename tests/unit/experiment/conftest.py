"""Real git repositories in temporary directories."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest


class GitRepository:
    """A repository with one commit; `path` is its root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("-c", "init.defaultBranch=main", "init", "-q")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "somebody@example.org")
        self.git("config", "commit.gpgsign", "false")

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "protocol.file.allow=always", *arguments]
        done = subprocess.run(command, cwd=self.path, check=True, capture_output=True)
        return os.fsdecode(done.stdout).strip()

    def write(self, name: str, content: str | bytes = "text\n") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's git settings nor a container around the tests change what they see."""
    for name in [*os.environ]:
        if name.startswith(("GIT_", "REPRORUN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    # Without dowel: tests of its outputs put a stand-in or the real one here.
    monkeypatch.setitem(sys.modules, "dowel", None)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    repository = GitRepository(tmp_path / "repo")
    repository.write("train.py", "print('hello')\n")
    repository.commit()
    return repository


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch):
    """Makes a file the main script."""

    def pretend(path: Path | str | None) -> None:
        main = types.ModuleType("__main__")
        if path is not None:
            main.__file__ = str(path)
        monkeypatch.setitem(sys.modules, "__main__", main)

    return pretend


@pytest.fixture
def make_repo():
    return GitRepository
