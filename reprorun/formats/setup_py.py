"""setup.py, read as text: the arguments of its `setup(...)` where they are constants."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from msgspec import field

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.constants import NotConstant, bind, evaluate, names_of
from reprorun.model import Value

_ADVICE = "reprorun does not run it. List the packages in a requirements.txt beside it."


class SetupCall(Value, frozen=True, kw_only=True):
    """What `setup(...)` is given, as far as it matters here. None: nothing, or not a constant."""

    name: str | None = None
    requires: tuple[str, ...] = ()
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)
    python: str | None = None
    package_dir: dict[str, str] = field(default_factory=dict)


def read_setup_py(root: str, path: str) -> SetupCall:
    """The arguments of the setup() call.

    Raises:
        UsageError: it is no Python, has no setup() or several, or computes what it needs.
    """
    module = _parsed(root, path)
    call, names = _setup_call(module, path)
    given = _arguments(call, names, path)
    return SetupCall(
        name=_optional(given, "name", names),
        requires=_requires(given, "install_requires", names, path),
        extras=_extras(given, names, path),
        python=_optional(given, "python_requires", names),
        package_dir=_package_dir(given, names),
    )


def _parsed(root: str, path: str) -> ast.Module:
    text = tree.read_text(root, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's own style, such as odd escapes
            return ast.parse(text)
    except SyntaxError as error:
        raise UsageError(
            f"{path}, line {error.lineno or 1}: it is no Python that can be read: {error.msg}. "
            + _ADVICE
        ) from error
    except (RecursionError, ValueError, MemoryError) as error:
        raise UsageError(f"{path} can't be read: {error}. {_ADVICE}") from error


def _setup_call(module: ast.Module, path: str) -> tuple[ast.Call, dict[str, Any]]:
    """The only setup() call, and the constants that are known where it stands."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call) and _is_setup(node)]
    if len(calls) != 1:
        raise UsageError(
            f"{path}: it has {len(calls) or 'no'} calls of setup(), not one. {_ADVICE}"
        )
    [call] = calls
    try:
        names = names_of(module)
        for function in ast.walk(module):
            if isinstance(function, ast.FunctionDef) and call in ast.walk(function):
                bind(function.body, names)
    except RecursionError as error:
        raise UsageError(f"{path} can't be read: it is nested too deep. {_ADVICE}") from error
    return call, names


def _is_setup(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "setup"
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "setup"
        and isinstance(function.value, ast.Name)
        and function.value.id in ("setuptools", "distutils", "core", "st")
    )


def _arguments(call: ast.Call, names: dict[str, Any], path: str) -> dict[str, ast.expr]:
    """The keyword arguments, those of a constant `**mapping` among them."""
    given: dict[str, ast.expr] = {}
    for keyword in call.keywords:
        if keyword.arg is not None:
            given[keyword.arg] = keyword.value
            continue
        try:
            mapping = evaluate(keyword.value, names)
        except NotConstant as error:
            raise _computed(path, error, call, "what setup() is given") from error
        if not isinstance(mapping, dict):
            raise _computed(path, NotConstant(keyword.value), call, "what setup() is given")
        given.update({str(key): _as_node(value, call) for key, value in mapping.items()})
    return given


def _as_node(value: Any, call: ast.Call) -> ast.expr:
    """A constant as an expression that evaluates to it."""
    if isinstance(value, dict):
        keys: list[ast.expr | None] = [_as_node(key, call) for key in value]
        whole: ast.expr = ast.Dict(keys=keys, values=[_as_node(v, call) for v in value.values()])
    elif isinstance(value, (list, tuple)):
        whole = ast.List(elts=[_as_node(item, call) for item in value], ctx=ast.Load())
    else:
        whole = ast.Constant(value=value)
    return ast.copy_location(whole, call)


def _computed(path: str, error: NotConstant, node: ast.AST, what: str) -> UsageError:
    line = error.line or getattr(node, "lineno", 0)
    return UsageError(f"{path}, line {line}: {what} is computed, and {_ADVICE}")


def _optional(given: dict[str, ast.expr], key: str, names: dict[str, Any]) -> str | None:
    """A text; None when it is computed, since nothing that is installed depends on it."""
    try:
        value = evaluate(given[key], names) if key in given else None
    except NotConstant:
        return None
    return value if isinstance(value, str) else None


def _requires(
    given: dict[str, ast.expr], key: str, names: dict[str, Any], path: str
) -> tuple[str, ...]:
    if key not in given:
        return ()
    try:
        value = evaluate(given[key], names)
    except NotConstant as error:
        raise _computed(path, error, given[key], key) from error
    return _lines(value, path, given[key], key)


def _lines(value: Any, path: str, node: ast.expr, what: str) -> tuple[str, ...]:
    """A list of requirements, or a text with one a line, as setuptools takes both."""
    if value is None:
        return ()
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, (list, tuple)) or not all(isinstance(line, str) for line in lines):
        raise UsageError(f"{path}, line {node.lineno}: {what} is no list of requirements.")
    return tuple(line.strip() for line in lines if line.split("#")[0].strip())


def _extras(
    given: dict[str, ast.expr], names: dict[str, Any], path: str
) -> dict[str, tuple[str, ...]]:
    node = given.get("extras_require")
    if node is None:
        return {}
    try:
        value = evaluate(node, names)
    except NotConstant as error:
        if _has_conditions(node):
            raise _computed(path, error, node, "extras_require") from error
        return {}  # an extra that is asked for and is not there is an error then
    if not isinstance(value, dict):
        raise UsageError(f"{path}, line {node.lineno}: extras_require is no dict.")
    return {str(key): _lines(lines, path, node, "an extra") for key, lines in value.items()}


def _has_conditions(node: ast.expr) -> bool:
    """Whether there is a key `:MARKER` in sight, whose requirements are no extra."""
    constants = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
    return any(isinstance(value, str) and value.startswith(":") for value in constants)


def _package_dir(given: dict[str, ast.expr], names: dict[str, Any]) -> dict[str, str]:
    try:
        value = evaluate(given["package_dir"], names) if "package_dir" in given else {}
    except NotConstant:
        return {}
    if not isinstance(value, dict):
        return {}
    return {str(key): str(place) for key, place in value.items()}
