"""get_metadata and what the container was told."""

from __future__ import annotations

import json
import sys

import pytest

from reprorun.experiment import get_metadata
from reprorun.experiment.guest import Guest, current_guest
from reprorun.experiment.repository import RepositoryError


def test_in_git(repo, launcher):
    launcher(repo.write("scripts/run it.py"))
    commit = repo.commit()
    root = str(repo.path)
    assert get_metadata() == (root, {"githash": commit, "launcher": "scripts/run it.py"})
    repo.write("train.py", "changed")
    assert get_metadata()[1]["githash"] == commit + "-dirty"


def test_before_the_first_commit(make_repo, tmp_path, launcher):
    new = make_repo(tmp_path / "new")
    launcher(new.write("train.py"))
    assert get_metadata() == (str(new.path), {"launcher": "train.py"})


def test_through_a_link_to_the_checkout_and_a_link_to_the_script(repo, tmp_path, launcher):
    (tmp_path / "link").symlink_to(repo.path)
    launcher(tmp_path / "link" / "train.py")
    assert get_metadata()[1]["launcher"] == "train.py"
    (repo.path / "alias.py").symlink_to("/dev/null")
    launcher(repo.path / "alias.py")
    assert get_metadata()[1]["launcher"] == "alias.py"


def test_outside_git(tmp_path, launcher, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launcher("train.py")
    assert get_metadata() == (None, {"launcher": str(tmp_path / "train.py")})


def test_without_a_main_file(launcher):
    launcher(None)
    assert get_metadata() == (None, {})


def test_a_repository_that_cannot_be_read_is_an_error(repo, launcher, monkeypatch):
    launcher(repo.path / "train.py")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(RepositoryError, match=r"safe\.directory"):
        get_metadata()


def test_in_a_container(monkeypatch, launcher, repo):
    launcher(repo.path / "train.py")
    told = {"log_dir": "/log", "root": "/workspace", "metadata": {"launcher": "a.py"}}
    monkeypatch.setenv("REPRORUN_GUEST", json.dumps(told))
    assert current_guest() == Guest("/log", "/workspace", {"launcher": "a.py"}, {})
    root, metadata = get_metadata()
    assert (root, metadata) == ("/workspace", {"launcher": "a.py"})
    assert sys.modules["__main__"].__file__ == str(repo.path / "train.py")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"root": "/w"}', "'log_dir' is None, not a string"),
        ('{"log_dir": 1, "root": "/w"}', "'log_dir' is 1, not a string"),
        ('{"log_dir": "/l", "root": "/w", "params": []}', r"'params' is \[\], not an object"),
    ],
)
def test_malformed(monkeypatch, text, complaint):
    monkeypatch.setenv("REPRORUN_GUEST", text)
    with pytest.raises(ValueError, match=f"REPRORUN_GUEST.*{complaint}"):
        current_guest()


def test_outside_a_container(monkeypatch):
    assert current_guest() is None
    monkeypatch.setenv("REPRORUN_GUEST", "")
    assert current_guest() is None
