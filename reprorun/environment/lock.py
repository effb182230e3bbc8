"""Locking: every package with version and hash, for the container's Python and platform.

A lock is remembered by everything that it was made from, so that equal inputs give an equal lock
without asking the index; `--rebuild` asks again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timezone

import msgspec

from reprorun import files
from reprorun.environment.builds import Build, Builds
from reprorun.environment.fetch import cached
from reprorun.environment.resolve import resolve
from reprorun.environment.tags import best_wheel
from reprorun.environment.uv_answer import Candidate, Resolution, normal_name
from reprorun.environment.uv_settings import settings_files
from reprorun.environment.wheel_file import WheelMetadata
from reprorun.errors import LockFailed, UsageError
from reprorun.model import BaseImage, Lock, Pinned, Value, Wanted
from reprorun.notes import read_note, write_note

NOT_ASKED = (
    "the index can't be reached: the packages are the newest of those that were known before"
)
_MOST_ROUNDS = 50


class Request(Value, frozen=True, kw_only=True):
    """What a lock is made from."""

    wanted: Wanted
    root: str  # the repository's, absolute
    base: BaseImage  # that the packages must fit
    source: str | None = None  # the file that decided
    extra: tuple[str, ...] = ()  # requirement lines to add
    projects: tuple[str, ...] = ()  # every pyproject.toml that uv may read, relative to the root
    own_lock: bool = False  # it was made by reprorun: somebody may have edited it
    as_of: str | None = None  # ISO date; packages of that day
    offline: bool = False
    foreign: bool = False  # the files below the root came out of a record


def make_lock(request: Request, build: Build, *, fresh: bool = False) -> Lock:
    """Resolve what an experiment needs, or recall what was resolved for the same input.

    Args:
        request: what is needed, and for what.
        build: makes a wheel where there is only source.
        fresh: resolve again even when the answer is known.

    Raises:
        LockFailed: with the reason, uv's explanation where it is uv's.
    """
    if _is_empty(request.wanted) and not request.extra:
        return Lock(paths=request.wanted.paths, source=request.source)
    path = os.path.join(files.cache_directory("locks"), f"{_key(request)}.json")
    if not fresh and (known := _recall(path)):
        return msgspec.structs.replace(known, source=request.source, cached=True)
    lock = _made(request, build)
    if NOT_ASKED not in lock.notes:
        # an address in it may hold a login that a variable has put there
        write_note(path, msgspec.json.encode(lock), private=True)
    return lock


def _is_empty(wanted: Wanted) -> bool:
    return not (wanted.lines or wanted.project or wanted.pinned)


def _recall(path: str) -> Lock | None:
    try:
        return msgspec.json.decode(read_note(path) or b"", type=Lock)
    except msgspec.MsgspecError:  # there is none, or one of another version: resolved anew
        return None


def _key(request: Request) -> str:
    base = request.base
    asked_of_uv = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("UV_"))
    read = [os.path.join(request.root, name) for name in request.projects]
    if request.wanted.pinned is None:
        read += settings_files(os.path.dirname(os.path.join(request.root, request.source or "x")))
    return files.digest_of(
        "lock 3",
        *asked_of_uv,
        "for",
        *(base.python, base.machine, base.libc, request.as_of or "", str(request.foreign)),
        msgspec.json.encode(request.wanted),
        *request.extra,
        "files",
        *(_content(path) for path in read),
    )


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.") from error


# ---------------------------------------------------------------- making one


def _made(request: Request, build: Build) -> Lock:
    makers = Builds(build)
    if request.wanted.pinned is None:
        whole = msgspec.structs.replace(
            request.wanted, lines=(*request.wanted.lines, *request.extra)
        )
        resolution = _resolved(request, whole, makers)
    else:
        resolution = _pinned(request, request.wanted.pinned)
        there = {candidate.name for candidate in resolution.candidates}
        missing = [line for line in request.extra if normal_name(line) not in there]
        if missing:
            beside = _resolved(request, Wanted(lines=tuple(missing)), makers)
            resolution = _merged(resolution, beside)
    packages = [makers.package(candidate) for candidate in resolution.candidates]
    return Lock(
        packages=tuple(sorted(packages, key=lambda package: package.name)),
        paths=(*request.wanted.paths, *_import_roots(resolution.directories, request.root)),
        source=request.source,
        resolved=datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="seconds"),
        notes=(
            *request.wanted.notes,
            *([NOT_ASKED] if resolution.from_cache else ()),
            *(_what_lacks(request, resolution, makers) if request.own_lock else ()),
        ),
    )


def _what_lacks(request: Request, resolution: Resolution, makers: Builds) -> Iterator[str]:
    """Whether a lock that may have been edited has all that its packages need."""
    given = {candidate.name: candidate for candidate in resolution.candidates}
    built = {(c.name, makers.of(c).metadata) for c in given.values() if c.wheel is None}
    wanted = msgspec.structs.replace(request.wanted, exact=False)
    try:
        whole = _asked(request, wanted, built)
    except LockFailed as failure:
        reason = " ".join(str(failure).split()).partition(": ")[2]
        yield f"the packages of {request.source} don't fit together: {reason}"
        return
    missing = sorted({candidate.name for candidate in whole.candidates} - set(given))
    if missing:
        yield f"{request.source} lacks {', '.join(missing)}, which others in it need"


def _resolved(request: Request, wanted: Wanted, builds: Builds) -> Resolution:
    """What uv chooses in the end; asked again when a build has told what its package needs."""
    known: set[tuple[str, WheelMetadata]] = set()  # of all that was tried: a version may not do
    for _ in range(_MOST_ROUNDS):
        resolution = _asked(request, wanted, known)
        now = {(c.name, builds.of(c).metadata) for c in resolution.candidates if c.wheel is None}
        if wanted.exact or now <= known:
            return resolution
        known |= now
    raise LockFailed(
        "the packages that must be built from source ask for ever others of each other."
    )


def _asked(
    request: Request, wanted: Wanted, built: Collection[tuple[str, WheelMetadata]] = ()
) -> Resolution:
    """What uv chooses, knowing what was built from source."""
    return resolve(
        wanted,
        request.root,
        request.base,
        built,
        as_of=request.as_of,
        offline=request.offline,
        foreign=request.foreign,
    )


def _merged(first: Resolution, second: Resolution) -> Resolution:
    return Resolution(
        candidates=(*first.candidates, *second.candidates),
        from_cache=first.from_cache or second.from_cache,
        directories=(*first.directories, *second.directories),
    )


def _pinned(request: Request, pinned: Sequence[Pinned]) -> Resolution:
    """The files of a lock that fit; those without an address are looked up in the index."""
    candidates = [_chosen(package, request) for package in pinned]
    unknown = [c for c in candidates if not c.git and not _can_be_had(c)]
    if not unknown:
        return Resolution(candidates=tuple(candidates))
    allowed = {package.name: package for package in pinned}
    lines = tuple(_line(allowed[candidate.name]) for candidate in unknown)
    asked = _asked(request, Wanted(lines=lines, exact=True, options=request.wanted.options))
    answers = {candidate.name: candidate for candidate in asked.candidates}
    return Resolution(candidates=tuple(answers.get(c.name, c) for c in candidates))


def _line(package: Pinned) -> str:
    hashes = " ".join(f"--hash=sha256:{file.sha256}" for file in package.files)
    return f"{package.name}=={package.version} {hashes}"


def _chosen(package: Pinned, request: Request) -> Candidate:
    if package.git:
        return Candidate(name=package.name, version=package.version, git=package.git)
    wheel = best_wheel(package.files, request.base)
    if wheel:
        return Candidate(name=package.name, version=package.version, wheel=wheel)
    for file in package.files:
        if not file.name.endswith(".whl"):
            return Candidate(name=package.name, version=package.version, sdist=file)
    base = request.base
    names = ", ".join(file.name for file in package.files[:4]) or "no file at all"
    raise LockFailed(
        f"{package.name} {package.version} has no wheel for Python {base.python_minor} on "
        f"{base.machine} with {base.libc}, and no source; {request.source} lists {names}. "
        "Choose another --python or --base-image."
    )


def _can_be_had(candidate: Candidate) -> bool:
    file = candidate.wheel or candidate.sdist
    return file is not None and (file.url is not None or cached(file) is not None)


def _import_roots(directories: Sequence[str], root: str) -> tuple[str, ...]:
    """Where the modules of local projects lie, relative to the repository's root."""
    found = []
    for directory in directories:
        inside = os.path.relpath(os.path.realpath(directory), os.path.realpath(root))
        if inside == ".." or inside.startswith("../"):
            raise UsageError(
                f"{directory} is a package of your own outside the repository {root}, so the "
                "record could not keep it. Make it a submodule, or ask for it by its git address."
            )
        source = os.path.join(inside, "src")
        has_source = os.path.isdir(os.path.join(root, source))
        found.append(os.path.normpath(source if has_source else inside))
    return tuple(found)
