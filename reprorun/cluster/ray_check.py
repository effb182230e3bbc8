"""`check` of many records on a Ray cluster: each is checked on some node, with its own engine."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from reprorun import store
from reprorun.cluster.arriving import receive_directories
from reprorun.cluster.capacity import Node, Share, fits, refuse_too_large, share_of
from reprorun.cluster.check_images import CheckImages
from reprorun.cluster.checking import CheckTask, result_of
from reprorun.cluster.dispatch import Dispatch, Lost
from reprorun.cluster.messages import Came, error_of
from reprorun.cluster.taking import LostOnTheWay
from reprorun.errors import EngineError, RecordError, ReprorunError
from reprorun.sweeps.values import Ask
from reprorun.workflow.check import PLACE, CheckOptions, RecordCheck
from reprorun.workflow.report import Reporter

MOST_MOVES = 10  # of one record: then it is the record that nodes die of


def check_on_ray(
    records: Sequence[str],
    options: CheckOptions,
    cwd: str,
    reporter: Callable[[str], Reporter],
    note: Callable[[str], None],
    *,
    address: str | None = None,
    registry: str | None = None,
    jobs: int | None = None,
    verbose: bool = False,
) -> Iterator[RecordCheck]:
    """Run records again on a cluster and compare. See `reprorun.workflow.check.check`.

    Args:
        records: log directories or packs, of this machine.
        options: how.
        cwd: the working directory, absolute; re-runs that are kept come back below it.
        reporter: makes what is told how it goes with one record.
        note: told, in a line, when the cluster has no node left that could take a record.
        address: of the cluster; None: RAY_ADDRESS, or the one of this machine.
        registry: HOST/NAME that brings images to the nodes; None: they get them from this machine.
        jobs: the most that are handed out at a time.
        verbose: let Ray talk on the terminal.

    Yields:
        What is to be said of each record, as it is known.

    Raises:
        UsageError: the cluster can't be used, or not as asked.
        EngineError: there is none, a node lacks what re-runs need, or the registry takes nothing.
        KeyboardInterrupt: interrupted; nothing is running any more.
    """
    options = _without_auto(options)
    named = dict(enumerate(records))

    def placed(number: int, node: str) -> None:
        reporter(named[number]).step("running", f"on {node}")

    with (
        Dispatch("check", address, placed, note, jobs, verbose=verbose) as dispatch,
        CheckImages(options.changes, registry) as images,
    ):
        share = _share_asked_for(options, dispatch.nodes.living)
        dispatch.look([node for node in dispatch.nodes.living if fits(share or Share(), node)])
        checks = _Checks(dispatch, images, share, named, options, cwd, reporter)
        yield from checks.results()
        if dispatch.interrupted:
            raise KeyboardInterrupt


class _Checks:
    """The checks that are to be made and those under way."""

    def __init__(
        self,
        dispatch: Dispatch,
        images: CheckImages,
        share: Share | None,
        named: dict[int, str],
        options: CheckOptions,
        cwd: str,
        reporter: Callable[[str], Reporter],
    ) -> None:
        self._dispatch = dispatch
        self._images = images
        self._share = share  # None: each record says
        self._named = named
        self._options = options
        self._cwd = cwd
        self._reporter = reporter
        self._todo = deque(named)
        self._under_way = 0
        self._moves: Counter[int] = Counter()

    def results(self) -> Iterator[RecordCheck]:
        """What is said of each, as it comes."""
        while self._under_way or (self._todo and not self._dispatch.interrupted):
            yield from self._begin()
            if self._under_way:
                yield from self._wait()

    def _begin(self) -> Iterator[RecordCheck]:
        """Hand out as many as there is room for; what no node could hold is said at once."""
        while self._todo:
            record = self._named[self._todo[0]]
            source = os.path.abspath(os.path.join(self._cwd, record))
            share = self._share or _share_of_record(source)
            if not self._dispatch.room(share):
                return
            number = self._todo.popleft()
            try:
                refuse_too_large(share, self._dispatch.nodes.known)
            except ReprorunError as error:
                yield _error(record, error)
                continue
            task = CheckTask(
                session=self._dispatch.session,
                record=record,
                source=source,
                cwd=self._cwd,
                options=self._options,
                images=self._images.of(source),
            )
            self._dispatch.begin(number, share, (), task)
            self._under_way += 1

    def _wait(self) -> Iterable[RecordCheck]:
        """What is said of the next; nothing where it has to be checked again."""
        number, came, pieces = self._dispatch.wait()
        self._under_way -= 1
        record = self._named[number]
        if isinstance(came, Lost):
            return self._again(number, came.why)
        try:
            return self._said(record, came, pieces)
        except LostOnTheWay as error:
            return self._again(number, str(error))
        except ReprorunError as error:
            return [_error(record, error)]

    def _said(self, record: str, came: Came, pieces: Iterator[bytes]) -> list[RecordCheck]:
        if came.problem:
            raise error_of(came.problem)
        if came.check is None:
            return []  # interrupted
        kept = os.path.join(self._cwd, PLACE)
        moved = receive_directories(pieces, kept) if came.tree else {}
        places = {os.path.join(kept, name): place for name, place in moved.items()}
        return [result_of(came.check, places)]

    def _again(self, number: int, why: str) -> list[RecordCheck]:
        if self._dispatch.interrupted:
            return []
        self._moves[number] += 1
        if self._moves[number] >= MOST_MOVES:
            error = EngineError(f"lost {MOST_MOVES} times with its node, the last time: {why}")
            return [_error(self._named[number], error)]
        self._reporter(self._named[number]).step("moved", why)
        self._todo.append(number)
        return []


def _error(record: str, error: ReprorunError) -> RecordCheck:
    return RecordCheck(record=record, verdict="error", error=str(error), exit_code=error.exit_code)


def _without_auto(options: CheckOptions) -> CheckOptions:
    """The same where GPUs are had only because a node has them: Ray may have given them away."""
    asked = options.changes.gpus
    if asked is None or asked.kind != "auto":
        return options
    return replace(options, changes=replace(options.changes, gpus=None))  # each record says


def _share_of_record(path: str) -> Share:
    """What a re-run takes of a node: a processor, and as many GPUs as it had."""
    try:
        kept = store.read_record(path)
    except RecordError:  # a pack, or one of garage's; or none at all, as the node will say
        return Share()
    if kept.gpus is None:
        return Share()
    seen = kept.gpus_seen.gpus if kept.gpus_seen else ()
    return Share(gpus=max(1, kept.gpus.count, len(kept.gpus.devices), len(seen)))


def _share_asked_for(options: CheckOptions, nodes: Sequence[Node]) -> Share | None:
    """The same as the flags say; None where they say nothing.

    Raises:
        UsageError: it can't be said in a way that holds on every node.
    """
    asked = options.changes.gpus
    if asked is None:
        return None
    gpus = -1 if asked.kind == "all" else asked.count if asked.kind == "count" else 0
    return share_of(Ask(gpus=gpus, devices=asked.devices), nodes)
