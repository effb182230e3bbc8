"""The layers of an environment: its wheels, biggest first, then what is small, then the skeleton.

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

BIG = 1 << 20  # bytes of a wheel that gets a layer of its own
MOST_LAYERS = 60  # of wheels; engines allow about 125 in all
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
    """Some wheels, installed."""

    def __init__(self, packages: Sequence[Package], python_minor: str) -> None:
        self.packages = tuple(packages)
        self._layout = wheel.Layout(python_minor)
        self._paths: dict[str, str] = {}
        self._entries: list[tar.Entry] = []
        digests = (package.wheel.sha256 for package in self.packages)
        self.note = files.digest_of("layer 1", python_minor, *_recipe(), *digests)

    @property
    def title(self) -> str:
        """The packages, for people."""
        names = [f"{package.name} {package.version}" for package in self.packages]
        return ", ".join(names) if len(names) < 4 else f"{len(names)} small packages"

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
        self._entries = tar.with_parents(
            entry
            for package in self.packages
            for entry in wheel.wheel_entries(paths[package.wheel.sha256], self._layout)
            if not entry.path.startswith(f"{self._layout.site_packages}/{_OWN_PACKAGE}")
        )

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


def wheel_layers(lock: Lock, base: BaseImage) -> list[WheelLayer]:
    """The layers that hold the packages of a lock, in their order."""
    sized = sorted(lock.packages, key=lambda package: (-(package.wheel.size or 0), package.name))
    big = [package for package in sized if (package.wheel.size or 0) >= BIG][:MOST_LAYERS]
    small = sorted((p for p in sized if p not in big), key=lambda package: package.name)
    groups = [[package] for package in big] + ([small] if small else [])
    return [WheelLayer(group, base.python_minor) for group in groups]


def skeleton_layer(base: BaseImage, paths: tuple[str, ...]) -> PlainLayer:
    """The layer that makes an environment of the packages."""
    return PlainLayer("virtual environment", skeleton(base, paths))
