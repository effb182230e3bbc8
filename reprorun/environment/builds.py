"""What a resolver has chosen, as packages of a lock; what has only source is built, each once."""

from __future__ import annotations

from collections.abc import Callable

from reprorun.environment.credentials import strip
from reprorun.environment.uv_answer import Candidate
from reprorun.environment.wheel_file import WheelMetadata
from reprorun.model import Package, RemoteFile, Source, Value


class Built(Value, frozen=True, kw_only=True):
    """A wheel that was built from source."""

    wheel: RemoteFile
    metadata: WheelMetadata
    built_with: tuple[str, ...]


Build = Callable[[Candidate], Built]


class Builds:
    """Packages of candidates; what has to be built is built once."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._done: dict[Candidate, Built] = {}

    def of(self, candidate: Candidate) -> Built:
        """The wheel of a candidate that has none."""
        if candidate not in self._done:
            self._done[candidate] = self._build(candidate)
        return self._done[candidate]

    def package(self, candidate: Candidate) -> Package:
        """What a lock says of a candidate."""
        address = _address(candidate)
        if candidate.wheel:
            wheel = candidate.wheel
            return Package(
                name=candidate.name, version=candidate.version or _version(wheel), wheel=wheel,
                address=address,
            )  # fmt: skip
        built = self.of(candidate)
        return Package(
            name=candidate.name,
            version=built.metadata.version,
            wheel=built.wheel,
            address=address,
            source=_source(candidate, built),
        )


def _address(candidate: Candidate) -> str | None:
    if candidate.git:
        return strip(candidate.git.url)
    return strip(candidate.address) if candidate.address else None


def _version(wheel: RemoteFile) -> str:
    return wheel.name.split("-")[1]


def _source(candidate: Candidate, built: Built) -> Source:
    if candidate.git:
        return Source(
            kind="git",
            commit=candidate.git.commit,
            subdirectory=candidate.git.subdirectory,
            built_with=built.built_with,
        )
    assert candidate.sdist is not None
    return Source(
        kind="sdist",
        name=candidate.sdist.name,
        sha256=candidate.sdist.sha256,
        built_with=built.built_with,
    )
