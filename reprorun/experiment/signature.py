"""What a wrapped function takes, and what one call of it gets."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Callable, Mapping

if TYPE_CHECKING:
    import inspect

PREFIX = "reprorun: error: "
REFUSAL = PREFIX + "-P "
"""How a line begins that says why the user's parameters don't fit; the host looks for it."""

_LONGEST = 60  # characters of a value
_JSON_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "bool": bool}


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
        SystemExit: With code 2, if the function does not take a parameter of the user's, or is
            annotated to take another type.
        TypeError: If the function can't be called with these arguments.
    """
    for name, value in overriding.items():
        if not _takes(signature, name):
            _refuse(name, "...", _takes_no_such(function, signature, name))
        wanted = _builtin_annotation(signature, name)
        if wanted and not _fits(wanted, value):
            shown = json.dumps(value)
            shown = shown if len(shown) <= _LONGEST else "..."
            _refuse(name, shown, _of_other_type(function, name, wanted))
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


def _takes_no_such(function: Callable[..., Any], signature: inspect.Signature, name: str) -> str:
    takes = ", ".join(signature.parameters) or "none"
    return f"{name_of(function)}() takes no parameter {name!r}; it takes: {takes}"


def _of_other_type(function: Callable[..., Any], name: str, wanted: str) -> str:
    text = f"{name_of(function)}() takes {name!r} as {wanted}"
    hint = f"; values are JSON, so text that looks like one is written -P {name}='\"...\"'"
    return text + hint if wanted == "str" else text


def _builtin_annotation(signature: inspect.Signature, name: str) -> str | None:
    """Returns the type that a parameter is annotated with, if it is one that JSON has, too."""
    parameter = signature.parameters.get(name)
    annotation = parameter.annotation if parameter is not None else None
    wanted = getattr(annotation, "__name__", annotation)
    if not isinstance(wanted, str):
        return None
    wanted = wanted.strip("'\"")  # where annotations are postponed, and one was text already
    return wanted if wanted in _JSON_TYPES else None


def _fits(wanted: str, value: Any) -> bool:
    """Says whether a JSON value is of a type; whole numbers do as float, and nothing as null."""
    if value is None or isinstance(value, bool):
        return value is None or wanted == "bool"
    return isinstance(value, _JSON_TYPES[wanted])


def _refuse(name: str, shown: str, reason: str) -> None:
    print(f"{REFUSAL}{name}={shown}: {reason}", file=sys.stderr)
    raise SystemExit(2)
