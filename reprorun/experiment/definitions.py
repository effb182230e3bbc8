"""A launcher without the calls that it makes by itself: what it defines, so that one can be called.

Launchers call their experiment at the bottom. To call it with other parameters, the launcher is
run without these statements, found by its syntax tree:

- the block of `if __name__ == "__main__":`
- every other statement outside functions that calls an experiment, or a function or class that
  mentions one, or hands one to a call as in `fire.Fire(main)`

Definitions and assignments that only make experiments, such as `fast = wrap_experiment(train)`,
stay. So do all line numbers.
"""

from __future__ import annotations

import ast
from typing import Iterable, Iterator

_WRAP = "wrap_experiment"
_CLICK = {"command", "group"}  # decorators that make a command line of a function
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)


def without_calls(source: bytes, filename: str, called: str) -> tuple[ast.Module, list[int]]:
    """Takes the calls of experiments out of a launcher.

    Args:
        source: The launcher's bytes.
        filename: Its name, for error messages.
        called: The name of the function that is going to be called; calls of it are always taken
            out, wherever it comes from.

    Returns:
        The syntax tree, and the lines of the statements that are not in it any more.

    Raises:
        SyntaxError: If it is not Python.
        ValueError: If it holds a NUL.
    """
    module = ast.parse(source, filename)
    experiments = _experiments(module.body, called)
    kept, lines = [], []
    for statement in module.body:
        if _is_main_block(statement) or _calls(statement, experiments):
            lines.append(statement.lineno)
        else:
            kept.append(statement)
    module.body = kept
    return module, lines


def _experiments(body: list[ast.stmt], called: str) -> set[str]:
    """Names of the experiments, and of what mentions one of them in its definition."""
    makers = {_WRAP, *_other_makers(body)}
    bindings = [(names, statement) for statement in body for names in _bound(statement, makers)]
    found = {called}
    for names, statement in bindings:
        if _mentions(statement, makers) or _is_command(statement):
            found |= names
    while True:
        more = {n for names, each in bindings if _mentions(each, found) for n in names} - found
        if not more:
            return found
        found |= more


def _other_makers(body: list[ast.stmt]) -> Iterator[str]:
    """What else wrap_experiment is called, with some of its options or none."""
    for statement in body:
        if isinstance(statement, ast.ImportFrom):
            yield from (a.asname for a in statement.names if a.name == _WRAP and a.asname)
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            if _mentions(statement.value.func, {_WRAP}) and not statement.value.args:
                yield from _targets(statement)


def _bound(statement: ast.stmt, makers: set[str]) -> Iterator[set[str]]:
    """The names that a definition or an assignment binds."""
    if isinstance(statement, _DEFINITIONS):
        yield {statement.name}
    elif isinstance(statement, ast.Assign):
        yield set(_targets(statement)) - makers


def _targets(statement: ast.Assign) -> list[str]:
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _is_command(statement: ast.stmt) -> bool:
    decorators = getattr(statement, "decorator_list", ())
    return any(_mentions(each, _CLICK) for each in decorators)


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(each, ast.Name) and each.id in names)
        or (isinstance(each, ast.Attribute) and each.attr in names & {_WRAP, *_CLICK})
        for each in ast.walk(node)
    )


def _calls(statement: ast.stmt, experiments: set[str]) -> bool:
    """Whether a statement calls an experiment while the launcher is being loaded."""
    if isinstance(statement, (*_DEFINITIONS, *_IMPORTS)):
        return False
    hands_over = not isinstance(statement, _ASSIGNMENTS)
    return any(
        _root(call.func) in experiments
        or (hands_over and any(_is_name(each, experiments) for each in _given(call)))
        for call in _run_now(statement)
    )


def _run_now(statement: ast.stmt) -> Iterator[ast.Call]:
    """The calls in a statement, without those in functions that it defines."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))


def _root(function: ast.expr) -> str | None:
    """The name in `name()`, `name.main()` and `name(...)()`."""
    node: ast.expr = function
    while True:
        if isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return node.id if isinstance(node, ast.Name) else None


def _given(call: ast.Call) -> Iterable[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _is_name(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _is_main_block(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, either way round, and with more conditions."""
    if not isinstance(statement, ast.If):
        return False
    tests = [node for node in ast.walk(statement.test) if isinstance(node, ast.Compare)]
    return any(_compares_main(test) for test in tests)


def _compares_main(test: ast.Compare) -> bool:
    sides = [test.left, *test.comparators]
    named = any(isinstance(each, ast.Name) and each.id == "__name__" for each in sides)
    values = [each.value for each in sides if isinstance(each, ast.Constant)]
    return named and "__main__" in values and isinstance(test.ops[0], ast.Eq)
