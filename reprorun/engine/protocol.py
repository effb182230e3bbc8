"""What reprorun asks of a container engine: a small protocol, values in and values out.

Two implementations pass the same contract tests (`tests/contract`): `docker.DockerEngine` and
`fake.FakeEngine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

from reprorun.model import Change, ContainerSpec, ContainerState, EngineInfo, Image

Stream = Literal["stdout", "stderr"]
Progress = Callable[[str], None]
"""Called with a line of text while an engine works."""


class Output(Protocol):
    """What a container prints, in pieces as they come; ends when it has exited."""

    def __iter__(self) -> Iterator[tuple[Stream, bytes]]: ...

    def __next__(self) -> tuple[Stream, bytes]: ...

    def close(self) -> None:
        """Listen no longer. It closes itself at the end."""
        ...


class Engine(Protocol):
    """A container engine.

    All methods raise `EngineUnavailable` when the engine stops answering and `EngineError` when it
    refuses. Containers that are gone raise `EngineError`, except in `remove`.
    """

    def info(self) -> EngineInfo:
        """Which engine it is and what it offers."""
        ...

    def image(self, ref: str) -> Image | None:
        """The image of that name or id; None if the engine has none."""
        ...

    def pull(self, ref: str, progress: Progress) -> Image:
        """Fetch an image from its registry. Raises `ImageMissing`."""
        ...

    def build(self, context: Iterable[bytes], tag: str, progress: Progress) -> Image:
        """Build the tar `context` (with its Dockerfile), without network. Raises `BuildFailed`."""
        ...

    def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id."""
        ...

    def start(self, container: str) -> None:
        """Start a created container."""
        ...

    def attach(self, container: str) -> Output:
        """What it prints from now on.

        The connection stands when this returns, so that attaching before `start` misses nothing.
        """
        ...

    def wait(self, container: str) -> ContainerState:
        """Wait until it has exited."""
        ...

    def state(self, container: str) -> ContainerState:
        """How it stands now."""
        ...

    def stop(self, container: str, grace: float) -> None:
        """Interrupt it (SIGINT), and kill it when it still runs after `grace` seconds."""
        ...

    def kill(self, container: str) -> None:
        """Kill it. Nothing happens when it has exited."""
        ...

    def changes(self, container: str) -> tuple[Change, ...]:
        """What it changed in its own file system; mounted directories are no part of that."""
        ...

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        """The file or directory at `path` as a tar, in pieces."""
        ...

    def remove(self, container: str) -> None:
        """Remove it, running or not. Nothing happens when it is gone."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
