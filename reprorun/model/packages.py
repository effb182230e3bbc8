"""Which packages an experiment asks for, and which it gets."""

from __future__ import annotations

from typing import Literal

from .base import Value

RequirementsKind = Literal[
    "none", "lock", "uv-lock", "pylock", "poetry-lock", "pipfile-lock", "requirements", "project",
    "setup", "conda", "imports",
]  # fmt: skip


class Requirements(Value, frozen=True, kw_only=True):
    """Which file says what packages the experiment needs, and what is said about its Python."""

    kind: RequirementsKind = "none"
    source: str | None = None  # file that decides, relative to the repository's root
    paths: tuple[str, ...] = ()  # of the working tree, to put on the module search path
    lines: tuple[str, ...] = ()  # of kind "imports": what was found, at the installed versions
    python: str | None = None  # X.Y that a file asks for
    requires_python: str | None = None  # versions that will do, such as ">=3.9,<3.13"
    python_source: str | None = None  # file that names that one, else the one for the rest
    requires_python_source: str | None = None  # file that says which will do
    system_packages: str | None = None  # apt.txt, relative to the root
    notes: tuple[str, ...] = ()  # what a reader should know


class RemoteFile(Value, frozen=True, kw_only=True):
    """A wheel or source distribution as an index, or a lock file, names it."""

    name: str  # file name
    sha256: str  # hex digits
    url: str | None = None  # None: the index has to be asked for it
    size: int | None = None  # bytes


class GitSource(Value, frozen=True, kw_only=True):
    """A commit of a git repository."""

    url: str  # without "git+"; may hold credentials until it is recorded
    commit: str
    subdirectory: str = ""


class Pinned(Value, frozen=True, kw_only=True):
    """One package of a lock file, with the files that may be taken for it."""

    name: str  # normalized
    version: str  # "" where a commit says it
    files: tuple[RemoteFile, ...] = ()
    git: GitSource | None = None


class Wanted(Value, frozen=True, kw_only=True):
    """The packages that an experiment wants, as its files say it; nothing is resolved yet."""

    lines: tuple[str, ...] = ()  # requirements as uv reads them
    constraints: tuple[str, ...] = ()  # the same, for what else comes in
    options: tuple[str, ...] = ()  # flags for uv that the file holds, such as an index's address
    exact: bool = False  # the lines, each pinned and hashed, are the whole set: nothing is added
    project: str | None = None  # a pyproject.toml that uv reads itself, relative to the root
    pinned: tuple[Pinned, ...] | None = None  # the whole set, where the file is a lock
    paths: tuple[str, ...] = ()  # of local projects, relative to the root: their modules' places
    files: tuple[str, ...] = ()  # all that were read, relative to the root
    notes: tuple[str, ...] = ()


class BaseImage(Value, frozen=True, kw_only=True):
    """The base image, and the interpreter found in it."""

    ref: str  # as asked for
    id: str
    digest: str  # of its layers and settings: the same on every engine
    repo_digest: str | None = None  # what a registry knows it by
    python: str = ""  # X.Y.Z
    executable: str = ""  # of the interpreter, in the image
    machine: str = ""  # x86_64, aarch64
    libc: str = ""  # "glibc 2.36"
    path: str = ""  # search path for programs
    below: str | None = None  # digest of the image that system packages were added to
    dockerfile: str | None = None  # of the project's own, that it was built from
    apt: tuple[str, ...] = ()  # system packages that were added (apt.txt)
    installed: tuple[str, ...] = ()  # NAME=VERSION of all system packages, where some were added

    @property
    def python_minor(self) -> str:
        """X.Y of the interpreter."""
        return ".".join(self.python.split(".")[:2])


class Source(Value, frozen=True, kw_only=True):
    """What a wheel was built from, because nobody offers a wheel that fits."""

    kind: Literal["sdist", "git"]
    name: str = ""  # file name of the source distribution
    sha256: str = ""  # of the source distribution
    commit: str = ""
    subdirectory: str = ""
    built_with: tuple[str, ...] = ()  # packages that were there while it was built


class Package(Value, frozen=True, kw_only=True):
    """One package of an environment: the very wheel that is installed."""

    name: str  # normalized
    version: str
    wheel: RemoteFile
    address: str | None = None  # where it is not from an index: its own, without credentials
    source: Source | None = None  # None: the wheel was offered as it is


class Lock(Value, frozen=True, kw_only=True):
    """Every package with version and hashes, for one Python on one platform."""

    packages: tuple[Package, ...] = ()  # by name
    paths: tuple[str, ...] = ()  # of local projects that were asked for, relative to the root
    source: str | None = None  # the file that decided
    resolved: str = ""  # UTC time
    cached: bool = False
    notes: tuple[str, ...] = ()
