"""The Ray cluster that is there: found, never started, and left again."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reprorun.cluster.capacity import Node, nodes_of
from reprorun.errors import EngineUnavailable, UsageError

_QUIET = "RAY_DEDUP_LOGS_SKIP_REGEX"  # Ray reads it when it is imported
_VARIABLES = ("DOCKER_", "XDG_", "REPRORUN_")
_DIALLING = 5.0  # seconds that the cluster's address may take to answer


@contextmanager
def connected(address: str | None, *, verbose: bool = False) -> Iterator[Any]:
    """The module `ray`, connected to a cluster while the block lasts.

    Args:
        address: of the cluster; None: what RAY_ADDRESS says, or the one of this machine.
        verbose: let Ray talk on the terminal.

    Raises:
        UsageError: Ray is not installed, or the address can't be used.
        EngineUnavailable: there is no such cluster.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    _check_address(wanted)
    ray = import_ray(verbose=verbose)
    if ray.is_initialized():  # by whoever uses us from Python: theirs to end, too
        yield ray
        return
    level = logging.INFO if verbose else logging.CRITICAL
    try:
        ray.init(
            address=wanted, log_to_driver=verbose, logging_level=level, configure_logging=verbose
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EngineUnavailable(_unreachable(wanted, error)) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def living_nodes(ray: Any) -> tuple[Node, ...]:
    """The nodes that live now."""
    return nodes_of(ray.nodes())


def engine_variables() -> dict[str, str]:
    """What says where this machine's engine and cache are, for a process of Ray's that needs it."""
    return {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}


def _check_address(address: str) -> None:
    if address == "local" or address.startswith("ray://"):
        raise UsageError(
            f"--address {address}: runs are handed out from a machine of the cluster itself. Name "
            "HOST:PORT of its head, or leave it out on one of its machines."
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    if not port.isdigit():
        raise UsageError(f"--address {address} is no HOST:PORT.")
    try:  # Ray itself would try for long
        socket.create_connection((host.strip("[]"), int(port)), _DIALLING).close()
    except (OSError, OverflowError) as error:
        raise EngineUnavailable(_unreachable(address, error)) from error


def import_ray(*, verbose: bool) -> Any:
    """The module `ray`.

    Args:
        verbose: let it talk on the terminal; that is settled with the first import of a process.

    Raises:
        UsageError: it is not installed.
    """
    quiet = not verbose and _QUIET not in os.environ
    if quiet:
        os.environ[_QUIET] = "(?s).*"  # or it prints the logs of nodes that have died
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError(
            f"--on ray needs Ray ({error}). Install it: `pip install 'reprorun[ray]'`."
        ) from error
    finally:
        if quiet:
            del os.environ[_QUIET]
    return ray


def _unreachable(address: str, error: BaseException) -> str:
    where = "on this machine" if address == "auto" else f"at {address}"
    if isinstance(error, (ConnectionError, OSError)):
        return (
            f"there is no Ray cluster {where}. Start one with `ray start --head`, and on each "
            "other machine `ray start --address=HEAD:6379`; or name one with --address."
        )
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
    return f"the Ray cluster {where} can't be used: {reason}"
