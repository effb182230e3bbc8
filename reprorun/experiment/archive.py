"""The launch archive: the repository as it was, the same bytes for the same content."""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from typing import TYPE_CHECKING, BinaryIO, Iterator

from reprorun.experiment import archive_cache
from reprorun.experiment.atomic import replacing
from reprorun.experiment.encoder import dump_json
from reprorun.experiment.metadata import launcher_below
from reprorun.experiment.repository import LeftOut, RepositoryError, Tree, list_tree
from reprorun.experiment.tree import hash_file

if TYPE_CHECKING:
    import tarfile

ARCHIVE_NAME = "launch_archive.tar.xz"
LEFT_OUT_NAME = "left_out.json"
_FORM = "tar.xz 1, Python {}.{}".format(*sys.version_info[:2])  # changes with the bytes
_MTIME = 315532800  # 1980-01-01 in seconds since 1970: the oldest date that zip files can hold


def make_launcher_archive(*, git_root_path: str | bytes, log_dir: str | bytes) -> None:
    """Saves the launcher's repository in a log directory.

    Writes launch_archive.tar.xz and, when anything had to be left out, left_out.json, and warns
    about files that were left out for their size.

    Args:
        git_root_path: The root of the repository's working tree.
        log_dir: The log directory; it must exist.

    Raises:
        RepositoryError: If the repository or one of its files can't be read.

    Source:
        The semantics follow garage's documentation of `garage.experiment.make_launcher_archive`;
        garage drops large files silently.
    """
    root, directory = os.fsdecode(git_root_path), os.fsdecode(log_dir)
    tree = list_tree(root, launcher_below(root))
    write_archive(root, tree, os.path.join(directory, ARCHIVE_NAME))
    left_out_file = os.path.join(directory, LEFT_OUT_NAME)
    # Also when the directory is used again and its list has become empty.
    if tree.left_out or os.path.exists(left_out_file):
        dump_json(left_out_file, [entry._asdict() for entry in tree.left_out])
    _warn_of_large_files(tree)


def write_archive(root: str, tree: Tree, path: str) -> str:
    """Writes the files of a tree as tar.xz, or copies what was written of them before.

    The bytes depend on names, content and the owner's executable bit only (and on Python being
    3.9 or newer: 3.8 fills an unused header field differently).

    Args:
        root: The directory that the tree's paths are relative to.
        tree: What to keep. Files that have vanished since it was listed are skipped.
        path: Where to write; the file appears when it is complete.

    Returns:
        `sha256:` and the digest of the written file in hexadecimal.

    Raises:
        RepositoryError: If there is nothing to archive or a file can't be read.
    """
    import lzma
    import tarfile

    # Before they are read: what changes meanwhile is not taken for unchanged the next time.
    state = archive_cache.state_of(root, tree, _FORM)
    known = archive_cache.recall(state, path)
    if known:
        return "sha256:" + known
    # The files first: they say whether there is anything to write.
    if not any(os.path.lexists(os.path.join(root, name)) for name in tree.files):
        raise RepositoryError(f"{root} holds no files to archive; add the launcher to it")
    with replacing(path) as file:
        with lzma.open(file, "wb", format=lzma.FORMAT_XZ, preset=0) as compressed:
            with tarfile.open(
                fileobj=compressed,
                mode="w",
                format=tarfile.GNU_FORMAT,
                encoding="utf-8",
                errors="surrogateescape",
            ) as tar:
                for entry, content in _entries(root, tree):
                    tar.addfile(entry, content)
    digest = hash_file(path)
    archive_cache.keep(state, path, digest)
    return "sha256:" + digest


def _entries(root: str, tree: Tree) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    """Yields directories and files in the order of their paths, parents first."""
    directories = _directories(tree)
    for name in sorted(directories.union(tree.files)):
        entry = _directory(name) if name in directories else _file(root, name)
        if entry is not None:
            yield entry


def _directories(tree: Tree) -> set[str]:
    """Returns all parents of files, also of left-out ones, which can be mounted there."""
    found: set[str] = set()
    for name in (*tree.files, *(out.path for out in tree.left_out if out.size is not None)):
        parent = os.path.dirname(name)
        while parent and parent not in found:
            found.add(parent)
            parent = os.path.dirname(parent)
    return found


def _directory(name: str) -> tuple[tarfile.TarInfo, None]:
    import tarfile

    entry = _blank(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry, None


def _file(root: str, name: str) -> tuple[tarfile.TarInfo, BinaryIO | None] | None:
    """Returns a link or a file as it is now; None if it has vanished."""
    import tarfile

    path = os.path.join(root, name)
    entry = _blank(name)
    try:
        if os.path.islink(path):
            entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
            return entry, None
        # As a whole, so that a file which is being written can't break the tar.
        mode, content = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RepositoryError(
            f"{path} can't be read: {error.strerror}; make it readable or let git ignore it"
        ) from None
    if not stat.S_ISREG(mode):
        return None
    entry.mode = 0o755 if mode & stat.S_IXUSR else 0o644
    entry.size = len(content)
    return entry, io.BytesIO(content)


def _read(path: str) -> tuple[int, bytes]:
    # Not blocking, in case that a FIFO has taken the file's place.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        return mode, file.read() if stat.S_ISREG(mode) else b""


def _blank(name: str) -> tarfile.TarInfo:
    """Returns an entry without an owner; its defaults are uid and gid 0 and no names."""
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.mtime = _MTIME
    return entry


def _warn_of_large_files(tree: Tree) -> None:
    large = [entry for entry in tree.left_out if entry.size is not None]
    if large:
        warnings.warn(
            f"The launch archive is without {len(large)} file(s) of 8 MiB or more: "
            f"{', '.join(map(_with_size, large))}. {LEFT_OUT_NAME} lists them; "
            "archive_launch_repo=False in wrap_experiment makes no archive.",
            stacklevel=3,
        )


def _with_size(entry: LeftOut) -> str:
    return f"{entry.path} ({(entry.size or 0) / 2**20:.1f} MiB)"
