"""Reads objects of a git repository that may not be one's own, with nothing of it being run.

Only names and contents of objects are asked for: no filter, attribute, hook, monitor or alias of
the repository has a part in that, and objects that are missing are not fetched.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import new as new_hash
from typing import IO, Any, Literal

from reprorun.errors import UsageError
from reprorun.model import Value

_MODES: dict[str, tuple[Literal["file", "link", "submodule"], bool]] = {
    "100644": ("file", False),
    "100664": ("file", False),  # of very old repositories
    "100755": ("file", True),
    "120000": ("link", False),
    "160000": ("submodule", False),
}
_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
_READ_ONLY = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",  # the commit is what its name says
    "GIT_OPTIONAL_LOCKS": "0",
}
_PIECE = 1 << 20  # bytes


class Entry(Value, frozen=True, kw_only=True):
    """One path of a commit."""

    kind: Literal["file", "link", "submodule"]
    oid: str  # of the blob; the commit of a submodule
    executable: bool = False
    size: int = 0  # bytes


# ---------------------------------------------------------------- the repository


def find_git_dir(directory: str) -> str | None:
    """The repository that a directory is in, or is; None where there is none.

    Raises:
        UsageError: git refuses to read it, or there is no git.
    """
    code, output, complaint = _ask("-C", directory, "rev-parse", "--absolute-git-dir")
    if code == 0:
        return os.fsdecode(output.removesuffix(b"\n"))
    if "not a git repository" in complaint:
        return None
    raise _refusal(directory, complaint)


def has_commit(git_dir: str, commit: str) -> bool:
    """Whether a repository holds a commit."""
    return _ask("--git-dir", git_dir, "cat-file", "-e", f"{commit}^{{commit}}")[0] == 0


def hash_name(git_dir: str) -> str:
    """What the repository names its objects by: sha1 or sha256."""
    return _output(git_dir, "rev-parse", "--show-object-format").decode().strip()


def list_commit(git_dir: str, commit: str) -> dict[str, Entry]:
    """All files, links and submodules of a commit, by path.

    Raises:
        UsageError: the repository can't be read, or is damaged.
    """
    output = _output(git_dir, "ls-tree", "-r", "-z", "-l", "--full-tree", f"{commit}^{{commit}}")
    return dict(_parse(line) for line in output.split(b"\0") if line)


def _parse(line: bytes) -> tuple[str, Entry]:
    """Takes apart `mode type oid size<tab>path`."""
    facts, _, path = line.partition(b"\t")
    mode, _, oid, size = facts.decode("ascii").split()
    kind, executable = _MODES.get(mode, ("file", False))
    length = int(size) if size.isdigit() else 0
    return os.fsdecode(path), Entry(kind=kind, oid=oid, executable=executable, size=length)


@contextmanager
def reading_blobs(git_dir: str) -> Iterator[Callable[[str], bytes]]:
    """A function that takes the name of a blob and returns its content."""
    command = ["git", *_QUIET, "--git-dir", git_dir, "cat-file", "--batch"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=_variables(_READ_ONLY)
    ) as git:
        questions, answers = git.stdin, git.stdout
        assert questions is not None
        assert answers is not None
        yield lambda oid: _blob(oid, git_dir, questions, answers)
        questions.close()


def _blob(oid: str, git_dir: str, questions: IO[bytes], answers: IO[bytes]) -> bytes:
    questions.write(oid.encode("ascii") + b"\n")
    questions.flush()
    words = answers.readline().split()
    if len(words) != 3 or words[1] != b"blob":
        raise UsageError(f"the repository {git_dir} lacks the file {oid}: try `git fsck` there.")
    content = answers.read(int(words[2]))
    answers.read(1)  # a line break
    return content


def clone(url: str, directory: str, shown: str) -> str:
    """Make a bare clone.

    Args:
        url: where the repository is; it may hold a login.
        directory: does not exist.
        shown: the same for messages.

    Returns:
        The clone's git directory.

    Raises:
        UsageError: it can't be cloned.
    """
    words = ("-c", "protocol.ext.allow=never", "clone", "--quiet", "--bare", "--", url, directory)
    code, _, complaint = _ask(*words, variables={"GIT_TERMINAL_PROMPT": "0"}, keep=True)
    if code:
        why = " ".join(complaint.replace(url, shown).split()) or "git gave no reason"
        raise UsageError(f"--repo {shown} can't be cloned: {why}")
    return directory


# ---------------------------------------------------------------- contents


def blob_id(content: IO[bytes], size: int, hash_name: str, *others: Any) -> str:
    """The name that git has for a file's content.

    Args:
        content: read to its end.
        size: of the content, in bytes.
        hash_name: as the repository has it.
        others: hashes, or anything with `update`, that are to be told the same content.
    """
    digest = new_hash(hash_name, b"blob %d\0" % size, usedforsecurity=False)
    while piece := content.read(_PIECE):
        for each in (digest, *others):
            each.update(piece)
    return digest.hexdigest()


def unified_diff(old: bytes, new: bytes, scratch: str) -> tuple[str, ...]:
    """The hunks of a unified diff of two texts.

    Args:
        old: UTF-8.
        new: UTF-8.
        scratch: a directory of one's own, to be written to.
    """
    for name, content in (("old", old), ("new", new)):
        with open(os.path.join(scratch, name), "wb") as file:
            file.write(content)
    words = ("diff", "--no-index", "--no-ext-diff", "--no-textconv", "--no-color", "--text")
    # outside any repository, and without the user's attributes and ways to show a difference
    alone = {
        "GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(scratch)),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "XDG_CONFIG_HOME": scratch,
        "HOME": scratch,
    }
    code, output, complaint = _ask(
        "-C", os.path.realpath(scratch), *words, "--", "old", "new", variables=alone
    )
    if code not in (0, 1):
        raise _refusal(scratch, complaint)
    lines = output.decode("utf-8", "replace").removesuffix("\n").split("\n")
    first = next((n for n, line in enumerate(lines) if line.startswith("@@")), len(lines))
    return tuple(lines[first:])


# ---------------------------------------------------------------- git


def _output(git_dir: str, *words: str) -> bytes:
    code, output, complaint = _ask("--git-dir", git_dir, *words)
    if code:
        raise _refusal(git_dir, complaint)
    return output


def _ask(
    *words: str, variables: dict[str, str] = _READ_ONLY, keep: bool = False
) -> tuple[int, bytes, str]:
    """Run git: its exit code, what it printed, what it complained of.

    Args:
        words: its arguments.
        variables: of the environment.
        keep: also those of the user's that are git's; else none, as they may name a repository.
    """
    try:
        done = subprocess.run(
            ["git", "--no-pager", *_QUIET, *words],
            env=_variables(variables, keep=keep),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed, and the repository is its; install it.") from error
    except ValueError as error:  # a NUL
        raise UsageError(f"{words[-1]!r} can't be a path or an address.") from error
    return done.returncode, done.stdout, os.fsdecode(done.stderr)


_OF_THE_CALLER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE")


def _variables(more: dict[str, str], *, keep: bool = False) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_")
        or (keep and name not in _OF_THE_CALLER and not name.startswith("GIT_OBJECT"))
    }
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **more}


def _refusal(place: str, complaint: str) -> UsageError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    advice = next((line for line in lines if line.startswith("git config")), None)
    if "safe.directory" in complaint and advice:
        return UsageError(f"git refuses to read {place}: another user owns it. Try: {advice}")
    why = lines[0].removeprefix("fatal: ") if lines else "it gave no reason"
    return UsageError(f"git can't read {place}: {why}")
