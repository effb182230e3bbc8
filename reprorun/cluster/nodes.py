"""The nodes of a cluster, which come and go; and what is to be said when none is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from reprorun.cluster.capacity import Node, Share, fits

PATIENCE = 5.0  # seconds without a node for what waits, before anything is said
_FRESH = 2.0  # seconds that what is known of the nodes is good for


class Nodes:
    """What is known of them.

    Args:
        look: asks the cluster which live.
        clock: seconds, that only go forwards.
    """

    def __init__(
        self, look: Callable[[], tuple[Node, ...]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._looked = float("-inf")
        self._living: tuple[Node, ...] = ()
        self._known: dict[str, Node] = {}
        self._since: float | None = None  # when there was none left; None: there is one
        self._told = False

    @property
    def living(self) -> tuple[Node, ...]:
        """Those that live now."""
        if self._clock() - self._looked > _FRESH:
            self._living = self._look()
            self._looked = self._clock()
            self._known.update((node.id, node) for node in self._living)
        return self._living

    @property
    def known(self) -> Collection[Node]:
        """Those that live and those that have lived: one like them may come back."""
        return tuple({**self._known, **{node.id: node for node in self.living}}.values())

    def news(self, shares: Sequence[Share]) -> str | None:
        """What is to be said, once, when no node is left for what is to be done, or one is back.

        Args:
            shares: of all that is under way or waits.
        """
        usable = [node for node in self.living if any(fits(share, node) for share in shares)]
        if usable or not shares:
            return self._back(len(usable))
        now = self._clock()
        if self._since is None:
            self._since = now
        if self._told or now - self._since < PATIENCE:
            return None
        self._told = True
        return "no node of the cluster is left that could take a run: waiting for one"

    def _back(self, number: int) -> str | None:
        self._since = None
        if not (self._told and number):
            return None
        self._told = False
        return f"going on: the cluster has {number} node{'s' * (number != 1)} again"
