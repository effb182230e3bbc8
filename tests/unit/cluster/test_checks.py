"""Checks that are handed out: what is lost is checked again, somewhere else."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.cluster.capacity import Node, Share
from reprorun.cluster.checking import text_of, with_gpus
from reprorun.cluster.dispatch import Lost
from reprorun.cluster.images import WantedImage
from reprorun.cluster.messages import Came, Problem
from reprorun.cluster.nodes import Nodes
from reprorun.cluster.ray_check import (
    MOST_MOVES,
    _Checks,
    _share_asked_for,
    _share_of_record,
    _without_auto,
)
from reprorun.cluster.taking import LostOnTheWay
from reprorun.errors import UsageError
from reprorun.model import Changes, Gpu, GpuRequest, Gpus, GpusSeen, Value
from reprorun.workflow.check import CheckOptions, RecordCheck
from reprorun.workflow.report import Silent

from ..host.values import record

Answer = Came | Lost


class FakeDispatch:
    """A cluster of one node that takes two tasks, and answers what it is told to."""

    session = "s"
    interrupted = False

    def __init__(self, answers: dict[int, list[Answer]], *, breaks: bool = False) -> None:
        self._answers = answers
        self._breaks = breaks
        self._under_way: deque[int] = deque()
        self.most = 0
        self.begun: list[int] = []
        self.tasks: list[Any] = []
        self.living: tuple[Node, ...] = (Node(id="1", name="n1", cpus=1),)
        self.nodes = Nodes(lambda: self.living, clock=lambda: self._clock())
        self._time = 0.0

    def _clock(self) -> float:
        self._time += 10  # what is known of the nodes is old each time
        return self._time

    def room(self, share: Share) -> int:
        return 0 if self.interrupted else 2 - len(self._under_way)

    def begin(self, number: int, share: Share, references: Sequence[Any], task: Value) -> None:
        self._under_way.append(number)
        self.begun.append(number)
        self.tasks.append(task)
        self.most = max(self.most, len(self._under_way))

    def wait(self) -> tuple[int, Answer, Iterator[bytes]]:
        number = self._under_way.popleft()
        return number, self._answers[number].pop(0), self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        if self._breaks:
            self._breaks = False
            raise LostOnTheWay("the node is gone")
        yield from ()


def said(record: str, *, tree: bool = False) -> Came:
    return Came(tree=tree, check=text_of(RecordCheck(record=record, verdict="identical"), {}))


IMAGE = WantedImage(tag="t:1", digest="d", content="c")


class FakeImages:
    """One image for all records."""

    def of(self, path: str) -> tuple[WantedImage, ...]:
        assert os.path.isabs(path)
        return (IMAGE,)


def results(dispatch: FakeDispatch, count: int, cwd: Path) -> list[RecordCheck]:
    named = {number: f"r{number}" for number in range(count)}
    options = CheckOptions(changes=Changes())
    images: Any = FakeImages()
    fake: Any = dispatch
    checks = _Checks(fake, images, None, named, options, str(cwd), lambda record: Silent())
    return list(checks.results())


def test_all_are_checked_a_few_at_a_time(tmp_path: Path) -> None:
    dispatch = FakeDispatch({number: [said(f"r{number}")] for number in range(50)})
    found = results(dispatch, 50, tmp_path)
    assert sorted(each.record for each in found) == sorted(f"r{n}" for n in range(50))
    assert dispatch.most == 2


def test_each_is_told_which_images_it_can_have(tmp_path: Path) -> None:
    dispatch = FakeDispatch({number: [said(f"r{number}")] for number in range(3)})
    results(dispatch, 3, tmp_path)
    assert [task.images for task in dispatch.tasks] == [(IMAGE,)] * 3


def test_no_node_could_ever_hold_it(tmp_path: Path) -> None:
    dispatch = FakeDispatch({})
    dispatch.living = (Node(id="1", name="n1", cpus=0.5),)
    (found,) = results(dispatch, 1, tmp_path)
    assert (found.verdict, found.exit_code) == ("error", 2)
    assert "no node of the cluster can hold" in (found.error or "")


def test_what_a_node_that_has_left_could_hold_waits(tmp_path: Path) -> None:
    dispatch = FakeDispatch({number: [said(f"r{number}")] for number in range(5)})
    wait = dispatch.wait

    def leaving() -> Any:
        dispatch.living = ()
        return wait()

    dispatch.wait = leaving  # type: ignore[method-assign]
    assert {each.verdict for each in results(dispatch, 5, tmp_path)} == {"identical"}


def test_what_is_lost_is_checked_again(tmp_path: Path) -> None:
    dispatch = FakeDispatch({0: [Lost("gone"), said("r0")], 1: [said("r1")]})
    assert sorted(each.record for each in results(dispatch, 2, tmp_path)) == ["r0", "r1"]
    assert sorted(dispatch.begun) == [0, 0, 1]


def test_what_is_lost_on_its_way_back_is_checked_again(tmp_path: Path) -> None:
    dispatch = FakeDispatch({0: [said("r0", tree=True), said("r0")]}, breaks=True)
    assert [each.record for each in results(dispatch, 1, tmp_path)] == ["r0"]
    assert dispatch.begun == [0, 0]


def test_what_nodes_die_of_is_an_error_in_the_end(tmp_path: Path) -> None:
    dispatch = FakeDispatch({0: [Lost("gone")] * 100})
    (found,) = results(dispatch, 1, tmp_path)
    assert (found.record, found.verdict, found.exit_code) == ("r0", "error", 125)
    assert "the last time: gone" in (found.error or "")
    assert len(dispatch.begun) == MOST_MOVES


def test_an_error_of_one_does_not_stop_the_others(tmp_path: Path) -> None:
    problem = Problem(kind="RecordError", text="on node n1: no record")
    dispatch = FakeDispatch({0: [Came(problem=problem)], 1: [said("r1")]})
    first, second = sorted(results(dispatch, 2, tmp_path), key=lambda each: each.record)
    assert (first.verdict, first.exit_code, first.error) == ("error", 2, "on node n1: no record")
    assert second.verdict == "identical"


@pytest.mark.parametrize("answer", [Lost("cancelled"), Came(interrupted=True)])
def test_nothing_is_begun_after_an_interrupt(tmp_path: Path, answer: Answer) -> None:
    dispatch = FakeDispatch({0: [answer], 1: [answer]})
    wait = dispatch.wait

    def interrupted() -> Any:
        dispatch.interrupted = True
        return wait()

    dispatch.wait = interrupted  # type: ignore[method-assign]
    assert results(dispatch, 5, tmp_path) == []
    assert sorted(dispatch.begun) == [0, 1]


# ---------------------------------------------------------------- GPUs

GPU_NODES = tuple(Node(id=name, name=name, cpus=4, gpus=2) for name in "ab")
TWO_SEEN = GpusSeen(by="nvidia-smi", gpus=(Gpu(name="x"), Gpu(name="x")))


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ({}, 0),
        ({"gpus": GpuRequest(count=2)}, 2),
        ({"gpus": GpuRequest(runtime="nvidia", devices=("3",))}, 1),
        ({"gpus": GpuRequest(count=-1)}, 1),
        ({"gpus": GpuRequest(count=-1), "gpus_seen": TWO_SEEN}, 2),
    ],
)
def test_a_re_run_takes_as_many_gpus_as_the_record_had(
    tmp_path: Path, fields: dict[str, Any], gpus: int
) -> None:
    (tmp_path / store.RUN_FILE).write_text(store.record_text(record(**fields)))
    assert _share_of_record(str(tmp_path)) == Share(gpus=gpus)


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        (None, None),
        (Gpus(kind="none"), Share()),
        (Gpus(kind="count", count=2), Share(gpus=2)),
        (Gpus(kind="all"), Share(gpus=2)),
    ],
)
def test_what_flags_ask_for_counts_for_all(asked: Gpus | None, share: Share | None) -> None:
    options = CheckOptions(changes=Changes(gpus=asked))
    assert _share_asked_for(options, GPU_NODES) == share


def test_gpus_that_only_a_node_has_are_left_to_the_record() -> None:
    """A node's engine would give all that there are, whomever Ray has given them to."""
    asked = Changes(params={"lr": 1}, gpus=Gpus(kind="auto"))
    assert _without_auto(CheckOptions(changes=asked)).changes == Changes(params={"lr": 1})
    for kept in (None, Gpus(kind="none"), Gpus(kind="all")):
        options = CheckOptions(changes=Changes(gpus=kept))
        assert _without_auto(options) is options


def test_the_gpus_of_one_machine_are_not_a_clusters() -> None:
    options = CheckOptions(changes=Changes(gpus=Gpus(kind="device", devices=("1",))))
    with pytest.raises(UsageError, match="On a cluster Ray chooses them"):
        _share_asked_for(options, GPU_NODES)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, None),
        (Gpus(kind="count", count=1), None),
        (Gpus(kind="device", devices=("7",)), Gpus(kind="count", count=1)),
    ],
)
def test_the_gpus_that_ray_gives_are_taken(
    tmp_path: Path, asked: Gpus | None, expected: Gpus | None
) -> None:
    (tmp_path / store.RUN_FILE).write_text(store.record_text(record(asked_gpus=asked)))
    options = with_gpus(CheckOptions(changes=Changes()), str(tmp_path), ("1",))
    assert options.changes == Changes(gpus=expected, gpu_devices=("1",))


def test_without_any_the_record_says_which(tmp_path: Path) -> None:
    options = CheckOptions(changes=Changes())
    assert with_gpus(options, str(tmp_path), ()) is options
