"""The launch archive: the repository as it was, the same bytes for the same content."""

from __future__ import annotations

import hashlib
import os
import warnings

from reprorun.experiment import archive_cache
from reprorun.experiment.archive_tar import tar_of
from reprorun.experiment.atomic import replacing
from reprorun.experiment.encoder import dump_json
from reprorun.experiment.metadata import launcher_below
from reprorun.experiment.repository import LeftOut, RepositoryError, Tree, list_tree
from reprorun.experiment.xz import compressed

ARCHIVE_NAME = "launch_archive.tar.xz"
LEFT_OUT_NAME = "left_out.json"
_FORM = "tar.xz 2"  # changes with the bytes


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
    """Writes the files of a tree as tar.xz, or takes what was written of them before.

    The bytes depend on names, content and the owner's executable bit only.

    Args:
        root: The directory that the tree's paths are relative to.
        tree: What to keep. Files that have vanished since it was listed are skipped.
        path: Where to write; the file appears when it is complete.

    Returns:
        `sha256:` and the digest of the written file in hexadecimal.

    Raises:
        RepositoryError: If there is nothing to archive or a file can't be read.
    """
    # Before they are read: what changes meanwhile is not taken for unchanged the next time.
    state = archive_cache.state_of(root, tree, _FORM)
    known = archive_cache.recall(state, path)
    if known:
        return "sha256:" + known
    # The files first: they say whether there is anything to write.
    if not any(os.path.lexists(os.path.join(root, name)) for name in tree.files):
        raise RepositoryError(f"{root} holds no files to archive; add the launcher to it")
    digest = hashlib.sha256()
    with replacing(path) as file:
        for part in compressed(tar_of(root, tree)):
            file.write(part)
            digest.update(part)
    archive_cache.keep(state, path, digest.hexdigest())
    return "sha256:" + digest.hexdigest()


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
