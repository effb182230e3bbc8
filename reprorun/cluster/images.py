"""An image that runs need, on a node's engine: it is there already, or is brought there once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from reprorun import files
from reprorun.engine import Engine
from reprorun.errors import EngineError, ImageMissing, UsageError
from reprorun.model import DIGEST_LABEL, Image, Value
from reprorun.workflow.base import image_digest

_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*")


class WantedImage(Value, frozen=True, kw_only=True):
    """An image that runs on nodes need, as the submitting machine has it."""

    tag: str
    digest: str | None  # its label; None: it is none of ours
    content: str  # digest of its layers and variables
    machine: str = ""  # that it is for; empty: engines may run it that are others
    named: bool = False  # by the user: what another engine has under that name stays
    pulled: str | None = None  # HOST/REPO@sha256:..., where a registry delivers it

    @classmethod
    def of(cls, tag: str, image: Image) -> WantedImage:
        """An image of the submitting machine.

        Args:
            tag: the name under which its engine saves it, and the nodes have it.
            image: as the engine describes it.
        """
        label = image.labels.get(DIGEST_LABEL)
        return cls(tag=tag, digest=label, content=image_digest(image), machine=image.machine)

    def is_on(self, engine: Engine) -> bool:
        """Whether an engine has exactly this one.

        Raises:
            EngineError: it has another under a name that is the user's.
        """
        found = engine.image(self.tag)
        if found is None:
            return False
        if not self.is_same(found) and self.named:
            raise EngineError(
                f"its engine has another {self.tag} than the submitting machine. Pull or name the "
                "same one on both."
            )
        return self.is_same(found)

    def is_same(self, image: Image) -> bool:
        """Whether an image is this one."""
        return image.labels.get(DIGEST_LABEL) == self.digest and image_digest(image) == self.content


def pushed(wanted: WantedImage, engine: Engine, repository: str) -> WantedImage:
    """The image, given to a registry from which nodes pull it.

    Args:
        engine: of the submitting machine.
        repository: `HOST/NAME`.

    Raises:
        UsageError: that can't be the name of one.
        EngineError: it does not take the image.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"--registry {repository}: name a repository, such as registry.example.org/lab/runs, "
            "in small letters and without a tag."
        )
    pulled = engine.push(wanted.tag, repository, lambda line: None)
    return replace(wanted, pulled=pulled)


def ensure_image(wanted: WantedImage, engine: Engine, fetch: Callable[[], Iterator[bytes]]) -> None:
    """Have the image on the engine. Of several tasks on a node, one brings it.

    Args:
        wanted: the image.
        engine: the node's.
        fetch: the image as the submitting machine's engine saves it; the last piece is a sha256.

    Raises:
        EngineError: it can't be brought, or the engine makes another of it.
    """
    if wanted.is_on(engine):
        return
    _refuse_other_processor(wanted, engine)
    with _one_at_a_time(wanted):
        if wanted.is_on(engine):
            return
        if wanted.pulled:
            _pull(wanted, wanted.pulled, engine)
        else:
            engine.load_image(verified(fetch()), wanted.tag)
        if not wanted.is_on(engine):
            raise EngineError(f"what came is another image than {wanted.tag}.")


def _pull(wanted: WantedImage, ref: str, engine: Engine) -> None:
    """By its digest; under the name that its runs have for it only when it is the right one."""
    try:
        image = engine.pull(ref, lambda line: None)
    except ImageMissing as error:
        first = str(error).splitlines()[0].removeprefix("the base image ")
        raise ImageMissing(f"the image {first}") from error
    if wanted.is_same(image):
        engine.name_image(image.id, wanted.tag)


def verified(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """All pieces but the last, which must be their sha256.

    Raises:
        EngineError: it is not, so that nothing comes of the image.
    """
    digest = hashlib.sha256()
    last: bytes | None = None
    for piece in pieces:
        if last is not None:
            digest.update(last)
            yield last
        last = piece
    if last != digest.digest():
        raise EngineError("the image has changed or broken off on its way to the node. Try again.")


def _refuse_other_processor(wanted: WantedImage, engine: Engine) -> None:
    known = {"aarch64": "arm64", "x86_64": "amd64"}
    here, there = engine.info().machine, wanted.machine
    if here and there and known.get(here, here) != known.get(there, there):
        raise EngineError(
            f"its engine runs {here}, the image is for {there}. Let Ray place runs on nodes of one "
            "kind of processor."
        )


@contextmanager
def _one_at_a_time(wanted: WantedImage) -> Iterator[None]:
    """Tasks of this machine that bring the same image to the same engine wait for each other."""
    name = files.digest_of(os.environ.get("DOCKER_HOST", ""), wanted.tag, wanted.content)
    with open(os.path.join(files.cache_directory("cluster"), f"{name}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
