"""Vetting a record that anybody may have written, before anything is made of what it says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from reprorun import files, store
from reprorun.errors import RecordError
from reprorun.experiment.guest import VARIABLE as GUEST_VARIABLE
from reprorun.model import BaseImage, Limits, Package, Record, Source
from reprorun.printable import quoted
from reprorun.render import SYSTEM_PACKAGE

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_ADDRESS = re.compile(r"(https?|ssh|file)://[^\s$]+")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_REFERENCE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*")  # of a package
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ONE_LINE = re.compile(r"[^\n\0]*")
_PRINTABLE = re.compile(r"[ -~]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def vet(log_dir: str, record: Record) -> None:
    """Refuse what could mean something else to a tool that it is handed to.

    Raises:
        RecordError: it says something that no record of ours says, or a payload is not its own.
    """
    _check_run(record)
    for package in record.packages:
        _check_package(package)
    if record.base_image:
        _check_base(record.base_image)
    _check_limits(record.limits)
    _check_payloads(log_dir, record)


def _check_run(record: Record) -> None:
    if not record.isolated:
        raise RecordError(
            "the record was made without a container: nothing kept its run from what else is on "
            "that machine. Run its launcher with `reprorun exec` first."
        )
    if not record.argv or not record.command:
        raise RecordError("the record does not say what ran: it has no argv or command.")
    _refuse_paths("cwd", [record.cwd])
    _refuse_paths("import path", record.import_paths)
    _refuse_paths("launcher", [record.launcher.lstrip("/")])
    _refuse_unlike(_VARIABLE, "variable", record.environment)
    _refuse_unlike(_SECRET, "secret", record.secrets)
    if record.archive:
        _refuse_unlike(_SHA256, "archive digest", [record.archive.sha256])
    if GUEST_VARIABLE in record.environment:
        raise RecordError(f"the record sets {GUEST_VARIABLE}, which reprorun itself sets.")
    _refuse_unlike(_COMMIT, "commit", [(record.githash or "0000000").removesuffix("-dirty")])
    _refuse_outside("path left out", (entry.path.rstrip("/") for entry in record.left_out))
    _refuse_outside("submodule", (entry.path for entry in record.submodules))


def _check_package(package: Package) -> None:
    _refuse_unlike(_NAME, "package", [package.name])
    _refuse_unlike(_VERSION, "version", [package.version])
    _refuse_unlike(_ADDRESS, "address", filter(None, [package.address]))
    _check_file("wheel", package.wheel.name, package.wheel.sha256)
    if package.source:
        _check_source(package.source)


def _check_file(what: str, name: str, sha256: str) -> None:
    """Both become part of paths in the cache."""
    _refuse_unlike(_FILE, what, [name])
    _refuse_unlike(_SHA256, f"digest of a {what}", [sha256])


def _check_source(source: Source) -> None:
    if source.kind == "sdist":
        _check_file("source distribution", source.name, source.sha256)
        return
    _refuse_unlike(_COMMIT, "commit", [source.commit])
    _refuse_paths("subdirectory", filter(None, [source.subdirectory]))
    _refuse_unlike(_PRINTABLE, "subdirectory", [source.subdirectory])


def _check_base(base: BaseImage) -> None:
    _refuse_unlike(SYSTEM_PACKAGE, "system package", base.apt)
    if base.dockerfile:  # it is built with the files beside it: never those of this host
        _refuse_paths("Dockerfile", [base.dockerfile])
    _refuse_unlike(_REFERENCE, "base image", filter(None, (base.ref, base.id, base.repo_digest)))
    about = (base.digest, base.python, base.executable, base.machine, base.libc, base.path)
    _refuse_unlike(_PRINTABLE, "base image", about)


def _check_limits(limits: Limits) -> None:
    numbers = limits.pids, limits.memory, limits.cpus, limits.timeout, limits.shm_size
    if any(number is not None and number <= 0 for number in numbers):
        raise RecordError("the record has a limit that is not above zero.")


def _check_payloads(log_dir: str, record: Record) -> None:
    for payload in record.payloads:
        path = os.path.join(log_dir, payload.path)
        if payload.path not in store.PAYLOADS:
            raise RecordError(f"the record has the payload {quoted(payload.path)}, which is none.")
        there = os.path.isfile(path) and not os.path.islink(path)
        if not there or files.sha256_of(path) != payload.sha256:
            raise RecordError(f"{path} is missing or not what the run was given.")


# ---------------------------------------------------------------- refusing


def _refuse_unlike(pattern: re.Pattern[str], what: str, texts: Iterable[str]) -> None:
    for text in texts:
        if not pattern.fullmatch(text):
            raise RecordError(f"the record has the {what} {quoted(text)}, which can't be one.")


def _refuse_outside(what: str, paths: Iterable[str]) -> None:
    for path in paths:
        if os.path.normpath(path) != path or path.startswith(("/", "../")) or path == "..":
            raise RecordError(
                f"the record has the {what} {quoted(path)}, which is no path in its working tree."
            )


def _refuse_paths(what: str, paths: Iterable[str]) -> None:
    """Those, too, that would be two lines of a file."""
    paths = tuple(paths)
    _refuse_unlike(_ONE_LINE, what, paths)
    _refuse_outside(what, paths)
