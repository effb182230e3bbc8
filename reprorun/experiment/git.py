"""Asks git, with nothing of a repository's hooks, monitors, filters or locks in between.

A repository's own settings can name programs that git runs for a mere question. Who has unpacked a
stranger's repository in order to run it in a container has not agreed to those.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Dict, Iterator, NamedTuple

if TYPE_CHECKING:
    import subprocess

_GITLINK = "160000"
# A git hook that starts us has these set; they would make every question one about its repository.
_OF_THE_CALLER = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)


class RepositoryError(Exception):
    """The repository can't be read; one line: what was found, what was wanted, what to try."""


class Status(NamedTuple):
    """The commit (None before the first one) and the paths that differ from it."""

    commit: str | None
    changed: tuple[str, ...]


class Listed(NamedTuple):
    """One line of `git ls-files`.

    Args:
        path: Relative to the root; that of an untracked repository ends in a slash.
        link: The commit of a submodule, None for all else.
        tag: `?` for an untracked file, `H` for one that git watches; others have their reasons.
    """

    path: str
    link: str | None
    tag: str


def top_level(directory: str) -> str | None:
    """Returns the root of the working tree that an existing directory is in, None outside git."""
    try:
        code, output, complaint = _run(directory, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        _refuse_checkout(directory)
        return None
    if code == 0:
        return os.fsdecode(output[:-1])
    # "not a git repository: /some/where" is another matter: a worktree whose repository is gone.
    if "not a git repository (" in complaint or "must be run in a work tree" in complaint:
        return None
    raise _refusal(directory, complaint)


def status(root: str) -> Status:
    """Returns the commit and what is changed; submodules count when their commit moved."""
    output = _ask(
        root,
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=all",
        # Each submodule is asked by itself, so that its own log directories can be told apart.
        "--ignore-submodules=dirty",
        # A rename is then a deletion and an addition: each path is judged on its own.
        "--no-renames",
        "--no-ahead-behind",
        variables=_without_filters(root),
    )
    commit = None
    changed = []
    for line in _fields(output):
        if line.startswith("# branch.oid "):
            oid = line.split(" ", 2)[2]
            commit = None if oid == "(initial)" else oid
        elif line[:2] in _FIELDS_BEFORE_PATH:
            changed.append(line.split(" ", _FIELDS_BEFORE_PATH[line[:2]])[-1])
    return Status(commit, tuple(changed))


# How many fields stand before the path in an ordinary, an unmerged and an untracked entry.
_FIELDS_BEFORE_PATH = {"1 ": 8, "u ": 10, "? ": 1}


def tracked(root: str) -> list[Listed]:
    """Lists the index."""
    return _listed(root, "--cached")


def tracked_and_new(root: str) -> list[Listed]:
    """Lists the index and the untracked files that git does not ignore.

    An untracked repository of its own is one entry, with a slash at its end.
    """
    return _listed(root, "--cached", "--others", "--exclude-standard")


def _listed(root: str, *what: str) -> list[Listed]:
    output = _ask(root, "ls-files", "-z", "-v", "--stage", *what)
    return [_parse_listed(line) for line in _fields(output)]


def _parse_listed(line: str) -> Listed:
    """Takes apart `? path` (untracked) or `H mode commit stage<tab>path` (tracked)."""
    tag, rest = line.split(" ", 1)
    if tag == "?":
        return Listed(rest, None, tag)
    facts, path = rest.split("\t", 1)
    mode, oid, _stage = facts.split(" ")
    return Listed(path, oid if mode == _GITLINK else None, tag)


@contextmanager
def changes(root: str) -> Iterator[Callable[[], list[str] | None]]:
    """Asks which tracked files are not as in the index by size, times and inode; which are new.

    Their content is not compared. git is at work while the block does something else. The
    repository's own settings may name no filters: git would run them for files that were changed
    in the very second in which the index was written.

    Args:
        root: The root of a working tree.

    Yields:
        What gives the paths, to be called once; None where git complains of anything.
    """
    strictly = ("-c", "core.trustctime=true", "-c", "core.checkStat=default")
    changed = ("diff-files", "-z", "--name-only", "--ignore-submodules=all")
    new = ("ls-files", "-z", "--others", "--exclude-standard")
    try:
        one = _start(root, *strictly, *changed)
    except FileNotFoundError:
        yield lambda: None
        return
    with one, _start(root, *new) as other:

        def answer() -> list[str] | None:
            (paths, complaint), (more, another) = one.communicate(), other.communicate()
            failed = one.returncode or other.returncode or complaint or another
            return None if failed else _fields(paths + more)

        yield answer


def _fields(output: bytes) -> list[str]:
    return [os.fsdecode(field) for field in output.split(b"\0") if field]


def _without_filters(root: str) -> Dict[str, str]:
    """Variables that switch the filters off which the repository itself brings.

    git would run them for files that look changed. Those of the user's own settings stay. Without
    one, a file that differs from the commit is changed, which it is.
    """
    listing = ("config", "-z", "--show-scope", "--name-only", "--get-regexp", r"^filter\.")
    try:
        words = _fields(_run(root, *listing)[1])
    except FileNotFoundError:
        return {}  # no git at all: the question itself says so
    own = [name for scope, name in zip(words[::2], words[1::2]) if scope in ("local", "worktree")]
    if not own:
        return {}
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(first + len(own))}
    for number, name in enumerate(own, first):
        off = "false" if name.endswith(".required") else ""
        variables.update({f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": off})
    return variables


def _ask(root: str, *arguments: str, variables: Dict[str, str] = {}) -> bytes:  # noqa: B006
    try:
        code, output, complaint = _run(root, *arguments, variables=variables)
    except FileNotFoundError:
        raise RepositoryError(f"{root} can't be read: git is not installed; install it") from None
    # git goes on without a directory that it may not read; a record must not.
    if code != 0 or "could not open directory" in complaint:
        raise _refusal(root, complaint)
    return output


def _run(
    directory: str,
    *arguments: str,
    variables: Dict[str, str] = {},  # noqa: B006
) -> tuple[int, bytes, str]:
    """Runs git; FileNotFoundError means that there is no git (a missing directory is git's to say).

    Args:
        directory: Where.
        arguments: Of git.
        variables: For its environment, beside our own.

    Returns:
        The exit code, standard output, standard error.
    """
    with _start(directory, *arguments, variables=variables) as process:
        output, complaint = process.communicate()
    return process.returncode, output, os.fsdecode(complaint)


def _start(
    directory: str,
    *arguments: str,
    variables: Dict[str, str] = {},  # noqa: B006
) -> subprocess.Popen[bytes]:
    import subprocess

    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    environment = {k: v for k, v in os.environ.items() if k not in _OF_THE_CALLER}
    environment.update(variables, GIT_OPTIONAL_LOCKS="0", LC_ALL="C")
    return subprocess.Popen(
        [*command, "-C", directory, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


def _refusal(directory: str, complaint: str) -> RepositoryError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    advice = [line for line in lines if line.startswith("git config")]
    if "safe.directory" in complaint and advice:
        return RepositoryError(
            f"git refuses to read {directory}: another user owns it (dubious ownership); "
            f"try: {advice[-1]}"
        )
    why = lines[0] if lines else "it gave no reason"
    return RepositoryError(f"git can't read {directory}: {why}; try `git -C {directory} status`")


def _refuse_checkout(directory: str) -> None:
    """Tells "no repository" from "a repository, but no git to ask": that one raises."""
    here, below = os.path.abspath(directory), ""
    while here != below:
        if os.path.lexists(os.path.join(here, ".git")):
            raise RepositoryError(f"{here} is a git checkout, but git is not installed; install it")
        here, below = os.path.dirname(here), here


def commit_date(root: str, commit: str) -> str:
    """Returns when a commit was made: an ISO date with time and zone."""
    return os.fsdecode(_ask(root, "show", "--no-patch", "--format=%cI", commit)).strip()
