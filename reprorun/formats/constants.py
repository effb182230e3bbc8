"""Constants of a Python source file, read from its syntax tree; nothing of it is ever run."""

from __future__ import annotations

import ast
from typing import Any

_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
LARGEST = 1 << 20  # characters or items; more than any list of packages, less than harm


class NotConstant(Exception):
    """An expression whose value is known only by running it.

    Attributes:
        line: where it stands.
    """

    def __init__(self, node: ast.AST | None = None, line: int = 0) -> None:
        super().__init__()
        self.line: int = getattr(node, "lineno", line)


class _Unknown:
    """The value of a name that is bound to something computed, and the line of that."""

    def __init__(self, line: int) -> None:
        self.line = line


def names_of(module: ast.Module) -> dict[str, Any]:
    """The names that a module binds at its top level, with their constants.

    A name that is bound to something computed, or in a branch or a loop, or by an import, has no
    constant; asking for it raises `NotConstant`.
    """
    names: dict[str, Any] = {}
    bind(module.body, names)
    return names


def bind(statements: list[ast.stmt], names: dict[str, Any]) -> None:
    """Bind what the statements of a block bind, in place."""
    for statement in statements:
        _bind(statement, names)


def _bind(statement: ast.stmt, names: dict[str, Any]) -> None:
    if isinstance(statement, ast.If) and _is_main(statement.test):
        bind(statement.body, names)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            _assign(target, statement.value, names)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        _assign(statement.target, statement.value, names)
    elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        sum_of = ast.BinOp(left=_load(statement.target), op=statement.op, right=statement.value)
        names[statement.target.id] = _attempt(ast.copy_location(sum_of, statement), names)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        _call(statement.value, names)
    elif not isinstance(statement, ast.Expr):
        _forget(statement, names)


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")


def _load(name: ast.Name) -> ast.Name:
    return ast.copy_location(ast.Name(id=name.id, ctx=ast.Load()), name)


def _assign(target: ast.expr, value: ast.expr, names: dict[str, Any]) -> None:
    if isinstance(target, ast.Name):
        names[target.id] = _attempt(value, names)
    elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        _set_item(target, value, names)
    else:
        _forget(target, names)


def _set_item(target: ast.Subscript, value: ast.expr, names: dict[str, Any]) -> None:
    """`extras["all"] = ...` changes a dict; any other item leaves a name without a constant."""
    assert isinstance(target.value, ast.Name)
    before = names.get(target.value.id)
    try:
        if not isinstance(before, dict):
            raise NotConstant(target)
        before[evaluate(target.slice, names)] = evaluate(value, names)
    except (NotConstant, TypeError):
        names[target.value.id] = _Unknown(target.lineno)


def _call(call: ast.Call, names: dict[str, Any]) -> None:
    """`requires.append("x")` and the like change a list; what another call changes is unknown."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        before = names.get(function.value.id)
        if isinstance(before, (list, dict)):
            if not _changed(before, call, function.attr, names):
                names[function.value.id] = _Unknown(call.lineno)
            return
    if ast.unparse(function) in ("print", "setup", "setuptools.setup"):
        return
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        if isinstance(argument, ast.Name) and isinstance(names.get(argument.id), (list, dict)):
            names[argument.id] = _Unknown(call.lineno)


def _changed(
    before: list[Any] | dict[Any, Any], call: ast.Call, method: str, names: dict[str, Any]
) -> bool:
    """Whether a method with a known effect was called; it is done, on the value itself."""
    if len(call.args) != 1 or call.keywords:
        return False
    try:
        argument = evaluate(call.args[0], names)
        if isinstance(before, list) and method == "append":
            before.append(argument)
        elif (
            isinstance(before, list) and method == "extend" and isinstance(argument, (list, tuple))
        ):
            before.extend(argument)
        elif isinstance(before, dict) and method == "update" and isinstance(argument, dict):
            before.update(argument)
        else:
            return False
    except NotConstant:
        return False
    return True


def _forget(node: ast.AST, names: dict[str, Any]) -> None:
    """Whatever a statement may bind or change has no constant any more."""
    if isinstance(node, _DEFINITION):
        names[node.name] = _Unknown(node.lineno)
        return
    line = getattr(node, "lineno", 0)
    for inner in ast.walk(node):
        at = getattr(inner, "lineno", line)
        if isinstance(inner, ast.alias):
            names[(inner.asname or inner.name).split(".")[0]] = _Unknown(at)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, (ast.Store, ast.Del)):
            names[inner.id] = _Unknown(at)
        elif isinstance(inner, _DEFINITION):
            names[inner.name] = _Unknown(at)
        elif isinstance(inner, ast.Name) and isinstance(names.get(inner.id), (list, dict)):
            names[inner.id] = _Unknown(at)  # it may be changed in place


def _attempt(expression: ast.expr, names: dict[str, Any]) -> Any:
    try:
        return evaluate(expression, names)
    except NotConstant as error:
        return _Unknown(error.line or expression.lineno)


def evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    """The constant that an expression stands for.

    Raises:
        NotConstant: it is computed.
    """
    try:
        value = _evaluate(node, names)
        if isinstance(value, (str, bytes, list, tuple, dict, set)) and len(value) > LARGEST:
            raise NotConstant(node)
        return value
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise NotConstant(node) from error


def _evaluate(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _name(node, names)
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return _sequence(node, names)
    if isinstance(node, ast.Dict):
        return _dict(node, names)
    if isinstance(node, ast.JoinedStr):
        return "".join(_piece(piece, names) for piece in node.values)
    if isinstance(node, ast.BinOp):
        return _operation(node, names)
    if isinstance(node, ast.Subscript):
        return evaluate(node.value, names)[evaluate(node.slice, names)]
    if isinstance(node, ast.Call):
        return _known_call(node, names)
    raise NotConstant(node)


def _name(node: ast.Name, names: dict[str, Any]) -> Any:
    if node.id not in names:
        raise NotConstant(node)
    value = names[node.id]
    if isinstance(value, _Unknown):
        raise NotConstant(line=value.line)
    return value


def _sequence(node: ast.List | ast.Tuple | ast.Set, names: dict[str, Any]) -> Any:
    values: list[Any] = []
    for element in node.elts:
        if isinstance(element, ast.Starred):
            values += evaluate(element.value, names)
        else:
            values.append(evaluate(element, names))
    return tuple(values) if isinstance(node, ast.Tuple) else values


def _dict(node: ast.Dict, names: dict[str, Any]) -> dict[Any, Any]:
    values: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            values.update(evaluate(value, names))
        else:
            values[evaluate(key, names)] = evaluate(value, names)
    return values


def _piece(piece: ast.expr, names: dict[str, Any]) -> str:
    """A part of an f-string; one with a conversion or a format is computed."""
    if not isinstance(piece, ast.FormattedValue):
        return str(evaluate(piece, names))
    if piece.conversion != -1 or piece.format_spec is not None:
        raise NotConstant(piece)
    return _shown(evaluate(piece.value, names), piece)


def _shown(value: Any, node: ast.expr) -> str:
    if not isinstance(value, (str, int)):
        raise NotConstant(node)
    return str(value)


def _operation(node: ast.BinOp, names: dict[str, Any]) -> Any:
    left, right = evaluate(node.left, names), evaluate(node.right, names)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Mod) and isinstance(left, str):
        for value in right if isinstance(right, tuple) else (right,):
            _shown(value, node)
        if "*" in left or any(digit + "s" in left for digit in "0123456789"):
            raise NotConstant(node)  # a width may be of any size
        return left % right
    raise NotConstant(node)


def _known_call(node: ast.Call, names: dict[str, Any]) -> Any:
    """`"...".format(...)`, `"...".join(...)`, `"...".split()`, `dict(a=...)`, `list(...)`."""
    function = node.func
    arguments = [evaluate(argument, names) for argument in node.args]
    if isinstance(function, ast.Name) and function.id not in names:
        keywords = {key.arg: evaluate(key.value, names) for key in node.keywords if key.arg}
        if function.id == "dict" and not arguments and len(keywords) == len(node.keywords):
            return keywords
        plain = len(arguments) == 1 and not node.keywords
        if function.id in ("list", "sorted", "tuple", "set") and plain:
            if not isinstance(arguments[0], (list, tuple)):
                raise NotConstant(node)
            return sorted(arguments[0]) if function.id == "sorted" else list(arguments[0])
    if isinstance(function, ast.Attribute):
        text = evaluate(function.value, names)
        if isinstance(text, str):
            return _text_method(node, function.attr, text, arguments, names)
    raise NotConstant(node)


def _text_method(
    node: ast.Call, method: str, text: str, arguments: list[Any], names: dict[str, Any]
) -> Any:
    if method == "format":
        keywords = {str(key.arg): _shown(evaluate(key.value, names), node) for key in node.keywords}
        if any(mark in text for mark in ("!", ":", "[", ".{")) or "." in _fields(text):
            raise NotConstant(node)  # attributes, items and formats are computed
        return text.format(*(_shown(value, node) for value in arguments), **keywords)
    if method in ("strip", "split", "splitlines", "lower", "join") and not node.keywords:
        if method == "join":
            return text.join(arguments[0])
        return getattr(text, method)(*arguments)
    raise NotConstant(node)


def _fields(text: str) -> str:
    """What stands in the braces of a format."""
    return "".join(piece.split("}")[0] for piece in text.split("{")[1:])
