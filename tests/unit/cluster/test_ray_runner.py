"""A sweep's runner on a cluster: what it says before anything is begun."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from reprorun.cluster.capacity import Node
from reprorun.cluster.ray_runner import RayRunner
from reprorun.engine.fake import FakeEngine
from reprorun.errors import EngineError
from reprorun.model import Gpus, RunSpec
from reprorun.sweeps.values import Ask
from reprorun.workflow.report import Silent

CPU_NODE = Node(id="1", name="n1", cpus=2)
GPU_NODE = Node(id="2", name="n2", cpus=2, gpus=2)


class Notes(Silent):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


class Living(NamedTuple):
    living: tuple[Node, ...]


class FakeDispatch:
    """A cluster whose nodes have no engine."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = Living(nodes)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def look(self, nodes: Any) -> None:
        raise EngineError("that will do")


class Launch(NamedTuple):
    spec: RunSpec


def told(gpus: Gpus, ask: Ask, nodes: tuple[Node, ...], *runtimes: str) -> list[str]:
    """What the user is told when the runner is made."""
    engine, notes = FakeEngine(), Notes()
    info = replace(engine.info(), runtimes=runtimes)
    engine.info = lambda: info  # type: ignore[method-assign]
    launch: Any = Launch(RunSpec(script="x", cwd="/", gpus=gpus))
    runner: Any = RayRunner(launch, engine, ask, notes, notes.note)
    runner._dispatch = FakeDispatch(nodes)
    with pytest.raises(EngineError, match="that will do"):
        runner.open()
    return notes.told


@pytest.mark.parametrize(
    ("nodes", "runtimes"), [((CPU_NODE, GPU_NODE), ()), ((CPU_NODE,), ("nvidia",))]
)
def test_gpus_that_nobody_asked_for_are_named_once(
    nodes: tuple[Node, ...], runtimes: tuple[str, ...]
) -> None:
    (line,) = told(Gpus(), Ask(), nodes, *runtimes)
    assert "no GPUs" in line
    assert "--gpus N" in line


@pytest.mark.parametrize(
    ("gpus", "ask", "nodes"),
    [
        (Gpus(), Ask(), (CPU_NODE,)),
        (Gpus(kind="none"), Ask(), (GPU_NODE,)),
        (Gpus(kind="count", count=1), Ask(gpus=1), (GPU_NODE,)),
        (Gpus(kind="all"), Ask(gpus=-1), (GPU_NODE,)),
    ],
)
def test_nothing_is_said_where_there_are_none_or_the_user_said_which(
    gpus: Gpus, ask: Ask, nodes: tuple[Node, ...]
) -> None:
    assert told(gpus, ask, nodes) == []
