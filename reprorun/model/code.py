"""What was found of the user's files: the repository as it is, and inputs."""

from __future__ import annotations

from .base import Value


class LeftOut(Value, frozen=True, kw_only=True):
    """Something that the launch archive does not hold, and why."""

    path: str  # relative to the repository's root; ends in / for a directory
    reason: str
    size: int | None = None  # bytes
    sha256: str | None = None


class Submodule(Value, frozen=True, kw_only=True):
    """A git submodule, and the commit that is checked out."""

    path: str
    commit: str


class Code(Value, frozen=True, kw_only=True):
    """The launcher's repository, or its directory outside git."""

    root: str  # absolute, on the host
    launcher: str  # relative to root
    workdir: str  # working directory relative to root, "." for the root itself
    in_git: bool
    commit: str | None = None
    dirty: bool = False
    files: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    submodules: tuple[Submodule, ...] = ()
    state: str = ""  # equal for equal content of all files; empty where that is not known

    @property
    def githash(self) -> str | None:
        """The commit, with `-dirty` when the tree had changes; None without a commit."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit

    @property
    def metadata(self) -> dict[str, str]:
        """garage's two keys: `launcher` is absolute outside git, where there is no `githash`."""
        if not self.in_git:
            return {"launcher": f"{self.root}/{self.launcher}"}
        githash = {"githash": self.githash} if self.githash else {}
        return {**githash, "launcher": self.launcher}


class InputFile(Value, frozen=True, kw_only=True):
    """Read-only data that the run was given: mounted, not archived."""

    path: str  # on the host
    target: str  # in the container
    size: int  # bytes
    sha256: str  # of the file; of the sorted listing with digests for a directory
    files: int = 1
