"""How many runs a cluster takes at once, and whether it could ever take one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from reprorun.errors import UsageError
from reprorun.model import Gpus, Value
from reprorun.sweeps.values import Ask

AHEAD = 2  # times what fits at once is handed to Ray, so that no node waits for the next run
_TINY = 1e-9  # fractions that add up to a whole


class Node(Value, frozen=True, kw_only=True):
    """A node that lives, and what Ray has to give away on it."""

    id: str
    name: str
    cpus: float = 0.0
    gpus: float = 0.0
    memory: float = 0.0  # bytes


class Share(Value, frozen=True, kw_only=True):
    """What one run takes of a node, as Ray counts it."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0  # bytes

    @property
    def options(self) -> dict[str, Any]:
        """The same as options of a task."""
        memory = {"memory": self.memory} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, **memory}


def nodes_of(told: Iterable[dict[str, Any]]) -> tuple[Node, ...]:
    """The living nodes among what `ray.nodes()` tells."""
    return tuple(
        Node(
            id=each["NodeID"],
            name=each.get("NodeManagerHostname") or each.get("NodeName") or each["NodeID"],
            cpus=each["Resources"].get("CPU", 0.0),
            gpus=each["Resources"].get("GPU", 0.0),
            memory=each["Resources"].get("memory", 0.0),
        )
        for each in told
        if each["Alive"]
    )


def share_of(ask: Ask, nodes: Sequence[Node]) -> Share:
    """What a run takes of a node.

    Raises:
        UsageError: it can't be said in a way that holds on every node.
    """
    if ask.devices:
        raise UsageError(
            f"--gpus device={','.join(ask.devices)} names the GPUs of one machine. On a cluster "
            "Ray chooses them: ask for a number."
        )
    return Share(cpus=ask.cpus, gpus=_gpus(ask, nodes), memory=ask.memory or 0)


def _gpus(ask: Ask, nodes: Sequence[Node]) -> float:
    gpus = ask.gpus if ask.gpus >= 0 else _all_gpus(nodes)
    if ask.runs_per_gpu == 1:
        return gpus
    if gpus > 1:
        raise UsageError(
            f"runs of {gpus} GPUs each can't share them on a cluster. Ask for one, or let each "
            "run have its own."
        )
    return gpus / ask.runs_per_gpu


def note_on_gpus(asked: Gpus, nodes: Iterable[Node], *, here: bool) -> str | None:
    """What is to be said where runs could have had GPUs, and nobody asked for them.

    Args:
        asked: by the user.
        nodes: of the cluster.
        here: whether the submitting machine's engine offers some.
    """
    if asked.kind != "auto" or not (here or any(node.gpus for node in nodes)):
        return None
    return "on a cluster runs have no GPUs unless they ask for them: --gpus N"


def _all_gpus(nodes: Sequence[Node]) -> int:
    numbers = {int(node.gpus) for node in nodes if node.gpus}
    if len(numbers) > 1:
        raise UsageError(
            f"--gpus all: the nodes have different numbers of GPUs ({_listed(numbers)}). Ask for "
            "a number."
        )
    return numbers.pop() if numbers else 1


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def fits(share: Share, node: Node) -> int:
    """How many runs a node takes at once."""
    wanted = ((share.cpus, node.cpus), (share.gpus, node.gpus), (share.memory, node.memory))
    bounds = [int(has / asks + _TINY) for asks, has in wanted if asks]
    return min(bounds, default=1)


def at_once(share: Share, nodes: Iterable[Node]) -> int:
    """How many runs the cluster takes at once."""
    return sum(fits(share, node) for node in nodes)


def window(share: Share, nodes: Iterable[Node], jobs: int | None) -> int:
    """How many runs are handed to Ray at a time; at least one, which waits for a node.

    Args:
        jobs: the most that the user wants at once.
    """
    ahead = max(1, AHEAD * at_once(share, nodes))
    return ahead if jobs is None else min(ahead, jobs)


def refuse_too_large(share: Share, nodes: Collection[Node]) -> None:
    """Refuse a run that no node could ever hold.

    Raises:
        UsageError: saying what was asked for, and what the nodes have.
    """
    if at_once(share, nodes):
        return
    most = Share(
        cpus=max((node.cpus for node in nodes), default=0),
        gpus=max((node.gpus for node in nodes), default=0),
        memory=max((node.memory for node in nodes), default=0),
    )
    raise UsageError(
        f"no node of the cluster can hold a run of {_words(share, share)}; the most that one has "
        f"is {_words(most, share)}.\nAsk for less (--cpus, --memory, --gpus), or add such a node."
    )


def _words(share: Share, asked: Share) -> str:
    """A share in words, with what was asked for."""
    parts = [f"{share.cpus:g} CPUs"]
    if asked.gpus:
        parts.append(f"{share.gpus:g} GPUs")
    if asked.memory:
        parts.append(f"{share.memory / 2**20:.0f} MiB")
    return ", ".join(parts)
