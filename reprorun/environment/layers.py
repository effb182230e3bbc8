"""The layers of an environment: its big wheels, biggest first, then all that is small.

The biggest wheels are layers of their own, the next ones share some, and the order is by size, so
that a small package that comes in leaves what was there as it was. What a layer holds follows from
its wheels alone; its digest is remembered, so that a layer which the engine has already is neither
read nor sent. Its tar is kept too, as uv keeps wheels unpacked: to unpack them again takes as long
as the engine needs.

    layers/NOTE         the digest of the tar
    layers/NOTE.tar     the tar, unless it is very large
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import BinaryIO

from reprorun import files
from reprorun.environment import kept, tar, wheel
from reprorun.environment.skeleton import guest_files, skeleton
from reprorun.errors import LockFailed
from reprorun.model import (
    ENTRYPOINT,
    ENVIRONMENT,
    HOME,
    LOG_DIR,
    PREFIX,
    WORKSPACE,
    BaseImage,
    Lock,
    Package,
    RemoteFile,
)

BIG = 4 << 20  # bytes of a wheel that is none of the small ones
WORTH_A_LAYER = 16 << 20  # bytes of wheels; storing 2 MiB of them takes as long as a layer as such
MOST_LAYERS = 60  # of wheels; engines allow about 125 in all
_REST = "the virtual environment and the part of reprorun that runs inside"
LARGEST_KEPT = 1 << 30  # bytes of a layer whose tar is kept
_OWN_PACKAGE = "reprorun/"  # from an index: the guest is the part of this very one


def environment_digest(base: BaseImage, lock: Lock, paths: Sequence[str]) -> str:
    """The digest of everything that the environment is made of, known before it is made."""
    guest = guest_files()
    return files.digest_of(
        "environment 3",
        *_recipe(),
        *(HOME, PREFIX, WORKSPACE, LOG_DIR, *ENTRYPOINT),
        *(f"{name}={value}" for name, value in ENVIRONMENT.items()),
        *(base.digest, base.python, base.executable, base.path),
        "packages",
        *(part for p in lock.packages for part in (p.wheel.name, p.wheel.sha256)),
        "paths",
        *paths,
        "guest",
        *(part for name in guest for part in (name, guest[name])),
    )


@cache
def _recipe() -> tuple[bytes, ...]:
    """The code that decides what the layers hold."""
    found = []
    for module in ("layers", "skeleton", "tar", "wheel"):
        with open(os.path.join(os.path.dirname(__file__), f"{module}.py"), "rb") as file:
            found.append(file.read())
    return tuple(found)


class DamagedLayer(LockFailed):
    """A layer in the cache is not what it was."""


class WheelLayer:
    """Some wheels, installed.

    Args:
        packages: whose wheels.
        python_minor: X.Y of the Python that they are for.
        beside: entries that come over those of the wheels.
        title: what it holds, for people.
    """

    def __init__(
        self,
        packages: Sequence[Package],
        python_minor: str,
        beside: Sequence[tar.Entry] = (),
        title: str | None = None,
    ) -> None:
        self.title = title or ", ".join(f"{package.name} {package.version}" for package in packages)
        self.packages = tuple(packages)
        self._beside = beside
        self._layout = wheel.Layout(python_minor)
        self._entries: list[tar.Entry] | None = None
        self._kept: BinaryIO | None = None
        self._known: str | None = None
        digests = (package.wheel.sha256 for package in self.packages)
        said = (part for entry in beside for part in (str(entry[:5]), entry.data))
        self.note = files.digest_of("layer 2", python_minor, *_recipe(), *digests, "", *said)

    @property
    def wheels(self) -> tuple[RemoteFile, ...]:
        """The files that it is made from."""
        return tuple(package.wheel for package in self.packages)

    @property
    def diff_id(self) -> str | None:
        """The digest of its tar, where it was made before. It lasts, whoever forgets the layer."""
        if self._known is None:
            with suppress(OSError, UnicodeDecodeError), open(self._path, encoding="ascii") as file:
                self._known = file.read()
        return self._known

    def open_kept(self) -> bool:
        """Whether its tar is kept. It is held open then: another process may forget it any time."""
        if self._kept is None and self.diff_id is not None and os.path.isfile(self._tar):
            with suppress(OSError):
                self._kept = open(self._tar, "rb")  # noqa: SIM115  # closed by close
        return self._kept is not None

    def open(self, paths: dict[str, str]) -> None:
        """Get ready to be read from its wheels.

        Args:
            paths: sha256 -> the wheel in the cache, verified.

        Raises:
            LockFailed: a wheel is none, or holds a path that leads out of the environment.
        """
        found: list[tar.Entry] = []
        for package in self.packages:
            found += wheel.wheel_entries(paths[package.wheel.sha256], self._layout)
        own = f"{self._layout.site_packages}/{_OWN_PACKAGE}"
        found = [entry for entry in found if not entry.path.startswith(own)]
        self._entries = tar.with_parents([*found, *self._beside])

    @property
    def is_kept(self) -> bool:
        """Whether it is read from the tar that is kept; it must be open."""
        return self._kept is not None

    @property
    def size(self) -> int:
        """Bytes of its tar; it must be open."""
        if self._kept is not None:
            return os.fstat(self._kept.fileno()).st_size
        assert self._entries is not None, "it is not open"
        return tar.size_of(self._entries)

    def pieces(self) -> Iterator[bytes]:
        """Its tar; it must be open."""
        if self._kept is not None:
            return kept.read(self._kept)
        assert self._entries is not None, "it is not open"
        pieces = tar.stream(self._entries)
        return pieces if self.size > LARGEST_KEPT else kept.keep(pieces, self._tar)

    def made(self, diff_id: str) -> None:
        """Remember the digest of the tar.

        Raises:
            DamagedLayer: the tar that was kept is not what it was. It is gone now.
        """
        if diff_id == self._known:
            return
        if self._kept is not None:
            self.forget()
            raise DamagedLayer(f"the layer of {self.title} in the cache is not what it was.")
        self._known = diff_id
        with suppress(OSError):  # then it is made again next time
            files.write(self._path, diff_id.encode("ascii"))

    def verify(self) -> None:
        """Look at the tar that is kept, since an engine has refused it.

        Raises:
            DamagedLayer: it is not what it was. It is gone now.
        """
        if self._kept is not None:
            self.made(kept.digest_of(self._kept))

    def close(self) -> None:
        """Let go of what it is read from."""
        if self._kept is not None:
            self._kept.close()
        self._kept = self._entries = None

    def forget(self) -> None:
        """Remove what is kept of it."""
        self.close()
        self._known = None
        for path in (self._path, self._tar):
            with suppress(FileNotFoundError):
                os.unlink(path)

    @property
    def _tar(self) -> str:
        return f"{self._path}.tar"

    @property
    def _path(self) -> str:
        return os.path.join(files.cache_directory("layers"), self.note)


class PlainLayer:
    """A tar of entries that are all in memory."""

    def __init__(self, title: str, entries: Sequence[tar.Entry]) -> None:
        self.title = title
        self.is_kept = False
        self._data = b"".join(tar.stream(entries))
        self.diff_id = f"sha256:{hashlib.sha256(self._data).hexdigest()}"
        self.size = len(self._data)

    def pieces(self) -> Iterator[bytes]:
        """The tar."""
        yield self._data

    def made(self, diff_id: str) -> None:
        """Nothing has to be remembered."""


def environment_layers(
    lock: Lock, base: BaseImage, paths: tuple[str, ...] = ()
) -> list[WheelLayer]:
    """The layers of an environment, in their order.

    Args:
        lock: its packages.
        base: the image that it is for.
        paths: directories of the working tree to put on the search path for modules.
    """
    sized = sorted(lock.packages, key=lambda package: (-(package.wheel.size or 0), package.name))
    shared = _shared([package for package in sized if (package.wheel.size or 0) >= BIG])
    big = {package for packages in shared for package in packages}
    small = sorted((p for p in sized if p not in big), key=lambda package: package.name)
    layers = [WheelLayer(packages, base.python_minor) for packages in shared]
    title = ", ".join([*(f"{package.name} {package.version}" for package in small), _REST])
    return [*layers, WheelLayer(small, base.python_minor, skeleton(base, paths), title)]


def _shared(big: Sequence[Package]) -> list[list[Package]]:
    """Those that share a layer: one after the other until it is worth it, the last one too."""
    layers: list[list[Package]] = []
    left = sum(package.wheel.size or 0 for package in big)
    there = 0  # bytes of the layer that is being filled
    for package in big:
        if not layers or there >= WORTH_A_LAYER <= left:
            layers.append([])
            there = 0
        layers[-1].append(package)
        there += package.wheel.size or 0
        left -= package.wheel.size or 0
    return layers[:MOST_LAYERS]
