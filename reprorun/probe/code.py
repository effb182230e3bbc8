"""The launcher's code: its repository (or directory, outside git) and what will be archived."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reprorun.errors import UsageError
from reprorun.experiment import repository
from reprorun.model import Code, LeftOut, Submodule

if TYPE_CHECKING:
    from reprorun.experiment.repository import Tree

LARGEST_PLAIN_DIRECTORY = 100 * 2**20  # bytes; outside git, more than that is hardly meant


def find_code(script: str, cwd: str) -> Code:
    """Find the repository of a launcher and list what belongs to it.

    Args:
        script: the launcher, absolute or relative to `cwd`.
        cwd: the working directory, absolute.

    Raises:
        UsageError: no such script, or a tree that can't be archived.
    """
    path = _existing(script, cwd)
    try:
        root = repository.find_root(path)
        if root is None:
            return _outside_git(path, cwd)
        return _in_git(root, path, cwd)
    except repository.RepositoryError as error:
        raise UsageError(str(error)) from error


def _existing(script: str, cwd: str) -> str:
    path = os.path.join(cwd, script)
    if os.path.isdir(path):
        raise UsageError(f"{script!r} is a directory; name the script in it that is to run.")
    if not os.path.exists(path):
        raise UsageError(f"there is no script {script!r} in {cwd}.")
    # the directory is resolved, not the script: a script that is a link keeps its own name
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)


def _in_git(root: str, path: str, cwd: str) -> Code:
    root = os.path.realpath(root)
    launcher = os.path.relpath(path, root)
    found = repository.describe(root)
    tree = repository.list_tree(root, launcher)
    return Code(
        root=root,
        launcher=launcher,
        workdir=_workdir(root, cwd),
        in_git=True,
        commit=found.commit,
        dirty=found.dirty,
        files=tree.files,
        left_out=_left_out(tree),
        submodules=tuple(Submodule(path=s.path, commit=s.commit) for s in found.submodules),
        state=tree.state,
    )


def _outside_git(path: str, cwd: str) -> Code:
    root = os.path.dirname(path)
    _refuse_home(root)
    tree = repository.list_directory(root)
    _refuse_large(root, tree)
    return Code(
        root=root,
        launcher=os.path.basename(path),
        workdir=_workdir(root, cwd),
        in_git=False,
        files=tree.files,
        left_out=_left_out(tree),
    )


def _refuse_home(root: str) -> None:
    homes = {os.path.realpath(os.path.expanduser("~")), "/", "/home", "/root"}
    if root in homes or os.path.dirname(root) == "/home":
        raise UsageError(
            f"the script lies in {root} itself, outside any git repository: the whole directory "
            "would be archived. Put it in a directory of its own, or run `git init` there."
        )


def _refuse_large(root: str, tree: Tree) -> None:
    left_out = sum(entry.size or 0 for entry in tree.left_out)
    size = left_out + sum(_size(os.path.join(root, name)) for name in tree.files)
    if size > LARGEST_PLAIN_DIRECTORY:
        raise UsageError(
            f"{root} is no git repository and holds {size / 2**20:.0f} MiB, more than the "
            f"{LARGEST_PLAIN_DIRECTORY >> 20} MiB that are archived unasked. Put the script in a "
            "directory of its own, or run `git init` there and name the data in .gitignore."
        )


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:  # gone since it was listed
        return 0


def _workdir(root: str, cwd: str) -> str:
    """`cwd` relative to the root; the root itself when `cwd` lies outside."""
    inside = os.path.relpath(os.path.realpath(cwd), root)
    return "." if inside == ".." or inside.startswith("../") else inside


def _left_out(tree: Tree) -> tuple[LeftOut, ...]:
    return tuple(
        LeftOut(path=entry.path, reason=entry.reason, size=entry.size, sha256=entry.sha256)
        for entry in tree.left_out
    )
