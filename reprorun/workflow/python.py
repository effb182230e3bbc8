"""Which Python the container gets: what the user says, what the project's files say, or our own."""

from __future__ import annotations

import sys

from reprorun.errors import UsageError
from reprorun.model import BaseImage, Requirements, RunSpec

_RELEASED = {  # newest first; python:X.Y-slim has these
    "3.14": "2025-10-07",
    "3.13": "2024-10-07",
    "3.12": "2023-10-02",
    "3.11": "2022-10-24",
    "3.10": "2021-10-04",
    "3.9": "2020-10-05",
    "3.8": "2019-10-14",
}
OFFERED = tuple(_RELEASED)
PYTHON_PLACE = "{python}"  # stands for the version in the name of a base image
_OLDEST = (3, 8)


def host_python() -> str:
    """X.Y of the interpreter that runs reprorun."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def wanted_python(spec: RunSpec, requirements: Requirements) -> str:
    """X.Y of the Python that is wanted.

    Raises:
        UsageError: no Python that there are images of will do.
    """
    if spec.python:
        return spec.python
    if spec.same_python:
        return host_python()
    if requirements.python:
        return requirements.python
    if not requirements.requires_python or _allows(requirements.requires_python, host_python()):
        return host_python()
    for version in OFFERED:
        if _allows(requirements.requires_python, version):
            return version
    raise UsageError(
        f"{_says_which(requirements)} wants Python {requirements.requires_python}; there are "
        f"images of {OFFERED[-1]} to {OFFERED[0]}. Change it, or name an image with --base-image."
    )


def pythons_of_day(day: str, requirements: Requirements) -> tuple[str, ...]:
    """The Pythons that were out on a day and that the requirements allow, newest first.

    Args:
        day: ISO date.
        requirements: may say which will do.
    """
    allowed = requirements.requires_python or ""
    return tuple(
        version
        for version, released in _RELEASED.items()
        if released <= day and (not allowed or _allows(allowed, version))
    )


def python_source(spec: RunSpec, requirements: Requirements) -> str | None:
    """The file that decided on the Python, None where none did."""
    named = spec.base_image and PYTHON_PLACE not in spec.base_image
    if spec.python or spec.same_python or named or spec.dockerfile:
        return None
    if requirements.python:
        return requirements.python_source
    wanted = requirements.requires_python
    return _says_which(requirements) if wanted and not _allows(wanted, host_python()) else None


def _says_which(requirements: Requirements) -> str | None:
    return requirements.requires_python_source or requirements.python_source


def check_python(base: BaseImage, spec: RunSpec, requirements: Requirements) -> str | None:
    """Whether the Python of the base image is one that was asked for.

    Returns:
        A note, where a file asks for another and the user named the image.

    Raises:
        UsageError: it will not do.
    """
    found = base.python_minor
    if tuple(int(part) for part in found.split(".")) < _OLDEST:
        raise UsageError(
            f"the base image {base.ref} has Python {base.python}; reprorun needs 3.8 or later."
        )
    if spec.same_python and found != host_python():
        raise UsageError(
            f"the function was pickled by Python {host_python()}, but the base image "
            f"{base.ref} has {base.python}, and pickled functions don't move between versions. "
            "Launch with that Python, name another image in REPRORUN_BASE_IMAGE, or use "
            "`reprorun exec`, which pickles nothing."
        )
    if spec.python and found != spec.python:
        raise UsageError(
            f"--python {spec.python} was asked for, but the base image {base.ref} has "
            f"{base.python}. Name another with --base-image."
        )
    wanted = requirements.requires_python
    if wanted and not _allows(wanted, base.python):
        raise UsageError(
            f"{_says_which(requirements)} wants Python {wanted}, but the base image {base.ref} "
            f"has {base.python}. Name another with --base-image, or change that file."
        )
    if requirements.python and found != requirements.python and not spec.python:
        return (
            f"{requirements.python_source} names Python {requirements.python}; the base image "
            f"{base.ref}, which you named, has {base.python}"
        )
    return None


def _allows(specifiers: str, version: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    # X.Y stands for its newest release
    release = version if version.count(".") > 1 else f"{version}.99"
    try:
        return SpecifierSet(specifiers).contains(release, prereleases=True)
    except InvalidSpecifier as error:
        raise UsageError(f"the Python that is wanted can't be read: {error}.") from error
