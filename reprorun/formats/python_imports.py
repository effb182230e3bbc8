"""The imports of a Python source file, by its syntax tree; nothing is imported."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from reprorun.errors import UsageError
from reprorun.model import Value

_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


class Import(Value, frozen=True, kw_only=True):
    """One module that is imported."""

    module: str  # with dots
    names: tuple[str, ...] = ()  # `from module import names`: modules below it, perhaps
    level: int = 0  # leading dots
    line: int = 0
    conditional: bool = False  # in a function or a branch, or with an ImportError that is caught


def imports_of(data: bytes, path: str) -> list[Import]:
    """The imports of a source file, without those for type checkers only.

    Raises:
        UsageError: it is no Python that this interpreter can read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(data)
        return list(_in_block(module.body, conditional=False))
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno or 1}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def _in_block(block: list[ast.stmt], *, conditional: bool) -> Iterator[Import]:
    for statement in block:
        yield from _in_statement(statement, conditional)


def _in_statement(statement: ast.stmt, conditional: bool) -> Iterator[Import]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield Import(module=alias.name, line=statement.lineno, conditional=conditional)
    elif isinstance(statement, ast.ImportFrom):
        yield Import(
            module=statement.module or "",
            names=tuple(alias.name for alias in statement.names),
            level=statement.level,
            line=statement.lineno,
            conditional=conditional,
        )
    elif isinstance(statement, ast.If):
        if not _is_for_type_checkers(statement.test):
            yield from _in_block(statement.body, conditional=not _is_main(statement.test))
        yield from _in_block(statement.orelse, conditional=True)
    elif isinstance(statement, ast.Try):
        yield from _in_try(statement, conditional)
    elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from _in_block(statement.body, conditional=True)
    else:
        yield from _in_others(statement, conditional)


def _in_try(statement: ast.Try, conditional: bool) -> Iterator[Import]:
    caught = any(_catches_imports(handler) for handler in statement.handlers)
    yield from _in_block(statement.body, conditional=conditional or caught)
    for handler in statement.handlers:
        yield from _in_block(handler.body, conditional=True)
    yield from _in_block(statement.orelse, conditional=conditional or caught)
    yield from _in_block(statement.finalbody, conditional=conditional)


def _in_others(statement: ast.stmt, conditional: bool) -> Iterator[Import]:
    """Blocks of `with`, `for`, `while`, `match` and classes, and calls that import by name."""
    loops = isinstance(statement, (ast.For, ast.AsyncFor, ast.While))
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            yield from _in_statement(child, conditional or loops)
        elif isinstance(child, ast.match_case):
            yield from _in_block(child.body, conditional=True)
        elif isinstance(child, ast.expr):
            yield from _by_name(child)


def _by_name(expression: ast.expr) -> Iterator[Import]:
    """`importlib.import_module("x")` and `__import__("x")`: conditional, as they may not be run."""
    for node in ast.walk(expression):
        if not isinstance(node, ast.Call) or len(node.args) != 1:
            continue
        [argument] = node.args
        known = ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")
        if known and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            name = argument.value
            if all(part.isidentifier() for part in name.split(".")):
                yield Import(module=name, line=node.lineno, conditional=True)


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind).split(".")[-1] in _CAUGHT for kind in caught)


def _is_for_type_checkers(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")
