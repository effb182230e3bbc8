"""An actor on the submitting machine: nodes fetch from it what they lack, and hear of Ctrl-C.

It gives images and records in pieces, each as it is taken, so that nothing is ever whole in memory
here or there. It is a process of Ray's, beside the command; it ends with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

from reprorun.cluster.trees import PIECE, pack_tree
from reprorun.errors import ImageMissing

AT_ONCE = 100_000  # calls: every worker of the cluster has one waiting
PIECES_AHEAD = 8


class Depot:
    """What the actor does.

    Args:
        variables: of the environment, which say where the submitting machine's engine is.
    """

    def __init__(self, variables: dict[str, str]) -> None:
        os.environ.update(variables)
        self._stopping = asyncio.Event()

    async def image(self, tag: str) -> AsyncIterator[bytes]:
        """An image as the engine saves it, in pieces; the last is the sha256 of all before."""
        async for piece in _in_a_thread(_image(tag)):
            yield piece

    async def tree(self, path: str) -> AsyncIterator[bytes]:
        """A directory or file as `trees.pack_tree` gives it."""
        async for piece in _in_a_thread(pack_tree(path)):
            yield piece

    async def stop(self) -> None:
        """Tell all who wait for it that they shall stop."""
        self._stopping.set()

    async def stopping(self) -> None:
        """Return when that was told."""
        await self._stopping.wait()


def start_depot(ray: Any, variables: dict[str, str]) -> Any:
    """The actor, on this machine.

    Args:
        variables: see `Depot`.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Depot).options(
        num_cpus=0, max_concurrency=AT_ONCE, max_restarts=-1, scheduling_strategy=here
    )
    return actor.remote(variables)


def fetch(ray: Any, method: Any, *words: str) -> Iterator[bytes]:
    """What a method of the depot gives, piece by piece.

    Raises:
        RayError: it is gone, or failed.
    """
    taken = method.options(
        num_returns="streaming", _generator_backpressure_num_objects=PIECES_AHEAD
    )
    for piece in taken.remote(*words):
        yield ray.get(piece)


def fetch_image(ray: Any, depot: Any, tag: str) -> Iterator[bytes]:
    """An image of the submitting machine, as `images.ensure_image` takes it.

    Raises:
        ImageMissing: it can't be had.
    """
    try:
        yield from fetch(ray, depot.image, tag)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise ImageMissing(
            f"the image can't be fetched from the submitting machine: {cause}"
        ) from error


def _image(tag: str) -> Iterator[bytes]:
    from reprorun.engine import connect

    digest = hashlib.sha256()
    with closing(connect()) as engine:
        gathered = bytearray()
        for piece in engine.save(tag):
            digest.update(piece)
            gathered += piece
            if len(gathered) >= PIECE:
                yield bytes(gathered)
                gathered.clear()
        yield bytes(gathered)
    yield digest.digest()


async def _in_a_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
