"""What reprorun asks of a container engine: a small protocol, values in and values out.

Two implementations pass the same contract tests (`tests/contract`): `docker.DockerEngine` and
`fake.FakeEngine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from reprorun.model import (
    Change,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    Image,
    ImageSpec,
    ListedContainer,
)

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


class Conversation(Output, Protocol):
    """Both directions: what a container prints, and what it reads.

    Of a container with a terminal all output comes as `stdout`.
    """

    def send(self, data: bytes) -> None:
        """Let it read this; waits until it is taken."""
        ...

    def send_end(self) -> None:
        """Let it read to the end of its input. Only where it has no terminal."""
        ...


class Layer(Protocol):
    """One layer of an image to be made: a tar of which the size is known before it is read."""

    @property
    def title(self) -> str:
        """What it holds, for people."""
        ...

    @property
    def diff_id(self) -> str | None:
        """The digest of the tar, `sha256:...`; None while it is unknown."""
        ...

    @property
    def is_kept(self) -> bool:
        """Whether the tar was kept when its digest was taken. Engines see whether it still is."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the tar."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """The tar, in pieces; each call begins anew."""
        ...

    def made(self, diff_id: str) -> None:
        """Told the digest of the tar when it has been read to the end, unless it was kept."""
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

    def pull(self, ref: str, progress: Progress, *, platform: str | None = None) -> Image:
        """Fetch an image from its registry. Raises `ImageMissing`.

        Args:
            platform: such as linux/arm64; None: the engine's own.
        """
        ...

    def push(self, image: str, repository: str, progress: Progress) -> str:
        """Give an image to a registry; `HOST/NAME@sha256:...`, by which any engine pulls it."""
        ...

    def name_image(self, image: str, tag: str) -> None:
        """Give an image another name; an image that had it has it no longer."""
        ...

    def labelled_images(self, label: str) -> tuple[Image, ...]:
        """The images that carry a label, `KEY` or `KEY=VALUE`."""
        ...

    def tagged_images(self, repository: str) -> tuple[Image, ...]:
        """The images that have a name `REPOSITORY:TAG`, whatever the tag."""
        ...

    def save(self, image: str) -> Iterator[bytes]:
        """An image with all its layers, in pieces of a tar; `images.read_saved` reads it."""
        ...

    def load_image(self, pieces: Iterable[bytes], tag: str) -> Image:
        """Take an image over.

        Args:
            pieces: a tar as `images.write_loadable` writes it. Where reading it raises, there is no
                such image. Not every engine verifies its layers: whoever reads it has to.
            tag: the name that the tar gives it.
        """
        ...

    def remove_image(self, ref: str) -> None:
        """Remove a name of an image, and the image with its last one.

        Nothing happens when it is gone; an image that a container uses is refused.
        """
        ...

    def make(
        self, spec: ImageSpec, layers: Sequence[Layer], held: int, progress: Progress
    ) -> Image:
        """Make an image of its parent and layers. Runs nothing and opens no connection.

        Args:
            held: how many of the layers, from the first on, it has on top of the parent; those are
                not read.

        Raises `BuildFailed`.
        """
        ...

    def build(
        self, context: Iterable[bytes], tag: str, progress: Progress, *, network: bool = False
    ) -> Image:
        """Build the tar `context`, which holds a Dockerfile of the user's.

        Args:
            network: let its RUN steps have the network.

        Raises `BuildFailed`.
        """
        ...

    def named(self, image: str) -> AbstractContextManager[str]:
        """A name of an image for FROM in a Dockerfile, while the block lasts.

        BuildKit takes an id for a name and would ask a registry for it. Where the builder takes
        ids, it is the id.
        """
        ...

    def labelled_containers(self, label: str) -> tuple[ListedContainer, ...]:
        """The containers that carry a label, running or not."""
        ...

    def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its id. Raises `FilesUnseen`."""
        ...

    def start(self, container: str) -> None:
        """Start a created container."""
        ...

    def attach(self, container: str) -> Output:
        """What it prints from now on.

        The connection stands when this returns, so that attaching before `start` misses nothing.
        """
        ...

    def converse(self, container: str) -> Conversation:
        """Its output from now on, and its input; it must have been created as interactive.

        The connection stands when this returns, as with `attach`. When it is closed, so is the
        container's input.
        """
        ...

    def resize(self, container: str, rows: int, columns: int) -> None:
        """Tell its terminal how large it is. Nothing happens when it has exited."""
        ...

    def wait(self, container: str) -> ContainerState:
        """Wait until it has exited."""
        ...

    def state(self, container: str) -> ContainerState:
        """How it stands now.

        Raises:
            ContainerMissing: the engine has none of that id.
        """
        ...

    def logs(self, container: str) -> Iterator[bytes]:
        """All that it has printed, in pieces, as far as the engine keeps it.

        The order of what came over stdout and stderr may be another than that of `attach`.
        """
        ...

    def stop(self, container: str, grace: float) -> None:
        """Send its stop signal, and kill it when it still runs after `grace` seconds."""
        ...

    def kill(self, container: str) -> None:
        """Kill it. Nothing happens when it has exited."""
        ...

    def changes(self, container: str) -> tuple[Change, ...]:
        """What it changed in its own file system; mounted directories are no part of that."""
        ...

    def copy_in(self, container: str, pieces: Iterable[bytes]) -> None:
        """Put files into a container that was not started.

        Args:
            pieces: a tar; names, owners and modes in it are those of the files. Directories above
                that are missing are made. Where reading it raises, a part of it may be there.
        """
        ...

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        """The file or directory at `path` as a tar, in pieces.

        Of `DIRECTORY/.` the names in it start below the directory.
        """
        ...

    def remove(self, container: str) -> None:
        """Remove it, running or not. Nothing happens when it is gone."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
