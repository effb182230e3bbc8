"""The layers of an environment: its big wheels, biggest first, then all that is small.

Each big wheel is a layer of its own and the order is by size, so that a small package that comes
in leaves what was there as it was. What a layer holds follows from its wheels alone; its digest is
remembered, so that a layer which the engine has already is neither read nor sent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cache

from reprorun import files
from reprorun.environment import tar, wheel
from reprorun.environment.skeleton import guest_files, skeleton
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

BIG = 4 << 20  # bytes of a wheel that gets a layer of its own; each costs the engine some time
MOST_LAYERS = 60  # of wheels; engines allow about 125 in all
_REST = "the virtual environment and the part of reprorun that runs inside"
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
        self._paths: dict[str, str] = {}
        self._entries: list[tar.Entry] = []
        digests = (package.wheel.sha256 for package in self.packages)
        said = (part for entry in beside for part in (str(entry[:5]), entry.data))
        self.note = files.digest_of("layer 2", python_minor, *_recipe(), *digests, "", *said)

    @property
    def wheels(self) -> tuple[RemoteFile, ...]:
        """The files that it is made from."""
        return tuple(package.wheel for package in self.packages)

    @property
    def diff_id(self) -> str | None:
        """The digest of its tar, where it was made before."""
        try:
            with open(self._path, encoding="ascii") as file:
                return file.read()
        except (OSError, UnicodeDecodeError):
            return None

    def open(self, paths: dict[str, str]) -> None:
        """Get ready to be read.

        Args:
            paths: sha256 -> the wheel in the cache; each is checked against its digest.

        Raises:
            DamagedWheel: one is not what it was.
        """
        found: list[tar.Entry] = []
        for package in self.packages:
            found += wheel.wheel_entries(paths[package.wheel.sha256], self._layout)
        own = f"{self._layout.site_packages}/{_OWN_PACKAGE}"
        found = [entry for entry in found if not entry.path.startswith(own)]
        self._entries = tar.with_parents([*found, *self._beside])

    @property
    def size(self) -> int:
        """Bytes of its tar; it must be open."""
        return tar.size_of(self._entries)

    def pieces(self) -> Iterator[bytes]:
        """Its tar; it must be open."""
        return tar.stream(self._entries)

    def made(self, diff_id: str) -> None:
        """Remember the digest of the tar."""
        if self.diff_id != diff_id:
            files.write(self._path, diff_id.encode("ascii"))

    @property
    def _path(self) -> str:
        return os.path.join(files.cache_directory("layers"), self.note)


class PlainLayer:
    """A tar of entries that are all in memory."""

    def __init__(self, title: str, entries: Sequence[tar.Entry]) -> None:
        self.title = title
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
    big = [package for package in sized if (package.wheel.size or 0) >= BIG][:MOST_LAYERS]
    small = sorted((p for p in sized if p not in big), key=lambda package: package.name)
    layers = [WheelLayer([package], base.python_minor) for package in big]
    title = ", ".join([*(f"{package.name} {package.version}" for package in small), _REST])
    return [*layers, WheelLayer(small, base.python_minor, skeleton(base, paths), title)]
