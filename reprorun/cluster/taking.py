"""Taking what a task gives, item by item; and why nothing comes any more."""

from __future__ import annotations

from typing import Any

from reprorun.errors import EngineError


class LostOnTheWay(Exception):
    """The node, or the worker on it, was lost before everything had come."""


def take(ray: Any, items: Any) -> bytes:
    """The next item of a task.

    Args:
        ray: the module.
        items: the task's, as Ray gives references to them.

    Raises:
        LostOnTheWay: none will come.
        EngineError: reprorun itself failed there.
    """
    exceptions = ray.exceptions
    try:
        item: bytes = ray.get(next(items))
        return item
    except StopIteration:
        raise LostOnTheWay("it ended in the middle") from None
    except exceptions.TaskCancelledError:
        raise LostOnTheWay("it was cancelled") from None
    except exceptions.RayTaskError as error:
        raise EngineError(f"reprorun itself failed on a node: {_last_line(error)}") from error
    except exceptions.OutOfMemoryError as error:
        raise EngineError(
            "Ray has ended the run because its node ran out of memory. Ask for what it needs "
            "with --memory, so that fewer share a node."
        ) from error
    except exceptions.RayError as error:
        raise LostOnTheWay(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
