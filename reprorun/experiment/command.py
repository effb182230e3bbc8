"""The command line that runs the experiment wrapper on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import Any, Iterator, Mapping

_VARIABLE = "REPRORUN_ENV"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ONLY_ANNOUNCED = ("pre_commands", "post_commands")


def to_local_command(
    params: Mapping[str, Any],
    python_command: str = "python",
    script: str = "reprorun.experiment_wrapper",
) -> str:
    """Builds the shell command for one task of `run_experiment`.

    Args:
        params: The options of the script and their values. A dictionary as a value gives one
            option for each of its keys, `--key_sub`, and `--key` for the key `_name`; a list
            gives several values; an option whose value is None is left out. `pre_commands` and
            `post_commands` are announced on standard output and not run.
        python_command: What starts Python; put into the command as it is.
        script: The module to run.

    Returns:
        The command, quoted for a POSIX shell. The variables in REPRORUN_ENV (a JSON object of
        strings) stand in front of it.

    Raises:
        ValueError: If REPRORUN_ENV is not a JSON object of strings.

    Source:
        The semantics follow garage's documentation of `garage.experiment.to_local_command`;
        values are always quoted, and nothing is evaluated.
    """
    pre_commands, post_commands = (params.get(name) for name in _ONLY_ANNOUNCED)
    if pre_commands is not None or post_commands is not None:
        print(f"Not executing the pre_commands: {pre_commands}, nor post_commands: {post_commands}")
    variables = [f"{name}={shlex.quote(value)}" for name, value in user_variables().items()]
    return " ".join([*variables, bare_command(params, python_command, script)])


def bare_command(params: Mapping[str, Any], python_command: str, script: str) -> str:
    """Builds the command without the variables of REPRORUN_ENV, which may be secret."""
    options = [" ".join(option) for option in _options(params)]
    return "  ".join([f"{python_command} -m {shlex.quote(script)}", *options])


def user_variables() -> dict[str, str]:
    """Returns the variables in REPRORUN_ENV; see `to_local_command`."""
    text = os.environ.get(_VARIABLE) or "{}"
    try:
        variables = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{_VARIABLE} is not JSON ({error}); {_wanted()}") from None
    if not isinstance(variables, dict):
        raise ValueError(f"{_VARIABLE} is {text!r}; {_wanted()}")
    for name, value in variables.items():
        if not _NAME.match(name):
            raise ValueError(f"{_VARIABLE}: {name!r} can't be a variable's name; {_wanted()}")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"{_VARIABLE}: {name} is {value!r}, not a string; {_wanted()}")
    return variables


def _wanted() -> str:
    return 'it takes a JSON object of strings such as {"OMP_NUM_THREADS": "1"}'


def _options(params: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, value in params.items():
        if name in _ONLY_ANNOUNCED:
            continue
        if isinstance(value, dict):
            for sub, inner in value.items():
                yield from _option(name if str(sub) == "_name" else f"{name}_{sub}", inner)
        else:
            yield from _option(name, value)


def _option(name: str, value: Any) -> Iterator[list[str]]:
    if value is not None:
        values = value if isinstance(value, (list, tuple)) else [value]
        yield [shlex.quote(f"--{name}"), *(shlex.quote(str(item)) for item in values)]
