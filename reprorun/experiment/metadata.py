"""Which script started the experiment, and from which commit: what metadata.json holds."""

from __future__ import annotations

import os
import sys

from reprorun.experiment.guest import current_guest
from reprorun.experiment.repository import describe, find_root


def get_metadata() -> tuple[str | None, dict[str, str]]:
    """Finds the launcher (the main script) and the state of its repository.

    Returns:
        The root of the launcher's repository (None outside git), and a dictionary with `launcher`,
        its path relative to that root (absolute outside git), and `githash`, the commit, with
        `-dirty` after it when there are uncommitted changes (absent outside git and before the
        first commit). Without a main script: None and an empty dictionary. In a container: what
        was found when the container was started.

    Raises:
        RepositoryError: If the script is in a repository that can't be read.

    Source:
        The semantics follow garage's documentation of `garage.experiment.get_metadata`.
    """
    guest = current_guest()
    if guest is not None:
        return guest.root, dict(guest.metadata)
    launcher = _launcher()
    if launcher is None:
        return None, {}
    root = find_root(launcher)
    if root is None:
        return None, {"launcher": launcher}
    metadata = {"launcher": os.path.relpath(_real_place(launcher), root)}
    githash = describe(root).githash
    if githash is not None:
        metadata["githash"] = githash
    return root, metadata


def launcher_below(root: str) -> str | None:
    """Returns the main script's path relative to a directory; None if it is not below it."""
    launcher = _launcher()
    if launcher is None:
        return None
    path = os.path.relpath(_real_place(launcher), os.path.realpath(root))
    return None if path.split(os.sep)[0] == os.pardir else path


def _launcher() -> str | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.abspath(file) if file else None


def _real_place(path: str) -> str:
    """Resolves the directory, as git does, and not the file: a link to a script has its own name.

    Without it the path relative to git's root would lead out of it.
    """
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
