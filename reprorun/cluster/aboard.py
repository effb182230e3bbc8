"""The task itself, as it travels: it sees that reprorun is on the node, and hands over to it.

The function inside is pickled by value, so that it can say what is missing where reprorun is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reprorun import __version__
from reprorun.cluster.messages import PROTOCOL

Work = Callable[[Any, Any, list[Any], bytes], Iterator[bytes]]
"""What is done on a node: takes the module `ray`, the depot, references, and what to do."""


def remote_task(ray: Any) -> Any:
    """The task for Ray. Its arguments: what is to be done, then those of `Work` without `ray`."""
    version, protocol = __version__, PROTOCOL

    def reprorun(what: str, depot: Any, references: list[Any], data: bytes) -> Iterator[bytes]:
        import importlib
        import json
        import platform

        import ray

        node = platform.node()
        yield json.dumps({"node": node}).encode()
        try:
            found = importlib.import_module("reprorun").__version__
            work = importlib.import_module("reprorun.cluster.aboard").work
            spoken = importlib.import_module("reprorun.cluster.messages").PROTOCOL
        except (ImportError, AttributeError) as error:
            found, spoken = f"no reprorun with Ray ({error})", None
        if (found, spoken) == (version, protocol):
            yield from work(what)(ray, depot, references, data)
            return
        text = (
            f"on node {node}: there is {found}, {version} was wanted. Install it there, in the "
            f"environment that Ray runs in: `pip install 'reprorun[ray]=={version}'`."
        )
        yield json.dumps({"problem": {"kind": "EngineError", "text": text}}).encode()
        yield b""

    # A node that is lost in the middle: the sweep begins the run again. Ray would mix attempts.
    return ray.remote(max_retries=0, num_returns="streaming")(reprorun)


def work(what: str) -> Work:
    """What a task can be asked to do, by its name."""
    from reprorun.cluster import checking, running

    known: dict[str, Work] = {
        "look": running.look,
        "run": running.run,
        "check": checking.check,
    }
    return known[what]
