"""Wheels of packages that offer only source: built in throw-away containers, and kept.

What a build needs is locked, fetched and assembled like any environment, on the host. The container
alone has the network, for builds that fetch something themselves; no credentials are in it.
"""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import closing

import msgspec

import reprorun
from reprorun import files
from reprorun.engine import Engine
from reprorun.environment.builds import Built
from reprorun.environment.credentials import strip
from reprorun.environment.fetch import cached, fetch_whole, keep
from reprorun.environment.layers import PlainLayer, environment_digest
from reprorun.environment.lock import Request, make_lock
from reprorun.environment.source import SourceTree, from_distribution, from_git
from reprorun.environment.tar import EPOCH
from reprorun.environment.uv_answer import Candidate, normal_name
from reprorun.environment.wheel_file import read_metadata
from reprorun.errors import BuildFailed, LockFailed
from reprorun.held import holding
from reprorun.model import (
    KIND_LABEL,
    RUN_LABEL,
    WORKSPACE,
    BaseImage,
    ContainerSpec,
    Image,
    ImageSpec,
    Lock,
    RemoteFile,
    Value,
    Wanted,
)
from reprorun.notes import read_note, write_note
from reprorun.plan import BUILD_REPOSITORY, plan_environment
from reprorun.workflow.build import build_environment, layer_titles
from reprorun.workflow.report import Reporter

OUTPUT = f"{WORKSPACE}/wheel"
LINES_SHOWN = 20  # of a build that failed
_DEEPEST = 5  # builds that need builds
_VARIABLES = {
    "SOURCE_DATE_EPOCH": str(EPOCH),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",  # what is said last comes last
}


class _Note(Value, frozen=True, kw_only=True):
    """What the cache remembers of a build."""

    wheel: RemoteFile
    built_with: tuple[str, ...]


class WheelBuilder:
    """Builds wheels for one base image.

    Args:
        base: the image that they must fit.
        engine: runs the builds.
        report: told what happens.
        as_of: ISO date; what a build needs is that day's.
        offline: open no connection.
        fresh: build again what was built before.
        depth: how many builds wait for this one.
    """

    def __init__(
        self,
        base: BaseImage,
        engine: Engine,
        report: Reporter,
        *,
        as_of: str | None,
        offline: bool,
        fresh: bool = False,
        depth: int = 0,
    ) -> None:
        self._base = base
        self._engine = engine
        self._report = report
        self._as_of = as_of
        self._offline = offline
        self._fresh = fresh
        self._depth = depth

    def __call__(self, candidate: Candidate) -> Built:
        """The wheel of a candidate, built or remembered.

        Raises:
            LockFailed: its source, or what its build needs, can't be had.
            BuildFailed: the build failed, with the last that it printed.
        """
        note = os.path.join(files.cache_directory("built"), f"{self._key(candidate)}.json")
        if not self._fresh and (known := _recall(note)):
            return known
        self._report.step("building", f"{_title(candidate)}, which offers no wheel that fits")
        tree = self._source(candidate)
        lock = self._lock(tree.system.requires)
        more = self._asked(tree, lock, candidate)
        if more:
            lock = self._lock((*tree.system.requires, *more))
        name, content = self._build(tree, lock, candidate)
        return self._kept(name, content, lock, candidate, note)

    def _key(self, candidate: Candidate) -> str:
        source = candidate.sdist.sha256 if candidate.sdist else msgspec.json.encode(candidate.git)
        base = self._base
        return files.digest_of(
            "wheel 1", source, base.digest, base.python, base.executable, self._as_of or ""
        )

    def _source(self, candidate: Candidate) -> SourceTree:
        if candidate.git:
            return from_git(candidate.git, offline=self._offline)
        assert candidate.sdist is not None
        paths = fetch_whole(
            [candidate.sdist],
            offline=self._offline,
            progress=self._report.progress,
            note=self._report.note,
        )
        return from_distribution(paths[candidate.sdist.sha256])

    def _lock(self, requires: tuple[str, ...]) -> Lock:
        if self._depth >= _DEEPEST:
            raise LockFailed(
                f"more than {_DEEPEST} builds wait for each other: {', '.join(requires)}"
            )
        request = Request(
            wanted=Wanted(lines=requires),
            root="/",
            base=self._base,
            as_of=self._as_of,
            offline=self._offline,
        )
        deeper = WheelBuilder(
            self._base,
            self._engine,
            self._report,
            as_of=self._as_of,
            offline=self._offline,
            fresh=self._fresh,
            depth=self._depth + 1,
        )
        return make_lock(request, deeper, fresh=self._fresh)

    # ------------------------------------------------------------ in the container

    def _asked(self, tree: SourceTree, lock: Lock, candidate: Candidate) -> tuple[str, ...]:
        """What the backend needs beside what it declares."""
        output = self._run("requires", tree, lock, candidate)
        asked = msgspec.json.decode(output.get("requires.json", b"[]"), type=tuple[str, ...])
        there = {package.name for package in lock.packages}
        return tuple(line for line in asked if normal_name(line) not in there)

    def _build(self, tree: SourceTree, lock: Lock, candidate: Candidate) -> tuple[str, bytes]:
        output = self._run("build", tree, lock, candidate)
        wheels = [(name, data) for name, data in output.items() if name.endswith(".whl")]
        if len(wheels) != 1:
            raise BuildFailed(
                f"building {_title(candidate)} gave {len(wheels)} wheels; one was wanted."
            )
        return wheels[0]

    def _run(
        self, action: str, tree: SourceTree, lock: Lock, candidate: Candidate
    ) -> dict[str, bytes]:
        """Run an action of `reprorun.experiment.build_wheel`; returns the files that it made."""
        identity = os.urandom(8).hex()
        with holding(identity, engine=self._engine.info().address):
            tag = f"{BUILD_REPOSITORY}:{identity}"
            image = self._image(tag, tree, lock, candidate)
            module = ("-m", "reprorun.experiment.build_wheel", action, tree.directory, OUTPUT)
            name = f"reprorun-build-{identity}"
            spec = ContainerSpec(
                image=image.id,
                entrypoint=("python", *module, tree.system.backend, *tree.system.backend_path),
                command=(),
                name=name,
                env=_VARIABLES,
                user=f"{os.getuid()}:{os.getgid()}",
                workdir=WORKSPACE,
                network="none" if self._offline else "bridge",
                labels={"reprorun": "build", RUN_LABEL: identity},
            )
            container = self._engine.create(spec)
            try:
                with closing(self._engine.attach(container)) as pieces:
                    self._engine.start(container)
                    said = self._listen(pieces)
                code = self._engine.wait(container).exit_code
                if code:
                    raise BuildFailed(self._failure(candidate, code, said))
                return _unpacked(b"".join(self._engine.copy_out(container, OUTPUT)))
            finally:
                self._engine.remove(container)
                self._engine.remove_image(tag)

    def _listen(self, pieces: object) -> list[str]:
        lines: list[str] = []
        rest = b""
        for _, piece in pieces:  # type: ignore[attr-defined]
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                lines.append(line.decode(errors="replace").rstrip())
                self._report.progress(lines[-1])
            del lines[:-LINES_SHOWN]
        return [*lines, rest.decode(errors="replace")] if rest else lines

    def _image(self, tag: str, tree: SourceTree, lock: Lock, candidate: Candidate) -> Image:
        """What the build needs, and the source."""
        version = reprorun.__version__
        digest = environment_digest(self._base, lock, ())
        plan = plan_environment(version, self._base, digest, layer_titles(lock, self._base))
        below = build_environment(plan, lock, (), self._engine, self._report, offline=self._offline)
        spec = ImageSpec(
            tag=tag,
            parent=below.id,
            labels={"reprorun": version, KIND_LABEL: "build"},
            dockerfile=lambda: f"FROM {plan.tag}\nADD layer-01.tar /\n",
        )
        layer = PlainLayer(f"source of {candidate.name}", tree.entries)
        return self._engine.make(spec, [layer], 0, self._report.progress)

    def _failure(self, candidate: Candidate, code: int, said: list[str]) -> str:
        base = self._base
        last = "\n".join(f"  {line}" for line in said[-LINES_SHOWN:])
        return (
            f"{_title(candidate)} has no wheel for Python {base.python_minor} on {base.machine} "
            f"with {base.libc}, and building one failed (exit code {code}):\n{last}\n"
            "Ask for a version that has a wheel, choose another --python (or --as-of), or name the "
            "system packages that the build needs in apt.txt."
        )

    # ------------------------------------------------------------ the wheel

    def _kept(
        self, name: str, content: bytes, lock: Lock, candidate: Candidate, note: str
    ) -> Built:
        sha256, path = keep(name, content)
        metadata = read_metadata(path)
        if normal_name(metadata.name) != candidate.name:
            raise BuildFailed(
                f"building {_title(candidate)} gave a wheel of {metadata.name!r} instead."
            )
        if not _is_version(metadata.version, candidate):
            raise BuildFailed(
                f"building {_title(candidate)} gave a wheel of version {metadata.version} instead."
            )
        wheel = RemoteFile(name=name, sha256=sha256, size=len(content))
        built_with = tuple(f"{package.name}=={package.version}" for package in lock.packages)
        write_note(note, msgspec.json.encode(_Note(wheel=wheel, built_with=built_with)))
        return Built(wheel=wheel, metadata=metadata, built_with=built_with)


def _recall(note: str) -> Built | None:
    try:
        known = msgspec.json.decode(read_note(note) or b"", type=_Note)
    except msgspec.MsgspecError:  # there is none, or one of another version
        return None
    path = cached(known.wheel)
    if path is None:
        return None
    return Built(wheel=known.wheel, metadata=read_metadata(path), built_with=known.built_with)


def _is_version(found: str, candidate: Candidate) -> bool:
    """Whether a wheel is of the version that was chosen; what has an address may have any."""
    from packaging.version import InvalidVersion, Version

    if candidate.git or candidate.address:
        return True
    try:
        return Version(found) == Version(candidate.version)
    except InvalidVersion:
        return found == candidate.version


def _title(candidate: Candidate) -> str:
    if candidate.git:
        return f"{candidate.name} from {strip(candidate.git.url)} at {candidate.git.commit[:12]}"
    return f"{candidate.name} {candidate.version}"


def _unpacked(data: bytes) -> dict[str, bytes]:
    """The regular files of a tar, by their last name. It comes from the container: nothing is
    written anywhere by the names in it."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content:
                found[os.path.basename(member.name)] = content.read()
    return found
