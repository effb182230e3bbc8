"""What a wrapped function takes, and what one call of it gets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Mapping

if TYPE_CHECKING:
    import inspect


def experiment_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Returns a function's signature without `ctxt` and with all else keyword-only.

    Args:
        function: The function to wrap.

    Returns:
        The signature for those who call the experiment.

    Raises:
        ValueError: If the first parameter is not named `ctxt`.
    """
    import inspect

    whole = inspect.signature(function)
    first, *others = whole.parameters or [""]
    if first != "ctxt":
        found = f"{first!r} as its first parameter" if first else "no parameters"
        raise ValueError(
            f"{name_of(function)}() has {found}; an experiment's first parameter must be 'ctxt'"
        )
    kept = (_keyword_only(whole.parameters[name]) for name in others)
    return whole.replace(parameters=[parameter for parameter in kept if parameter is not None])


def arguments(
    function: Callable[..., Any],
    signature: inspect.Signature,
    passed: Mapping[str, Any],
    overriding: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the keyword arguments of one call, checked before anything is written.

    Args:
        function: The wrapped function.
        signature: Its signature without `ctxt`.
        passed: What the caller passes.
        overriding: What the user gave with -P; it comes first.

    Returns:
        The arguments.

    Raises:
        SystemExit: With code 2, if the function does not take a parameter of the user's.
        TypeError: If the function can't be called with these arguments.
    """
    for name in overriding:
        if not _takes(signature, name):
            _refuse(function, signature, name)
    result = {**passed, **overriding}
    try:
        signature.bind(**result)
    except TypeError as error:
        raise TypeError(f"{name_of(function)}(): {error}") from None
    return result


def name_of(function: Callable[..., Any]) -> str:
    """Returns a function's name, or that of its type where it has none (as partial objects)."""
    return str(getattr(function, "__name__", type(function).__name__))


def _keyword_only(parameter: inspect.Parameter) -> inspect.Parameter | None:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return None  # nothing can be passed there
    if parameter.kind is parameter.VAR_KEYWORD:
        return parameter
    return parameter.replace(kind=parameter.KEYWORD_ONLY)


def _takes(signature: inspect.Signature, name: str) -> bool:
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    return takes_all or name in signature.parameters


def _refuse(function: Callable[..., Any], signature: inspect.Signature, name: str) -> None:
    takes = ", ".join(signature.parameters) or "none"
    print(
        f"reprorun: error: -P {name}=...: {name_of(function)}() takes no parameter {name!r}; "
        f"it takes: {takes}",
        file=sys.stderr,
    )
    raise SystemExit(2)
