"""The Python and the platform that packages are chosen for, as markers see it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from reprorun.errors import UsageError
from reprorun.model import Value

if TYPE_CHECKING:
    from collections.abc import Collection

    from packaging.markers import Marker


class Target(Value, frozen=True, kw_only=True):
    """CPython on Linux, in the container."""

    python: str  # X.Y.Z
    machine: str = "x86_64"
    libc: str = "glibc 2.36"  # or "musl 1.2"

    @property
    def python_minor(self) -> str:
        """X.Y."""
        return ".".join(self.python.split(".")[:2])

    def markers(self) -> dict[str, str]:
        """The variables of markers. Kernel release and version are unknown: "", as uv has it."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.python_minor,
            "sys_platform": "linux",
        }


def applies(marker: str | None, target: Target, source: str, extras: Collection[str] = ()) -> bool:
    """Whether a marker holds for the target; no marker always does.

    Args:
        marker: as PEP 508 spells it.
        target: what it is evaluated for.
        source: the file that holds it, for the error.
        extras: the extras that are asked for.

    Raises:
        UsageError: it is no marker.
    """
    if not marker:
        return True
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.version import InvalidVersion

    environment = target.markers()
    parsed = _parsed(marker, source)
    try:
        return any(parsed.evaluate({**environment, "extra": extra}) for extra in ("", *extras))
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion) as error:
        raise UsageError(f"{source}: the marker {marker!r} can't be evaluated: {error}") from error


@lru_cache(maxsize=4096)
def _parsed(marker: str, source: str) -> Marker:
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(marker)
    except (InvalidMarker, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deep"
        raise UsageError(f"{source}: {marker!r} is no marker: {reason}") from error


def python_fits(specifiers: str | None, target: Target) -> bool:
    """Whether the target's Python is among some versions; what can't be read does not exclude it.

    Poetry's own spelling is not read here, see `reprorun.formats.poetry`.
    """
    if not specifiers:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifiers).contains(target.python, prereleases=True)
    except InvalidSpecifier:
        return True
