"""References to images: the registry and the repository in `HOST/NAME:TAG@sha256:...`."""

from __future__ import annotations

from collections.abc import Iterable

HUB = "docker.io"  # what is meant where no registry is named
PARENT_REPOSITORY = "localhost/reprorun/parent"
"""Of names that an image has while another is built on it; no other registry is asked for them."""


def registry_of(ref: str) -> str:
    """The registry of an image, by the name that docker's store of logins has for it."""
    first, slash, _ = ref.partition("/")
    named = slash and (any(mark in first for mark in ".:") or first == "localhost")
    return first if named else HUB


def own_first(digests: Iterable[str], ref: str) -> tuple[str, ...]:
    """The repository digests of an image: the one that `ref` is, then its repository's, the others.

    An image that was pushed to a second registry has a digest of each.
    """
    repository = _repository(ref)
    return tuple(sorted(digests, key=lambda each: (each != ref, _repository(each) != repository)))


def familiar(ref: str) -> str:
    """A reference as docker shows it: without what is meant anyway. Podman shows it in full."""
    return ref.removeprefix(f"{HUB}/").removeprefix("library/")


def in_full(ref: str) -> str:
    """A reference with its registry. Podman would take its own for what has none."""
    if registry_of(ref) != HUB or ref.startswith(f"{HUB}/"):
        return ref
    return f"{HUB}/{ref}" if "/" in ref else f"{HUB}/library/{ref}"


def name_and_tag(ref: str) -> tuple[str, str]:
    """The two parts of a reference, as the API wants them; of one without a tag, `latest`.

    Without any, the engine would pull all that there are.
    """
    name, at, digest = ref.partition("@")
    if at:
        return name, digest
    name, _, tag = ref.rpartition(":")
    return (name, tag) if name and "/" not in tag else (ref, "latest")


def _repository(ref: str) -> str:
    """The name without tag and digest, the short way where it is on Docker Hub."""
    name = ref.partition("@")[0]
    if ":" in name.rpartition("/")[2]:
        name = name.rpartition(":")[0]
    return familiar(name)
