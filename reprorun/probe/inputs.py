"""Read-only data of a run: what `--input` names and the files too large for the archive."""

from __future__ import annotations

import os

from reprorun.errors import UsageError
from reprorun.files import digest_of, sha256_of
from reprorun.model import HOME, LOG_DIR, WORKSPACE, Code, InputFile

# Mounting over these would break the container or its isolation.
RESERVED = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin"),
    *("/sys", "/usr", "/var/run", WORKSPACE, LOG_DIR, HOME),
)


def find_inputs(paths: tuple[str, ...], cwd: str, code: Code) -> tuple[InputFile, ...]:
    """The inputs that are named, and the files too large for the archive.

    Raises:
        UsageError: as `named_inputs`.
    """
    named = named_inputs(paths, cwd, code.root)
    return (*named, *_large_files(code, {entry.target for entry in named}))


def named_inputs(paths: tuple[str, ...], cwd: str, root: str) -> tuple[InputFile, ...]:
    """Hash the inputs and say where the container will see them.

    An input inside the repository appears at its place in the working tree, one outside at the
    same absolute path as on the host, so that a script finds its data without being changed.

    Raises:
        UsageError: an input that is not there, or whose path the container needs for itself.
    """
    named = {}
    for path in paths:
        try:
            entry = _describe(os.path.join(cwd, path), path, root)
        except OSError as error:
            raise UsageError(
                f"--input {path}: {error.filename} can't be read: {error.strerror}."
            ) from error
        named[entry.target] = entry  # the same one twice is mounted once
    return tuple(named.values())


def _describe(path: str, typed: str, root: str) -> InputFile:
    if not os.path.exists(path):
        raise UsageError(f"--input {typed}: there is no such file or directory.")
    path = os.path.realpath(path)
    target = _target(path, typed, root)
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise UsageError(f"--input {typed} is neither a file nor a directory.")
    return describe_input(path, target)


def describe_input(path: str, target: str) -> InputFile:
    """A file or directory with its digest.

    Args:
        path: on the host.
        target: in the container.

    Raises:
        OSError: it can't be read.
    """
    if os.path.isdir(path):
        return _describe_directory(path, target)
    return InputFile(path=path, target=target, size=os.path.getsize(path), sha256=sha256_of(path))


def _target(path: str, typed: str, root: str) -> str:
    inside = os.path.relpath(path, root)
    if inside == ".":
        raise UsageError(f"--input {typed} is the repository itself, which is archived anyway.")
    if inside != ".." and not inside.startswith("../"):
        return f"{WORKSPACE}/{inside}"
    taken = is_reserved(path)
    if taken:
        raise UsageError(
            f"--input {typed}: the container has its own {taken}, so {path} "
            "can't be shown at the same path there. Copy or bind it elsewhere, such as /data."
        )
    return path


def is_reserved(path: str) -> str | None:
    """The place of the container's own that a path would lie over or in; None where there is none.

    Args:
        path: absolute.
    """
    if path == "/tmp":
        return path
    return next((place for place in RESERVED if _overlap(path, place)), None)


def _overlap(path: str, place: str) -> bool:
    return path == os.path.commonpath((path, place)) or path.startswith(place + "/")


def _describe_directory(path: str, target: str) -> InputFile:
    names = sorted(
        os.path.relpath(os.path.join(directory, name), path)
        for directory, _, files in os.walk(path, onerror=_raise)
        for name in files
    )
    regular = [name for name in names if os.path.isfile(os.path.join(path, name))]
    parts = [part for name in regular for part in (name, sha256_of(os.path.join(path, name)))]
    return InputFile(
        path=path,
        target=target,
        size=sum(os.path.getsize(os.path.join(path, name)) for name in regular),
        sha256=digest_of(*parts),
        files=len(regular),
    )


def _raise(error: OSError) -> None:
    raise error


def _large_files(code: Code, already: set[str]) -> tuple[InputFile, ...]:
    """Files of the repository that the archive leaves out for their size: already hashed."""
    return tuple(
        InputFile(
            path=os.path.join(code.root, entry.path),
            target=f"{WORKSPACE}/{entry.path}",
            size=entry.size,
            sha256=entry.sha256,
        )
        for entry in code.left_out
        if entry.size is not None
        and entry.sha256 is not None
        and f"{WORKSPACE}/{entry.path}" not in already
    )
