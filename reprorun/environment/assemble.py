"""Assembling the environment: the locked wheels and reprorun's guest side, as one tar.

The tar is deterministic (sorted, fixed owner, mode and time, every parent directory an entry) and
holds a virtual environment at /opt/reprorun for the base image's interpreter, a working tree and a
home that any uid can write.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from reprorun import files
from reprorun.environment.uv import for_image, run_uv
from reprorun.model import ENTRYPOINT, HOME, LOG_DIR, PREFIX, WORKSPACE, BaseImage, Lock

EPOCH = 315532800  # 1980-01-01, the oldest time that a zip file can hold
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_GUEST_MODULES = ("__init__.py", "experiment_wrapper.py", "launch.py")
SUPERVISOR = "reprorun/experiment/supervise.py"


def site_packages(base: BaseImage) -> str:
    """Where packages lie in the container."""
    return f"{PREFIX}/lib/python{base.python_minor}/site-packages"


def guest_files() -> dict[str, bytes]:
    """The part of reprorun that runs in the container: path below site-packages -> content."""
    names = [*_GUEST_MODULES]
    names += [f"experiment/{n}" for n in os.listdir(f"{_PACKAGE}/experiment") if n.endswith(".py")]
    found = {}
    for name in sorted(names):
        with open(os.path.join(_PACKAGE, name), "rb") as file:
            found[f"reprorun/{name}"] = file.read()
    return found


def environment_digest(base: BaseImage, lock: Lock, paths: tuple[str, ...], template: str) -> str:
    """The digest of everything that the environment is made of, known before it is made."""
    guest = guest_files()
    with open(__file__, "rb") as file:
        recipe = file.read()
    return files.digest_of(
        "environment 2",
        recipe,
        *(HOME, PREFIX, WORKSPACE, LOG_DIR, *ENTRYPOINT),
        base.digest,
        base.python,
        base.executable,
        lock.text,
        *paths,
        "template",
        template,
        "guest",
        *(part for name in guest for part in (name, guest[name])),
    )


def assemble(
    base: BaseImage, lock: Lock, paths: tuple[str, ...], *, offline: bool, out: BinaryIO
) -> None:
    """Install the locked wheels and write the environment's tar to `out`.

    Args:
        base: the image that the environment is for.
        lock: its packages.
        paths: directories of the working tree, relative to its root, to put on the search path.
        offline: open no connection.
        out: takes the tar.

    Raises:
        LockFailed: a wheel can't be had or its hash is wrong.
    """
    scratch = files.cache_directory("scratch")  # beside uv's cache, so that it can link, not copy
    with tempfile.TemporaryDirectory(prefix="environment-", dir=scratch) as prefix:
        if lock.packages:
            _install(base, lock, prefix, offline)
        tar = _Tar(out)
        _write_skeleton(tar, base, paths)
        _write_packages(tar, base, prefix)
        tar.close()


def _install(base: BaseImage, lock: Lock, prefix: str, offline: bool) -> None:
    import sys

    path = os.path.join(prefix, "requirements.lock")
    with open(path, "w", encoding="utf-8") as file:
        file.write(lock.text)
    arguments = ["pip", "install", "--prefix", prefix, "--python", sys.executable]
    arguments += ["--require-hashes", "--no-deps", "--requirement", path, *for_image(base)]
    run_uv(arguments, offline=offline, cwd=prefix)
    os.unlink(path)


def _write_skeleton(tar: _Tar, base: BaseImage, paths: tuple[str, ...]) -> None:
    for directory in (WORKSPACE, HOME, LOG_DIR):
        tar.directory(directory, 0o777)
    settings = (
        f"home = {os.path.dirname(base.executable)}\n"
        f"include-system-site-packages = true\nversion = {base.python}\n"
    )
    tar.file(f"{PREFIX}/pyvenv.cfg", settings.encode())
    for name in ("python", "python3", f"python{base.python_minor}"):
        tar.link(f"{PREFIX}/bin/{name}", base.executable)
    for name, content in guest_files().items():
        tar.file(f"{site_packages(base)}/{name}", content)
    # the same place for every Python, so that the entry point is the same too
    tar.link(f"{PREFIX}/supervise.py", f"{site_packages(base)}/{SUPERVISOR}")
    if paths:
        lines = "".join(os.path.normpath(f"{WORKSPACE}/{path}") + "\n" for path in paths)
        tar.file(f"{site_packages(base)}/reprorun_workspace.pth", lines.encode())


def _write_packages(tar: _Tar, base: BaseImage, prefix: str) -> None:
    for path, inside in _installed(prefix):
        target = f"{PREFIX}/{_for_python(inside, base)}"
        if os.path.islink(path):
            tar.link(target, os.readlink(path))
        elif inside.startswith("bin/"):
            tar.file(target, _with_shebang(path), 0o755)
        elif inside.endswith(".dist-info/RECORD"):
            tar.file(target, _without_script_digests(path))
        else:
            tar.copy(target, path)


def _installed(prefix: str) -> Iterator[tuple[str, str]]:
    for directory, below, names in os.walk(prefix):
        below.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            inside = os.path.relpath(path, prefix)
            # uv's own; and reprorun from an index, since the guest is the part of this very one
            if inside != ".lock" and "/site-packages/reprorun/" not in inside:
                yield path, inside


def _for_python(inside: str, base: BaseImage) -> str:
    """uv names `lib/pythonX.Y` by the host's Python; the container has its own."""
    parts = inside.split("/")
    if parts[0] in ("lib", "lib64") and len(parts) > 2 and parts[1].startswith("python"):
        return "/".join(["lib", f"python{base.python_minor}", *parts[2:]])
    if parts[:2] == ["include", "site"] and len(parts) > 3 and parts[2].startswith("python"):
        return "/".join(["include", "site", f"python{base.python_minor}", *parts[3:]])
    return inside


def _with_shebang(path: str) -> bytes:
    """A console script that starts the container's Python in place of the host's."""
    with open(path, "rb") as file:
        content = file.read()
    first, newline, rest = content.partition(b"\n")
    if first == b"#!/bin/sh" and rest.startswith(b"'''exec' "):
        # the form for interpreters with long or odd paths
        _, _, rest = rest.partition(b"\n' '''\n")
    elif not (first.startswith(b"#!") and b"python" in first):
        return content
    return b"#!" + f"{PREFIX}/bin/python".encode() + newline + rest


def _without_script_digests(path: str) -> bytes:
    """A RECORD without the digests of scripts, whose first lines named the host's Python."""
    with open(path, "rb") as file:
        return re.sub(rb"(?m)^((?:\.\./)+bin/[^,\n]+),[^\r\n]*", rb"\1,,", file.read())


class _Tar:
    """A tar in which equal content gives equal bytes."""

    def __init__(self, out: BinaryIO) -> None:
        self._tar = tarfile.TarFile(fileobj=out, mode="w", format=tarfile.GNU_FORMAT)
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        name = path.strip("/")
        if not name or name in self._directories:
            return
        self.directory(os.path.dirname(name))
        self._directories.add(name)
        self._add(name, tarfile.DIRTYPE, mode)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.directory(os.path.dirname(path))
        self._add(path, tarfile.REGTYPE, mode, size=len(content), content=io.BytesIO(content))

    def copy(self, path: str, source: str) -> None:
        self.directory(os.path.dirname(path))
        with open(source, "rb") as file:
            found = os.fstat(file.fileno())
            mode = 0o755 if found.st_mode & 0o100 else 0o644
            self._add(path, tarfile.REGTYPE, mode, size=found.st_size, content=file)

    def link(self, path: str, target: str) -> None:
        self.directory(os.path.dirname(path))
        self._add(path, tarfile.SYMTYPE, 0o777, linkname=target)

    def close(self) -> None:
        self._tar.close()

    def _add(
        self,
        path: str,
        kind: bytes,
        mode: int,
        *,
        size: int = 0,
        linkname: str = "",
        content: BinaryIO | None = None,
    ) -> None:
        member = tarfile.TarInfo(path.strip("/"))
        member.type, member.mode, member.mtime = kind, mode, EPOCH
        member.size, member.linkname = size, linkname
        self._tar.addfile(member, content)
