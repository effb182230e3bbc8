"""The packages of a record, once more: the very same wheels, or an error that names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from reprorun.engine import Engine
from reprorun.environment.fetch import cached
from reprorun.environment.lock import Request, make_lock
from reprorun.environment.resolve import IndexUnreachable
from reprorun.environment.tags import best_wheel
from reprorun.errors import LockFailed, UsageError
from reprorun.formats.read import read
from reprorun.formats.target import Target
from reprorun.model import (
    BaseImage,
    GitSource,
    Lock,
    Package,
    Pinned,
    Record,
    RemoteFile,
    Wanted,
)
from reprorun.probe.requirements import find_requirements
from reprorun.workflow.gather import refuse_host_variables
from reprorun.workflow.report import Reporter
from reprorun.workflow.restore import Tree, Wish
from reprorun.workflow.wheels import WheelBuilder


def recorded_lock(record: Record) -> Lock:
    """The packages as the record names them."""
    return Lock(
        packages=record.packages,
        source=record.requirements,
        resolved=record.packages_resolved or "",
        cached=True,
    )


def restore_lock(
    record: Record, base: BaseImage, engine: Engine, report: Reporter, wish: Wish, tree: Tree
) -> Lock:
    """The record's packages, the very same wheels where the base image is of the same kind.

    Args:
        record: names them.
        base: what they must fit. Where a wheel does not, another of the same version is taken.
        engine: builds what has only source.
        report: told what happens.
        wish: whether connections may be opened, and newer versions taken.
        tree: the record's code, whose files may say where packages come from.

    Raises:
        LockFailed: naming what can't be had.
    """
    lock = recorded_lock(record)
    asking = _Asking(record, base, engine, report, wish, tree)
    if _is_alike(record.base_image, base):
        missing = [package for package in record.packages if cached(package.wheel) is None]
        found = asking.for_packages(missing) if missing else ()
    else:
        found = asking.of_same_versions() if record.packages else ()
    kept = {package.name: package for package in record.packages}
    chosen = {package.name: _one_of(package, kept.get(package.name), base) for package in found}
    merged = sorted({**kept, **chosen}.values(), key=lambda package: package.name)
    return msgspec.structs.replace(lock, packages=tuple(merged))


def _is_alike(before: BaseImage | None, now: BaseImage) -> bool:
    """Whether packages need the same there: another Python may want others beside them."""
    if before is None:
        return False
    parts = ("python_minor", "machine", "libc")
    return all(getattr(before, part) == getattr(now, part) for part in parts)


def _one_of(found: Package, kept: Package | None, base: BaseImage) -> Package:
    """What was found; but the record's own wheel, where it fits and is here."""
    if kept is None or kept.version != found.version or cached(kept.wheel) is None:
        return found
    return found if best_wheel([kept.wheel], base) is None else kept


class _Asking:
    """Finds packages in the index, in git, or where their own address says."""

    def __init__(
        self,
        record: Record,
        base: BaseImage,
        engine: Engine,
        report: Reporter,
        wish: Wish,
        tree: Tree,
    ) -> None:
        self._record = record
        self._base = base
        self._report = report
        self._wish = wish
        self._tree = tree
        # what a build needs is of the day on which the packages were chosen
        self._day = (record.packages_resolved or record.created)[:10]
        self._build = WheelBuilder(
            base, engine, report, as_of=self._day, offline=wish.offline, fresh=wish.rebuild
        )

    def for_packages(self, packages: Sequence[Package]) -> tuple[Package, ...]:
        """Each of them, from wherever it can be had."""
        self._report.step("packages", f"looking for {', '.join(p.name for p in packages)}")
        said = self._said_by_files(packages)
        try:
            return self._exactly(packages, said)
        except IndexUnreachable:
            raise
        except LockFailed as failure:
            if self._wish.offline:
                names = ", ".join(f"{package.name} {package.version}" for package in packages)
                raise LockFailed(
                    f"not in the cache, and --offline opens no connection: {names}.\n"
                    "Run once without --offline, or from a pack."
                ) from failure
            return self._instead_of_gone(packages, said, failure)

    def _said_by_files(self, packages: Sequence[Package]) -> Wanted:
        """The options and addresses that the record's own files name."""
        if all(package.address or _from_git(package) for package in packages):
            return Wanted()
        code = self._tree()
        base = self._base
        try:
            requirements = find_requirements(code, None)
            if requirements.source != self._record.requirements:
                return Wanted()
            target = Target(python=base.python, machine=base.machine, libc=base.libc)
            said = read(requirements, code.root, target)
        except UsageError:  # they were read when the record was made; its packages are known
            return Wanted()
        refuse_host_variables(said, self._wish.given)
        return said

    def _exactly(self, packages: Sequence[Package], said: Wanted) -> tuple[Package, ...]:
        addresses = {file.sha256: file.url for pin in said.pinned or () for file in pin.files}
        pinned = tuple(_pinned(package, addresses) for package in packages)
        found = self._locked(Wanted(pinned=pinned, options=said.options)).packages
        return tuple(self._compared(packages, found))

    def _compared(self, before: Sequence[Package], found: Sequence[Package]) -> Iterator[Package]:
        """What was found; where a wheel had to be built anew it may come out otherwise."""
        wheels = {package.name: package.wheel.sha256 for package in before}
        for package in found:
            if package.wheel.sha256 != wheels[package.name]:
                self._report.note(
                    f"{package.name} {package.version} was built from the same source, but its "
                    "wheel came out otherwise than the record's"
                )
            yield package

    def _locked(self, wanted: Wanted, as_of: str | None = None) -> Lock:
        request = Request(
            wanted=wanted,
            root="/",
            base=self._base,
            source="the record",
            as_of=as_of,
            offline=self._wish.offline,
        )
        return make_lock(request, self._build, fresh=self._wish.rebuild)

    def of_same_versions(self) -> tuple[Package, ...]:
        """For another Python or machine: the same versions, and what they need there."""
        self._report.step("packages", f"of the same versions, for {self._base.ref}")
        said = self._said_by_files(self._record.packages)
        lines = tuple(_line(package) for package in self._record.packages)
        wanted = Wanted(lines=lines, options=said.options)
        return self._locked(wanted, self._day).packages

    # ------------------------------------------------------------ what is gone

    def _instead_of_gone(
        self, packages: Sequence[Package], said: Wanted, failure: LockFailed
    ) -> tuple[Package, ...]:
        gone = self._gone(packages, said)
        if not gone:
            raise failure
        names = ", ".join(f"{package.name} {package.version}" for package in gone)
        if not self._wish.allow_newer:
            raise LockFailed(
                f"the record's packages are gone from the index: {names}.\n"
                "--allow-newer takes the nearest version that there is and records the "
                "difference; UV_DEFAULT_INDEX names an index that has them; a pack holds them."
            ) from failure
        return self._nearest(packages, gone, said)

    def _gone(self, packages: Sequence[Package], said: Wanted) -> list[Package]:
        found = []
        for package in packages:
            try:
                self._exactly([package], said)
            except IndexUnreachable:
                raise
            except LockFailed:
                found.append(package)
        return found

    def _nearest(
        self, packages: Sequence[Package], gone: Sequence[Package], said: Wanted
    ) -> tuple[Package, ...]:
        """The lowest version above for those that are gone, with all others as they were."""
        names = {package.name for package in gone}
        there = [package for package in packages if package.name not in names]
        pins = [_line(package) for package in self._record.packages if package.name not in names]
        lines = (*pins, *(f"{package.name}>={package.version}" for package in gone))
        options = (*said.options, "--resolution", "lowest-direct")
        try:
            lock = self._locked(Wanted(lines=lines, options=options))
        except IndexUnreachable:
            raise
        except LockFailed:  # none above: the highest there is
            lines = (*pins, *(f"{package.name}<{package.version}" for package in gone))
            lock = self._locked(Wanted(lines=lines, options=said.options))
        recorded = {package.name for package in self._record.packages} - names
        newer = tuple(package for package in lock.packages if package.name not in recorded)
        return (*(self._exactly(there, said) if there else ()), *newer)


def _from_git(package: Package) -> bool:
    return package.source is not None and package.source.kind == "git"


def _pinned(package: Package, addresses: dict[str, str | None]) -> Pinned:
    source = package.source
    if source and source.kind == "git":
        git = GitSource(
            url=package.address or "", commit=source.commit, subdirectory=source.subdirectory
        )
        return Pinned(name=package.name, version="", git=git)
    file = RemoteFile(name=source.name, sha256=source.sha256) if source else package.wheel
    url = package.address or addresses.get(file.sha256)
    return Pinned(
        name=package.name,
        version=package.version,
        files=(msgspec.structs.replace(file, url=url),),
    )


def _line(package: Package) -> str:
    """A requirement that is met by this version alone, in whatever file."""
    source = package.source
    if source and source.kind == "git":
        below = f"#subdirectory={source.subdirectory}" if source.subdirectory else ""
        return f"{package.name} @ git+{package.address}@{source.commit}{below}"
    if package.address:
        return f"{package.name} @ {package.address}"
    return f"{package.name}=={package.version}"
