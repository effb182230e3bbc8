"""Calls one function of a launcher with parameters that somebody kept.

Run in the container as `python -m reprorun.experiment.function LAUNCHER NAME PARAMETERS_FILE`. The
launcher is the main script, as if it had been started, but its own calls are left out: see
`definitions`. Exits with 2 where the function can't be called so.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from reprorun.experiment.definitions import without_calls
from reprorun.experiment.guest import current_guest

if TYPE_CHECKING:
    import inspect

_TEMPLATE = "ExperimentTemplate"  # the class of wrapped functions, reprorun's or garage's
_NAMED = ("$typename", "$class", "$function", "$enum")  # LogEncoder's, for what a name stands for
_PYTHON_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
# What LogEncoder writes for objects that it can't describe otherwise.
_REPR = re.compile(
    r"<[^<>]* at 0x[0-9a-f]+>|(array|tensor|Tensor)\(.*\)|circular [<{[(].*", re.DOTALL
)
_UNKNOWN = "$unknown"


def main(argv: list[str]) -> None:
    """Calls the function.

    Args:
        argv: The launcher's path, the function's name, and the file with the parameters.

    Raises:
        SystemExit: With code 2, if it can't be called so.
    """
    if len(argv) != 3:
        _refuse("it takes LAUNCHER NAME PARAMETERS_FILE")
    launcher, name, file = argv
    kept, guest = _kept(file), current_guest()
    overriding = guest.params if guest else {}
    module = _load(launcher, name)
    function = _callable(_find(module, name, launcher), name)
    _check(function, name, {**kept, **overriding})
    restored = {k: _restored(k, kept[k]) for k in kept if k not in overriding}
    function(**{**restored, **overriding})


# ---------------------------------------------------------------- the launcher


def _load(launcher: str, name: str) -> ModuleType:
    """Runs the launcher as the main script, without its own calls."""
    try:
        with open(launcher, "rb") as source:
            text = source.read()
    except OSError as error:
        _refuse(f"the launcher {launcher} can't be read: {error.strerror}")
    tree, lines = without_calls(text, launcher, name.split(".")[0])
    if lines:
        numbers = ", ".join(map(str, lines))
        _say(f"{name} is called in place of what {launcher} does by itself (line {numbers})")
    module = _become_main(launcher)
    exec(compile(tree, launcher, "exec", dont_inherit=True), module.__dict__)
    return module


def _become_main(launcher: str) -> ModuleType:
    module = ModuleType("__main__")
    module.__file__ = launcher
    sys.modules["__main__"] = module
    sys.argv = [launcher]
    directory = os.path.dirname(os.path.realpath(launcher))
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = directory  # in place of the current directory, which -m put there
    return module


def _find(module: ModuleType, name: str, launcher: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = _functions(module) or ["none"]
            _refuse(f"{launcher} has no {name}; its functions: {', '.join(known)}")
        found = getattr(found, part)
    return found


def _functions(module: ModuleType) -> list[str]:
    """Names of what the launcher defines and can be called, wrapped ones first."""
    own = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(_behind(value), "__module__", None) == "__main__"
    }
    wrapped = [name for name in own if _is_wrapped(own[name])]
    return [*wrapped, *(name for name in own if name not in wrapped and name[0] != "_")]


def _is_wrapped(value: Any) -> bool:
    return any(kind.__name__ == _TEMPLATE for kind in type(_behind(value)).__mro__)


def _behind(value: Any) -> Any:
    """The function of a click command; everything else as it is."""
    click: Any = sys.modules.get("click")
    is_command = click is not None and isinstance(value, getattr(click, "Command", ()))
    return value.callback if is_command else value


def _callable(value: Any, name: str) -> Callable[..., Any]:
    function = _behind(value)
    if not callable(function):
        _refuse(f"{name} is no function, but {type(value).__name__}")
    return function  # type: ignore[no-any-return]  # whatever it is, it can be called


# ---------------------------------------------------------------- the parameters


def _kept(file: str) -> dict[str, Any]:
    """The parameters in the file."""
    try:
        with open(file, encoding="utf-8") as source:
            kept = json.load(source)
    except OSError as error:
        _refuse(f"the parameters in {file} can't be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        _refuse(f"the parameters in {file} are not JSON: {error}")
    if not isinstance(kept, dict):
        _refuse(f"the parameters in {file} are no JSON object, but {type(kept).__name__}")
    return kept


def _check(function: Callable[..., Any], name: str, given: dict[str, Any]) -> None:
    """Refuses what the function does not take, and too little."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):
        return  # of a function that is not Python's nothing is known before it is called
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = [p.name for p in parameters.values() if _has_name(p)]
    takes = f"it takes: {', '.join(known) or 'none'}"
    for key in given:
        if key not in known and not takes_all:
            _refuse(f"{name}() takes no parameter {key!r}; {takes}")
    missing = [key for key in known if key not in given and _is_needed(parameters[key])]
    if missing:
        _refuse(
            f"{name}() needs a value for {', '.join(missing)}, which the parameters do not hold; "
            f"{takes}. Give it with -P {missing[0]}=VALUE"
        )
    for key in known:
        if _was_whole(given.get(key), parameters[key]):
            _say(
                f"{key} is {given[key]}: the record keeps numpy's integers so. "
                f"If it was one, give it with -P {key}={given[key]:.0f}"
            )


def _was_whole(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether an integer is meant where a float was kept."""
    said = parameter.annotation in (int, "int") or type(parameter.default) is int
    return isinstance(value, float) and value.is_integer() and said


def _has_name(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _restored(name: str, value: Any) -> Any:
    """A parameter as it was: types, functions and members of enums are found by their names.

    What was written down in a form that it can't be made of again is an error.
    """
    if isinstance(value, list):
        return [_restored(name, each) for each in value]
    if isinstance(value, str) and (value == _UNKNOWN or _REPR.fullmatch(value)):
        _refuse_lost(name, value)
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(kind, what)] = value.items()
        if kind in _NAMED:
            return _by_name(name, value, what)
    if "$type" in value:
        _refuse_lost(name, value)
    return {key: _restored(name, each) for key, each in value.items()}


def _by_name(parameter: str, value: Any, name: Any) -> Any:
    if not isinstance(name, str) or not _PYTHON_NAME.fullmatch(name):
        _refuse_lost(parameter, value)
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        top = ".".join(parts[:length])
        try:
            found: Any = import_module(top)  # the launcher, where it is __main__
            for part in parts[length:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return found
    return _refuse_lost(parameter, value)


def _refuse_lost(name: str, value: Any) -> NoReturn:
    text = json.dumps(value)
    shown = text if len(text) <= 60 else text[:60] + "..."
    _refuse(
        f"the parameter {name} was kept as {shown}, of which it can't be made again. "
        f"Give it with -P {name}=VALUE, or run the launcher itself with arguments after --"
    )


def _say(message: str) -> None:
    print(f"reprorun: {message}", file=sys.stderr)


def _refuse(message: str) -> NoReturn:
    _say(f"error: {message}")
    raise SystemExit(2)


if __name__ == "__main__":
    _own = sys.modules["__main__"]  # kept, since the launcher takes its place
    main(sys.argv[1:])
