"""Checks that are handed out: what is lost is checked again, somewhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reprorun.cluster.capacity import Node, Share
from reprorun.cluster.checking import text_of
from reprorun.cluster.dispatch import Lost, LostOnTheWay
from reprorun.cluster.messages import Came, Problem
from reprorun.cluster.ray_check import MOST_MOVES, _Checks
from reprorun.model import Changes, Value
from reprorun.workflow.check import CheckOptions, RecordCheck
from reprorun.workflow.report import Silent

Answer = Came | Lost


class FakeDispatch:
    """A cluster of one node that takes two tasks, and answers what it is told to."""

    session = "s"
    interrupted = False
    nodes = (Node(id="1", name="n1", cpus=1),)

    def __init__(self, answers: dict[int, list[Answer]], *, breaks: bool = False) -> None:
        self._answers = answers
        self._breaks = breaks
        self._under_way: deque[int] = deque()
        self.most = 0
        self.begun: list[int] = []

    def room(self, share: Share) -> int:
        return 0 if self.interrupted else 2 - len(self._under_way)

    def begin(self, number: int, share: Share, references: Sequence[Any], task: Value) -> None:
        self._under_way.append(number)
        self.begun.append(number)
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


def results(dispatch: FakeDispatch, count: int, cwd: Path) -> list[RecordCheck]:
    named = {number: f"r{number}" for number in range(count)}
    options = CheckOptions(changes=Changes())
    checks = _Checks(dispatch, named, options, str(cwd), lambda record: Silent())  # type: ignore[arg-type]
    return list(checks.results())


def test_all_are_checked_a_few_at_a_time(tmp_path: Path) -> None:
    dispatch = FakeDispatch({number: [said(f"r{number}")] for number in range(50)})
    found = results(dispatch, 50, tmp_path)
    assert sorted(each.record for each in found) == sorted(f"r{n}" for n in range(50))
    assert dispatch.most == 2


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
