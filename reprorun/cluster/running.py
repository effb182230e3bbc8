"""A run on a node, from what the submitting machine asks to the record that goes back."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from reprorun import store
from reprorun.cluster.depot import fetch_image
from reprorun.cluster.images import WantedImage, ensure_image
from reprorun.cluster.inputs import verify_inputs
from reprorun.cluster.messages import END, Came, encode, problem_of
from reprorun.cluster.place import Place, place_of
from reprorun.cluster.trees import pack_tree
from reprorun.engine import connect
from reprorun.errors import EngineError, EngineUnavailable, RecordError, ReprorunError
from reprorun.gpus import choose_gpus
from reprorun.known import forget_record
from reprorun.model import EngineInfo, Gpus, RunSpec, Value
from reprorun.workflow.keeper import explain
from reprorun.workflow.outcome import INTERRUPTED
from reprorun.workflow.prepared import Attempt, Prepared, run_prepared
from reprorun.workflow.report import Silent


class RunTask(Value, frozen=True, kw_only=True):
    """One run, as it travels to a node."""

    session: str
    image: WantedImage
    spec: RunSpec  # its log directory is the submitting machine's


def look(ray: Any, depot: Any, references: list[Any], data: bytes) -> Iterator[bytes]:
    """See that a node can run anything at all."""
    try:
        connect().close()
        came = Came()
    except ReprorunError as error:
        came = Came(problem=problem_of(error, _node()))
    yield encode(came)
    yield END


def run(ray: Any, depot: Any, references: list[Any], data: bytes) -> Iterator[bytes]:
    """Run it once and give its record.

    Args:
        references: to the pickled launch, then to its archive in pieces.
        data: a pickled `RunTask`, of the submitting machine.
    """
    task: RunTask = pickle.loads(data)
    place = place_of(task.session, ray, depot)
    attempt = os.path.join(place.path, os.urandom(4).hex())
    log_dir = os.path.join(attempt, os.path.basename(task.spec.log_dir or "") or "run")
    try:
        came = _run(ray, depot, references, task, place, log_dir)
        yield encode(came)
        if came.tree:
            yield from pack_tree(log_dir)
        yield END
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


def _run(
    ray: Any, depot: Any, references: list[Any], task: RunTask, place: Place, log_dir: str
) -> Came:
    try:
        with place.interruptible():
            launch = _launch(ray, references, place)
            engine = place.engine()
            verify_inputs(launch.sources.inputs, place.node)
            ensure_image(task.image, engine, lambda: fetch_image(ray, depot, task.image.tag))
            spec = with_gpus(replace(task.spec, log_dir=log_dir), given_gpus(ray), engine.info())
            here = replace(launch.environment, engine=engine.info())
            place.leash.busy()
            attempt = run_prepared(replace(launch, environment=here), spec, engine, Silent())
    except KeyboardInterrupt:
        run_id = forgotten(log_dir)
        return Came(tree=run_id is not None, run_id=run_id, exit_code=INTERRUPTED, interrupted=True)
    except (ReprorunError, OSError) as error:
        place.forget_engine()
        return failed(error, place)
    if attempt.error is None or _settled(attempt, place):
        place.leash.well()
    return Came(
        tree=True,
        run_id=forgotten(log_dir),
        exit_code=attempt.exit_code,
        refusal=attempt.refusal,
        problem=problem_of(attempt.error, place.node) if attempt.error else None,
        interrupted=attempt.record.status == "interrupted",
    )


def _launch(ray: Any, references: list[Any], place: Place) -> Prepared:
    """What all runs share, and its archive as a file; both are fetched with the first."""

    def make() -> Prepared:
        first, *pieces = references
        launch: Prepared = pickle.loads(ray.get(first))
        archive = place.file(store.ARCHIVE_FILE, (ray.get(piece) for piece in pieces))
        return replace(launch, sources=replace(launch.sources, archive=archive))

    made: Prepared = place.once(make)
    return made


def with_gpus(spec: RunSpec, given: tuple[str, ...], engine: EngineInfo) -> RunSpec:
    """The run with the GPUs that Ray gives it, and no others that its node may have.

    Args:
        given: their ids.
        engine: of the node.
    """
    if spec.gpus.kind == "auto" and choose_gpus(spec.gpus, engine):
        asked = Gpus(kind="count", count=len(given)) if given else Gpus(kind="none")
        spec = replace(spec, gpus=asked)
    return replace(spec, gpu_devices=given)


def given_gpus(ray: Any) -> tuple[str, ...]:
    """The GPUs of this node that Ray gives to the task, by their ids."""
    given = ray.get_runtime_context().get_accelerator_ids()
    return tuple(str(each) for each in given.get("GPU", ()))


def failed(error: ReprorunError | OSError, place: Place) -> Came:
    """What is told of a task that could not be done."""
    ours = EngineError(explain(error, place.path)) if isinstance(error, OSError) else error
    return Came(problem=problem_of(ours, place.node), exit_code=ours.exit_code)


def forgotten(log_dir: str) -> str | None:
    """The id of the record; that it was noted on this node is undone, since it will not stay."""
    try:
        run_id = store.read_record(log_dir).id
    except RecordError:
        return None
    forget_record(run_id)
    return run_id


def _settled(attempt: Attempt, place: Place) -> bool:
    """See that no container goes on after an error. One that has ended is the only copy of what it
    made, as the error says, and stays.
    """
    lost_sight = isinstance(attempt.error, EngineUnavailable)
    if lost_sight:
        place.forget_engine()
    try:
        engine = place.engine()
        for container in engine.labelled_containers(f"reprorun.run={attempt.record.id}"):
            if lost_sight or container.running:
                engine.remove(container.id)
            else:
                place.leash.keep(container.id)
    except EngineError:
        return False  # the leash tries again
    return True


def _node() -> str:
    import platform

    return platform.node()
