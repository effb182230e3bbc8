"""reprorun in a container of the engine that it uses: what it has mounted, the engine knows by
other names.

Paths of ours are translated through our own container's mounts. What it does not share with the
engine's machine can't be mounted into another container.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from reprorun.engine.devices import find_gpu_nodes
from reprorun.errors import FilesUnseen
from reprorun.model import EngineInfo, Mount

_MARKS = (".dockerenv", "run/.containerenv")
_PEER = struct.Struct("3i")  # process, user and group at the other end of a socket
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

Inspect = Callable[[str], "dict[str, Any] | None"]
"""A container as the engine describes it; None where it has none of that id."""


def seen_from_here(info: EngineInfo, inspect: Inspect) -> EngineInfo:
    """What an engine says of itself, with what follows from where we are ourselves.

    Args:
        info: of the engine.
        inspect: asks it.
    """
    if info.remote:
        return info
    if in_container():
        shared = find_shared(inspect)
        if shared is not None:
            return replace(info, shared=shared)
        if not _has_our_root(info.address):
            return replace(info, remote=True)  # in another container: it sees other files
    return replace(info, gpu_nodes=find_gpu_nodes())


def in_container(root: str = "/") -> bool:
    """Whether this is a container, as Docker and Podman mark it."""
    return any(os.path.exists(os.path.join(root, mark)) for mark in _MARKS)


def find_shared(inspect: Inspect, root: str = "/") -> tuple[Mount, ...] | None:
    """What our own container has mounted; None where the engine does not know it.

    Args:
        inspect: asks the engine.
        root: of the file system, for tests.
    """
    for name in dict.fromkeys(_own_ids(root)):
        found = inspect(name)
        if found and found["Id"].startswith(name):  # else it is another's name
            return tuple(
                Mount(source=m.get("Source") or "", target=m["Destination"], read_only=not m["RW"])
                for m in found.get("Mounts") or ()
                if m.get("Type") in ("bind", "volume")
            )
    return None


def _own_ids(root: str) -> Iterator[str]:
    """What our own container's id may be, the surest first."""
    for line in _lines(root, "proc/self/mountinfo"):
        if line.split()[4:5] in (["/etc/hostname"], ["/etc/hosts"], ["/etc/resolv.conf"]):
            yield from _ID.findall(line)  # the engine keeps these below the container's id
    for line in _lines(root, "proc/self/cgroup"):
        yield from _ID.findall(line)
    for line in _lines(root, "etc/hostname"):
        if re.fullmatch(r"[0-9a-f]{12}", line):  # the engine's choice, and not the user's
            yield line


def _has_our_root(address: str) -> bool:
    """Whether who answers at a socket runs in our own container: an engine within it."""
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(address.removeprefix("unix://"))
            told = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        except OSError:
            return False
    pid = _PEER.unpack(told)[0]
    try:
        return pid != 0 and os.path.samestat(os.stat("/"), os.stat(f"/proc/{pid}/root/"))
    except PermissionError:
        return True  # we see it, but are not root: it is in our container
    except OSError:
        return False  # it started the engine, and has ended


def _lines(root: str, name: str) -> list[str]:
    try:
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def on_engine(mount: Mount, shared: Sequence[Mount]) -> Mount:
    """A mount with its source as the engine's machine has it.

    Args:
        mount: its source is a path of ours.
        shared: what our container has mounted.

    Raises:
        FilesUnseen: it shares no such path with that machine.
    """
    path = os.path.realpath(mount.source)
    above = [s for s in shared if f"{path}/".startswith(f"{s.target.rstrip('/')}/")]
    nearest = max(above, key=lambda s: len(s.target), default=None)
    if nearest is None or len(_mounted_at(path)) > len(nearest.target):
        raise FilesUnseen(
            f"reprorun runs in a container that does not share {path} with the engine's machine.\n"
            'Start that container with the directory mounted: -v "$PWD:$PWD" -w "$PWD".'
        )
    source = os.path.normpath(f"{nearest.source}/{path[len(nearest.target) :]}")
    return Mount(source=source, target=mount.target, read_only=mount.read_only)


def _mounted_at(path: str) -> str:
    """Where the file system begins that has a path: a tmpfs in our container is ours alone."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
