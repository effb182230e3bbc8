"""The runner of a sweep on a Ray cluster. See `reprorun.workflow.runner.Runner`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from reprorun.cluster.arriving import receive_record
from reprorun.cluster.capacity import (
    Node,
    Share,
    at_once,
    fits,
    note_on_gpus,
    refuse_too_large,
    share_of,
)
from reprorun.cluster.dispatch import Dispatch, Lost
from reprorun.cluster.images import WantedImage, pushed
from reprorun.cluster.messages import Came, error_of
from reprorun.cluster.running import RunTask
from reprorun.cluster.taking import LostOnTheWay
from reprorun.cluster.trees import PIECE
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable, ReprorunError
from reprorun.gpus import offers_gpus
from reprorun.sweeps.values import Ask
from reprorun.workflow.prepared import Prepared
from reprorun.workflow.report import Reporter
from reprorun.workflow.runner import Ended, Job


class RayRunner:
    """Runs of one launch on the nodes of a Ray cluster.

    Args:
        launch: what is run; its archive is there while the runner is.
        engine: of this machine; has the image.
        ask: what one run asks of a node.
        report: told what the cluster takes.
        note: told, in a line, when it has no node left that could take a run.
        address: of the cluster; None: RAY_ADDRESS, or the one of this machine.
        jobs: the most runs that are handed out at a time.
        registry: HOST/NAME that the image is pushed to and pulled from; None: nodes get it from
            this machine.
        verbose: let Ray talk on the terminal.
    """

    def __init__(
        self,
        launch: Prepared,
        engine: Engine,
        ask: Ask,
        report: Reporter,
        note: Callable[[str], None],
        *,
        address: str | None = None,
        jobs: int | None = None,
        registry: str | None = None,
        verbose: bool = False,
    ) -> None:
        self._launch = launch
        self._ask = ask
        self._report = report
        self._engine = engine
        self._registry = registry
        self._share = Share()
        self._references: list[Any] = []
        self._dispatch = Dispatch(
            "run", address, lambda number, node: None, note, jobs, verbose=verbose
        )
        self._jobs: dict[int, Job] = {}

    def open(self) -> None:
        """Find the cluster, see that runs can be made there, and let it have what they share.

        Not needed before the block; but here an error comes before anything is begun.

        Raises:
            UsageError: it could never hold such a run, or can't be used.
            EngineError: there is none, or a node lacks what runs need.
        """
        dispatch = self._dispatch
        dispatch.open()
        try:
            nodes = dispatch.nodes.living
            self._share = share_of(self._ask, nodes)
            refuse_too_large(self._share, nodes)
            self._tell_of_gpus(nodes)
            usable = [node for node in nodes if fits(self._share, node)]
            self._report.step("cluster", _words(len(usable), at_once(self._share, usable)))
            dispatch.look(usable)
            self._image = _wanted_image(self._launch, self._engine, self._registry)
            self._references = [dispatch.put(data) for data in _shared(self._launch)]
        except BaseException:
            dispatch.close()
            raise

    def _tell_of_gpus(self, nodes: Sequence[Node]) -> None:
        here = offers_gpus(self._engine.info())
        if told := note_on_gpus(self._launch.spec.gpus, nodes, here=here):
            self._report.note(told)

    def __enter__(self) -> RayRunner:
        if not self._references:
            self.open()
        self._dispatch.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._references = []
        self._dispatch.__exit__(*raised)

    @property
    def interrupted(self) -> bool:
        return self._dispatch.interrupted

    @property
    def room(self) -> int:
        return self._dispatch.room(self._share)

    def begin(self, job: Job) -> None:
        self._jobs[job.number] = job
        task = RunTask(session=self._dispatch.session, image=self._image, spec=job.spec)
        self._dispatch.begin(job.number, self._share, self._references, task)

    def wait(self) -> Ended:
        number, came, pieces = self._dispatch.wait()
        job = self._jobs.pop(number)
        if isinstance(came, Lost):
            return Ended(job=job, moved=True)
        try:
            return _ended(job, came, pieces)
        except LostOnTheWay:
            return Ended(job=job, moved=True)
        except ReprorunError as error:
            return Ended(job=job, exit_code=error.exit_code, error=error)


def _words(nodes: int, runs: int) -> str:
    return f"{nodes} node{'s' * (nodes != 1)}, {runs} run{'s' * (runs != 1)} at once"


def _ended(job: Job, came: Came, pieces: Iterator[bytes]) -> Ended:
    error = error_of(came.problem) if came.problem else None
    if not came.tree and (came.interrupted or isinstance(error, EngineUnavailable)):
        return Ended(job=job, moved=True)  # it was not begun there
    record, log_dir = None, job.spec.log_dir
    if came.tree and came.run_id and log_dir:
        record = receive_record(pieces, os.path.join(job.spec.cwd, log_dir), came.run_id)
    return Ended(
        job=job,
        record=record,
        log_dir=log_dir if record else None,
        exit_code=came.exit_code,
        error=error,
        refusal=came.refusal,
    )


def _wanted_image(launch: Prepared, engine: Engine, registry: str | None) -> WantedImage:
    image = engine.image(launch.run_tag)
    if image is None:
        raise EngineError(
            f"the image {launch.run_tag} is gone from this machine's engine. Try again."
        )
    wanted = WantedImage.of(launch.run_tag, image)
    return pushed(wanted, engine, registry) if registry else wanted


def _shared(launch: Prepared) -> Iterator[Any]:
    """What goes to every node: the launch without what only this machine may know, its archive."""
    public = replace(
        launch,
        spec=replace(launch.spec, env={}, payloads={}),
        environment=replace(launch.environment, indexes=()),
        sources=replace(launch.sources, archive=None),
    )
    yield pickle.dumps(public)
    assert launch.sources.archive
    with open(launch.sources.archive, "rb") as file:
        while piece := file.read(PIECE):
            yield piece
