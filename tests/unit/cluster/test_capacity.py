"""What a cluster takes at once, and what it never could."""

from __future__ import annotations

import pytest

from reprorun.cluster.capacity import (
    Node,
    Share,
    at_once,
    fits,
    nodes_of,
    refuse_too_large,
    share_of,
    window,
)
from reprorun.errors import UsageError
from reprorun.sweeps.values import Ask

GIB = 1 << 30
HEAD = Node(id="0", name="head")
SMALL = Node(id="1", name="small", cpus=2, memory=4 * GIB)
LARGE = Node(id="2", name="large", cpus=16, memory=8 * GIB, gpus=4)
NODES = (HEAD, SMALL, LARGE)


@pytest.mark.parametrize(
    ("ask", "number"),
    [
        (Ask(), 18),
        (Ask(cpus=4), 4),
        (Ask(cpus=0.1), 180),
        (Ask(memory=3 * GIB), 3),
        (Ask(gpus=1), 4),
        (Ask(gpus=1, runs_per_gpu=3), 12),
        (Ask(gpus=-1), 1),
        (Ask(gpus=3), 1),
        (Ask(cpus=17), 0),
    ],
)
def test_how_many_at_once(ask: Ask, number: int) -> None:
    assert at_once(share_of(ask, NODES), NODES) == number


def test_dead_nodes_take_nothing() -> None:
    told = [
        {"NodeID": "a", "Alive": True, "NodeManagerHostname": "x", "Resources": {"CPU": 2.0}},
        {"NodeID": "b", "Alive": False, "NodeManagerHostname": "y", "Resources": {"CPU": 4.0}},
        {"NodeID": "c", "Alive": True, "NodeName": "z", "Resources": {}},
    ]
    assert nodes_of(told) == (Node(id="a", name="x", cpus=2), Node(id="c", name="z"))


def test_the_window_is_bounded() -> None:
    share = Share()
    assert window(share, NODES, None) == 36
    assert window(share, NODES, 5) == 5
    assert window(share, NODES, 50) == 36
    assert window(share, (), None) == 1  # waits until a node joins


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Ask(cpus=17), "17 CPUs; the most that one has is 16 CPUs"),
        (Ask(gpus=5), "1 CPUs, 5 GPUs; the most that one has is 16 CPUs, 4 GPUs"),
        (Ask(memory=9 * GIB), "1 CPUs, 9216 MiB; the most that one has is 16 CPUs, 8192 MiB"),
        (Ask(cpus=2, memory=8 * GIB, gpus=5), "2 CPUs, 5 GPUs, 8192 MiB"),
    ],
)
def test_what_no_node_can_hold_is_refused(ask: Ask, words: str) -> None:
    with pytest.raises(UsageError, match="no node of the cluster can hold") as refused:
        refuse_too_large(share_of(ask, NODES), NODES)
    assert words in str(refused.value)


def test_memory_and_processors_must_be_on_the_same_node() -> None:
    split = (Node(id="1", name="a", cpus=8, memory=GIB), Node(id="2", name="b", cpus=1, memory=8e9))
    assert fits(Share(cpus=4, memory=4e9), split[0]) == fits(Share(cpus=4, memory=4e9), split[1])
    with pytest.raises(UsageError, match="no node"):
        refuse_too_large(Share(cpus=4, memory=4e9), split)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Ask(devices=("0", "1")), "names the GPUs of one machine"),
        (Ask(gpus=2, runs_per_gpu=2), "can't share them"),
    ],
)
def test_what_means_nothing_on_a_cluster(ask: Ask, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        share_of(ask, NODES)


def test_all_gpus_where_nodes_differ() -> None:
    nodes = (LARGE, Node(id="3", name="other", cpus=4, gpus=2))
    with pytest.raises(UsageError, match=r"different numbers of GPUs \(2, 4\)"):
        share_of(Ask(gpus=-1), nodes)


def test_all_gpus_where_there_are_none_can_never_run() -> None:
    with pytest.raises(UsageError, match="1 GPUs"):
        refuse_too_large(share_of(Ask(gpus=-1), (SMALL,)), (SMALL,))
