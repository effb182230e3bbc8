"""Tasks under way on a cluster: begun, waited for one after the other, lost, interrupted.

One thread works with it. A tree is taken to its end before the next task is listened to: pieces
wait on their nodes meanwhile, and memory stays flat here.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from reprorun.cluster.aboard import remote_task
from reprorun.cluster.capacity import Node, Share, window
from reprorun.cluster.connection import connected, engine_variables, living_nodes
from reprorun.cluster.depot import PIECES_AHEAD, start_depot
from reprorun.cluster.messages import Began, Came, Problem, decode, error_of
from reprorun.cluster.nodes import Nodes
from reprorun.cluster.taking import LostOnTheWay, take
from reprorun.errors import EngineError
from reprorun.model import Value
from reprorun.workflow.interrupts import interrupts_to

GLANCE = 0.5  # seconds between two looks at whether Ctrl-C came
PATIENCE = 120.0  # seconds that nodes may take to say that they can run something
_KILLING = 20.0  # seconds that killed tasks may take to end

Placed = Callable[[int, str], None]
"""Told the number of a task that has been placed, and the node."""


class Lost(NamedTuple):
    """A task of which nothing came, and why."""

    why: str


class _Task:
    """A task under way."""

    def __init__(self, number: int, items: Any, share: Share) -> None:
        self.number = number
        self.items = items
        self.share = share
        self.node: str | None = None  # None: it waits for a place


class Dispatch:
    """Hands out tasks of one kind. A context: at its end nothing is under way any more.

    Args:
        what: the kind, by its name in `aboard`.
        address: of the cluster; see `connected`.
        placed: see `Placed`.
        note: told, in a line, what the user should know of the cluster.
        jobs: the most that are handed out at a time; None: as many as the cluster takes.
        verbose: let Ray talk.
    """

    def __init__(
        self,
        what: str,
        address: str | None,
        placed: Placed,
        note: Callable[[str], None],
        jobs: int | None,
        *,
        verbose: bool,
    ) -> None:
        self.session = os.urandom(8).hex()
        self._what = what
        self._address = address
        self._placed = placed
        self._note = note
        self._jobs = jobs
        self._verbose = verbose
        self._stack = ExitStack()
        self._is_open = False
        self._tasks: dict[Any, _Task] = {}
        self._interrupts = 0  # that came
        self._heeded = 0  # of them

    def open(self) -> None:
        """Connect with the cluster. Not needed before the block.

        Raises:
            UsageError, EngineUnavailable: see `connected`.
        """
        with ExitStack() as stack:
            self.ray = stack.enter_context(connected(self._address, verbose=self._verbose))
            self._task = remote_task(self.ray)
            self.nodes = Nodes(partial(living_nodes, self.ray))
            self._depot = start_depot(self.ray, engine_variables())
            stack.callback(self.ray.kill, self._depot)
            self._stack = stack.pop_all()
        self._is_open = True

    def __enter__(self) -> Dispatch:
        if not self._is_open:
            self.open()
        self._stack.enter_context(interrupts_to(self._interrupt))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, and leave the cluster."""
        self._is_open = False
        with self._stack:
            self._kill()

    # ------------------------------------------------------------ the cluster

    @property
    def interrupted(self) -> bool:
        """Ctrl-C came."""
        return self._interrupts > 0

    def room(self, share: Share) -> int:
        """How many more tasks of that share it would take now."""
        if self.interrupted:
            return 0
        return max(0, window(share, self.nodes.living, self._jobs) - len(self._tasks))

    def put(self, data: bytes) -> Any:
        """Put something where every node gets it once; the reference to it."""
        return self.ray.put(data)

    def look(self, nodes: Sequence[Node]) -> None:
        """See that nodes have what runs need, before anything is begun.

        A node that dies meanwhile is none: Ray may list it for some seconds more.

        Raises:
            EngineError: one has not, or none answers; what to do about it.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        asked = [
            self._task.options(num_cpus=0, scheduling_strategy=OnNode(node.id, soft=False)).remote(
                "look", None, [], b""
            )
            for node in nodes
        ]
        answers, silence = 0, ""
        for node, items in zip(nodes, asked, strict=True):
            try:
                came = self._looked(node, items)
            except LostOnTheWay as error:
                silence = f"node {node.name} does not answer: {error}"
                continue
            answers += 1
            if came.problem:
                raise error_of(came.problem)
        if silence and not answers:
            raise EngineError(f"{silence}. `ray status` says how it is.")

    def _looked(self, node: Node, items: Any) -> Came:
        """What a node says of itself. Raises LostOnTheWay where it is gone."""
        task = _Task(0, items, Share())
        for _ in range(2):
            ready, _ = self.ray.wait([items], timeout=PATIENCE)
            if not ready:
                silence = f"node {node.name} says nothing for {PATIENCE:g} s"
                raise EngineError(f"{silence}. `ray status` says how it is.")
            answer = take(self.ray, task.items)
        return decode(answer, Came)

    # ------------------------------------------------------------ tasks

    def begin(self, number: int, share: Share, references: Sequence[Any], task: Value) -> None:
        """Hand out a task.

        Args:
            number: by which it is known.
            share: what it takes of a node.
            references: to what it has in common with others.
            task: what to do, for one node alone.
        """
        options = {**share.options, "_generator_backpressure_num_objects": PIECES_AHEAD}
        items = self._task.options(name=f"reprorun {self._what} {number}", **options).remote(
            self._what, self._depot, list(references), pickle.dumps(task)
        )
        self._tasks[items] = _Task(number, items, share)

    def wait(self) -> tuple[int, Came | Lost, Iterator[bytes]]:
        """The number of the next task that comes to its end, what came, and the tree's pieces.

        The pieces are taken before anything else is asked, and may raise `LostOnTheWay`. Where
        they are not taken to their end, the task is killed.
        """
        while True:
            self._heed()
            self._say_of_nodes()
            ready, _ = self.ray.wait(list(self._tasks), timeout=GLANCE, fetch_local=False)
            for items in ready:
                task = self._tasks[items]
                try:
                    came = self._next(task)
                except LostOnTheWay as error:
                    del self._tasks[items]
                    return task.number, Lost(str(error)), iter(())
                except EngineError as error:
                    del self._tasks[items]
                    return task.number, Came(problem=_problem(error)), iter(())
                if came is not None:
                    del self._tasks[items]
                    return task.number, came, self._pieces(task)

    def _next(self, task: _Task) -> Came | None:
        """What a task says; None where it has only just been placed."""
        if task.node is None:
            task.node = decode(take(self.ray, task.items), Began).node
            self._placed(task.number, task.node)
            return None
        return decode(take(self.ray, task.items), Came)

    def _pieces(self, task: _Task) -> Iterator[bytes]:
        whole = False
        try:
            while piece := take(self.ray, task.items):
                yield piece
            whole = True
        finally:
            if not whole:
                self._cancel(task)

    def _say_of_nodes(self) -> None:
        """Say, once, that there is nowhere left for what is to be done; and that there is again."""
        shares = tuple({task.share for task in self._tasks.values()})
        if said := self.nodes.news(shares):
            self._note(said)

    # ------------------------------------------------------------ interrupts, and the end

    def _interrupt(self, number: int) -> None:
        self._interrupts += 1

    def _heed(self) -> None:
        """Do what Ctrl-C asks for: stop what runs, forget what waits; the second time, kill."""
        if self._interrupts == self._heeded:
            return
        self._heeded = self._interrupts
        if self._heeded == 1:
            self._depot.stop.remote()
            for task in self._tasks.values():
                if task.node is None:
                    self.ray.cancel(task.items, force=False)
        else:
            self._cancel(*self._tasks.values())

    def _kill(self) -> None:
        """End all that is under way, and wait until it has."""
        self._cancel(*self._tasks.values())
        end = time.monotonic() + _KILLING
        for task in self._tasks.values():
            while time.monotonic() < end:
                try:
                    take(self.ray, task.items)
                except (LostOnTheWay, EngineError):
                    break
        self._tasks.clear()

    def _cancel(self, *tasks: _Task) -> None:
        for task in tasks:
            self.ray.cancel(task.items, force=True)


def _problem(error: EngineError) -> Problem:
    return Problem(kind=type(error).__name__, text=str(error))
