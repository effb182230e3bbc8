"""Nodes that come and go, and what is said of it: each thing once."""

from __future__ import annotations

from reprorun.cluster.capacity import Node, Share
from reprorun.cluster.nodes import PATIENCE, Nodes

SMALL, LARGE = Node(id="s", name="s", cpus=1), Node(id="l", name="l", cpus=4)
HEAD = Node(id="h", name="h")
ONE, TWO = Share(), Share(cpus=2)


class Cluster:
    """Nodes, and a clock that is set by hand."""

    def __init__(self, *living: Node) -> None:
        self.living = living
        self.now = 0.0
        self.looks = 0
        self.nodes = Nodes(self._look, lambda: self.now)

    def _look(self) -> tuple[Node, ...]:
        self.looks += 1
        return self.living

    def news(self, *shares: Share, after: float = 0.0) -> str | None:
        self.now += after
        return self.nodes.news(shares)


def test_the_cluster_is_asked_now_and_then() -> None:
    cluster = Cluster(SMALL)
    assert [cluster.nodes.living for _ in range(100)] == [(SMALL,)] * 100
    assert cluster.looks == 1
    cluster.living, cluster.now = (LARGE,), 10.0
    assert cluster.nodes.living == (LARGE,)
    assert sorted(node.id for node in cluster.nodes.known) == ["l", "s"]


def test_while_there_is_a_node_nothing_is_said() -> None:
    cluster = Cluster(HEAD, SMALL)
    assert [cluster.news(ONE, TWO, after=60) for _ in range(5)] == [None] * 5


def test_that_none_is_left_and_that_one_is_back_is_said_once() -> None:
    cluster = Cluster(HEAD, SMALL, LARGE)
    assert cluster.news(ONE) is None
    cluster.living = (HEAD,)
    said = [cluster.news(ONE, after=PATIENCE - 1) for _ in range(10)]
    assert said[0] is None
    assert [each for each in said if each] == [
        "no node of the cluster is left that could take a run: waiting for one"
    ]
    cluster.living = (HEAD, SMALL)
    said = [cluster.news(ONE, after=3) for _ in range(10)]
    assert said == ["going on: the cluster has 1 node again", *[None] * 9]
    cluster.living = ()
    assert cluster.news(ONE, after=3) is None
    assert "no node" in (cluster.news(ONE, after=PATIENCE) or "")


def test_a_node_that_is_gone_for_a_moment_is_not_spoken_of() -> None:
    cluster = Cluster(SMALL)
    cluster.living = ()
    assert cluster.news(ONE, after=3) is None
    cluster.living = (SMALL,)
    assert cluster.news(ONE, after=3) is None
    cluster.living = ()
    assert cluster.news(ONE, after=3) is None
    assert cluster.news(ONE, after=PATIENCE - 1) is None  # counted anew


def test_nodes_that_are_too_small_are_none() -> None:
    cluster = Cluster(SMALL)
    assert cluster.news(TWO) is None
    assert "no node" in (cluster.news(TWO, after=PATIENCE) or "")
    cluster.living = (SMALL, LARGE, LARGE)
    assert cluster.news(TWO, after=3) == "going on: the cluster has 2 nodes again"


def test_without_anything_to_do_nothing_is_said() -> None:
    cluster = Cluster()
    assert [cluster.news(after=60) for _ in range(3)] == [None] * 3
