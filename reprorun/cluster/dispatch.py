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
from types import TracebackType
from typing import Any, NamedTuple

from reprorun.cluster.aboard import remote_task
from reprorun.cluster.capacity import Node, Share, window
from reprorun.cluster.connection import connected, engine_variables, living_nodes
from reprorun.cluster.depot import PIECES_AHEAD, start_depot
from reprorun.cluster.messages import Began, Came, Problem, decode, error_of
from reprorun.cluster.signals import Signals
from reprorun.errors import EngineError
from reprorun.model import Value

GLANCE = 0.5  # seconds between two looks at whether Ctrl-C came
PATIENCE = 120.0  # seconds that nodes may take to say that they can run something
_KILLING = 20.0  # seconds that killed tasks may take to end
_FRESH = 2.0  # seconds that what is known of the nodes is good for

Placed = Callable[[int, str], None]
"""Told the number of a task that has been placed, and the node."""


class LostOnTheWay(Exception):
    """The node, or the worker on it, was lost before everything had come."""


class Lost(NamedTuple):
    """A task of which nothing came, and why."""

    why: str


class _Task:
    """A task under way."""

    def __init__(self, number: int, items: Any) -> None:
        self.number = number
        self.items = items
        self.node: str | None = None  # None: it waits for a place


class Dispatch:
    """Hands out tasks of one kind. A context: at its end nothing is under way any more.

    Args:
        what: the kind, by its name in `aboard`.
        address: of the cluster; see `connected`.
        placed: see `Placed`.
        jobs: the most that are handed out at a time; None: as many as the cluster takes.
        verbose: let Ray talk.
    """

    def __init__(
        self, what: str, address: str | None, placed: Placed, jobs: int | None, *, verbose: bool
    ) -> None:
        self.session = os.urandom(8).hex()
        self._what = what
        self._address = address
        self._placed = placed
        self._jobs = jobs
        self._verbose = verbose
        self._stack = ExitStack()
        self._signals = Signals()
        self._is_open = False
        self._tasks: dict[Any, _Task] = {}
        self._seen = 0  # interrupts that were heeded
        self._nodes: tuple[float, tuple[Node, ...]] = (0.0, ())

    def open(self) -> None:
        """Connect with the cluster. Not needed before the block.

        Raises:
            UsageError, EngineUnavailable: see `connected`.
        """
        with ExitStack() as stack:
            self.ray = stack.enter_context(connected(self._address, verbose=self._verbose))
            self._task = remote_task(self.ray)
            self._depot = start_depot(self.ray, engine_variables())
            stack.callback(self.ray.kill, self._depot)
            self._stack = stack.pop_all()
        self._is_open = True

    def __enter__(self) -> Dispatch:
        if not self._is_open:
            self.open()
        self._stack.enter_context(self._signals)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
        return self._signals.count > 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The living nodes; they come and go."""
        at, nodes = self._nodes
        if time.monotonic() - at > _FRESH:
            nodes = living_nodes(self.ray)
            self._nodes = (time.monotonic(), nodes)
        return nodes

    def room(self, share: Share) -> int:
        """How many more tasks of that share it would take now."""
        if self.interrupted:
            return 0
        return max(0, window(share, self.nodes, self._jobs) - len(self._tasks))

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
        task = _Task(0, items)
        for _ in range(2):
            ready, _ = self.ray.wait([items], timeout=PATIENCE)
            if not ready:
                silence = f"node {node.name} says nothing for {PATIENCE:g} s"
                raise EngineError(f"{silence}. `ray status` says how it is.")
            answer = self._take(task)
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
        self._tasks[items] = _Task(number, items)

    def wait(self) -> tuple[int, Came | Lost, Iterator[bytes]]:
        """The number of the next task that comes to its end, what came, and the tree's pieces.

        The pieces are taken before anything else is asked, and may raise `LostOnTheWay`. Where
        they are not taken to their end, the task is killed.
        """
        while True:
            self._heed()
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
            task.node = decode(self._take(task), Began).node
            self._placed(task.number, task.node)
            return None
        return decode(self._take(task), Came)

    def _pieces(self, task: _Task) -> Iterator[bytes]:
        whole = False
        try:
            while piece := self._take(task):
                yield piece
            whole = True
        finally:
            if not whole:
                self._cancel(task)

    def _take(self, task: _Task) -> bytes:
        """The next item of a task.

        Raises:
            LostOnTheWay: none will come.
            EngineError: reprorun itself failed there.
        """
        exceptions = self.ray.exceptions
        try:
            item: bytes = self.ray.get(next(task.items))
            return item
        except StopIteration:
            raise LostOnTheWay("it ended in the middle") from None
        except exceptions.TaskCancelledError:
            raise LostOnTheWay("it was cancelled") from None
        except exceptions.RayTaskError as error:
            raise EngineError(f"reprorun itself failed on a node: {_last_line(error)}") from error
        except exceptions.OutOfMemoryError as error:
            raise EngineError(
                "Ray has ended the run because its node ran out of memory. Ask for what it needs "
                "with --memory, so that fewer share a node."
            ) from error
        except exceptions.RayError as error:
            raise LostOnTheWay(_first_line(error)) from error

    # ------------------------------------------------------------ interrupts, and the end

    def _heed(self) -> None:
        """Do what Ctrl-C asks for: stop what runs, forget what waits; the second time, kill."""
        if self._signals.count == self._seen:
            return
        self._seen = self._signals.count
        if self._seen == 1:
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
                    self._take(task)
                except (LostOnTheWay, EngineError):
                    break
        self._tasks.clear()

    def _cancel(self, *tasks: _Task) -> None:
        for task in tasks:
            self.ray.cancel(task.items, force=True)


def _problem(error: EngineError) -> Problem:
    return Problem(kind=type(error).__name__, text=str(error))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
