"""The environment of a record, once more: its base image and the very same packages.

What can't be had exactly as it was is an error that names it, unless the user allows newer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec

from reprorun.engine import Engine
from reprorun.environment.fetch import cached
from reprorun.environment.lock import Request, make_lock
from reprorun.environment.resolve import IndexUnreachable
from reprorun.environment.tags import best_wheel
from reprorun.errors import ImageMissing, LockFailed, RecordError, UsageError
from reprorun.formats.read import read
from reprorun.formats.target import Target
from reprorun.model import (
    BaseImage,
    Code,
    GitSource,
    Image,
    Lock,
    Package,
    Pinned,
    Record,
    RemoteFile,
    RunSpec,
    Value,
    Wanted,
)
from reprorun.plan import TAG_LENGTH
from reprorun.probe.requirements import find_requirements
from reprorun.workflow.base import describe_base, image_digest
from reprorun.workflow.gather import refuse_host_variables
from reprorun.workflow.report import Reporter
from reprorun.workflow.system import (
    add_system_packages,
    build_dockerfile,
    installed_packages,
    system_digest,
)
from reprorun.workflow.wheels import WheelBuilder

BASE_REPOSITORY = "reprorun/base"
"""Where base images that came out of a pack get a name, by their digest."""

Tree = Callable[[], Code]
"""Unpacks the record's archive when that is first needed: its code, with a root on this host."""


class Wish(Value, frozen=True, kw_only=True):
    """How the environment is to be restored."""

    offline: bool = False
    rebuild: bool = False
    allow_newer: bool = False
    given: tuple[str, ...] = ()  # variables of the host that the record's files may use


def base_tag(digest: str) -> str:
    """The name of a base image that came out of a pack."""
    return f"{BASE_REPOSITORY}:{digest.removeprefix('sha256:')[:TAG_LENGTH]}"


# ---------------------------------------------------------------- the base image


def restore_base(
    record: Record, engine: Engine, report: Reporter, wish: Wish, tree: Tree
) -> BaseImage:
    """The record's base image: as the engine has it, pulled by its digest, or built once more.

    Args:
        record: says which it was.
        engine: has it, or gets it.
        report: told what happens.
        wish: whether connections may be opened, and others taken for it.
        tree: the record's code, for the Dockerfile that it may have been built from.

    Raises:
        ImageMissing: it can't be had as it was.
        RecordError: the record names none.
    """
    base = record.base_image
    if base is None:
        raise RecordError("the record does not say which base image it had; use --base-image.")
    found = _on_engine(base, engine) or _pulled(base, engine, report, wish)
    if found is None and base.dockerfile:
        found = _built(base, engine, report, wish, tree)
    elif found is None and base.apt:
        found = _with_packages(base, engine, report, wish)
    if found is None:
        raise ImageMissing(_gone(base, wish))
    if found.digest != base.digest and not wish.allow_newer:
        raise ImageMissing(_another(base, found))
    return found


def _on_engine(base: BaseImage, engine: Engine) -> BaseImage | None:
    for ref in dict.fromkeys((base.id, base_tag(base.digest), base.repo_digest, base.ref)):
        image = engine.image(ref) if ref else None
        if image and (found := _same(base, image, engine)):
            return found
    return None


def _same(base: BaseImage, image: Image, engine: Engine) -> BaseImage | None:
    """The image as a base, where it is the one that was meant."""
    if not base.apt:
        if image_digest(image) != base.digest:
            return None
        return _as_recorded(describe_base(base.ref, image, engine), base)
    if base.below is None or image_digest(image) == base.below:
        return None  # the one that they were added to
    with suppress(UsageError, LockFailed):
        installed = installed_packages(image, engine)
        if system_digest(base.below, installed) == base.digest:
            return _as_recorded(describe_base(base.ref, image, engine), base)
    return None


def _as_recorded(found: BaseImage, base: BaseImage) -> BaseImage:
    """What this engine says of the image, and what the record says of where it came from."""
    return msgspec.structs.replace(
        found,
        digest=base.digest,
        below=base.below,
        repo_digest=base.repo_digest,
        dockerfile=base.dockerfile,
        apt=base.apt,
        installed=base.installed,
    )


def _pulled(
    base: BaseImage, engine: Engine, report: Reporter, wish: Wish, below: str | None = None
) -> BaseImage | None:
    """Pulled by its digest, else by its name if that still means the same."""
    if wish.offline or base.dockerfile or (base.apt and below is None):
        return None
    for ref in dict.fromkeys((base.repo_digest, base.ref)):
        if ref is None or engine.image(ref):  # by name another one: it is the user's, and stays
            continue
        with suppress(ImageMissing):
            report.step("base image", f"pulling {ref}")
            image = engine.pull(ref, report.progress)
            if image_digest(image) == (below or base.digest):
                return _as_recorded(describe_base(base.ref, image, engine), base)
    return None


def _built(
    base: BaseImage, engine: Engine, report: Reporter, wish: Wish, tree: Tree
) -> BaseImage | None:
    code = tree()
    spec = RunSpec(
        script=code.launcher, cwd=code.root, dockerfile=base.dockerfile, offline=wish.offline
    )
    built = build_dockerfile(spec, code, engine, report)
    image = engine.image(built)
    if image is None:
        return None
    found = describe_base(built, image, engine)
    plain = msgspec.structs.replace(found, dockerfile=base.dockerfile)
    return add_system_packages(plain, base.apt, spec, engine, report) if base.apt else plain


def _with_packages(
    base: BaseImage, engine: Engine, report: Reporter, wish: Wish
) -> BaseImage | None:
    """The image below, with the system packages installed that there are today."""
    plain = msgspec.structs.replace(base, digest=base.below or "", apt=(), below=None, installed=())
    below = _on_engine(plain, engine) or _pulled(plain, engine, report, wish)
    if below is None:
        return None
    spec = RunSpec(script="", cwd="/", offline=wish.offline)
    return add_system_packages(below, base.apt, spec, engine, report)


def _gone(base: BaseImage, wish: Wish) -> str:
    digest = base.repo_digest or f"no registry's digest, layers {base.digest[:19]}"
    why = "is not on the engine, and --offline lets none be pulled" if wish.offline else (
        "is neither on the engine nor to be had as it was"
    )  # fmt: skip
    return (
        f"the base image {base.ref} ({digest}) {why}.\nA pack of the record holds it (`reprorun "
        f"pack`); --base-image REF takes another, such as python:{base.python_minor}-slim."
    )


def _another(base: BaseImage, found: BaseImage) -> str:
    changed = sorted(set(base.installed) ^ set(found.installed))
    names = ", ".join(dict.fromkeys(entry.partition("=")[0] for entry in changed))
    what = f"its system packages have changed ({names})" if names else "it comes out otherwise"
    how = f"built from {base.dockerfile}" if base.dockerfile else f"{base.ref} with apt.txt"
    return (
        f"the base image ({how}) can't be had as it was: {what}.\n"
        "--allow-newer takes it as it is today and records that; a pack holds the old one."
    )


# ---------------------------------------------------------------- the packages


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
    lock = Lock(
        packages=record.packages,
        source=record.requirements,
        resolved=record.packages_resolved or "",
        cached=True,
    )
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
