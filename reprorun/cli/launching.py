"""Flags that say how a launcher is run, for `exec` and `sweep`, and the spec that they make."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.options import SETTINGS, with_options, with_settings
from reprorun.cli.secrets import with_secrets

with_launch = with_options(
    click.option("-e", "--env", "env", multiple=True, metavar="KEY[=VALUE]",
                 help="Set a variable; a bare KEY passes the host's value on, unrecorded."),
    with_secrets,
    click.option("--input", "inputs", multiple=True, metavar="PATH",
                 help="Data that is mounted read-only and recorded by digest."),
    with_settings(SETTINGS),
    click.option("--force-cpu", is_flag=True, help="Use the CPU runtime and hide GPUs."),
    click.option("--rebuild", is_flag=True,
                 help="Resolve the packages and build the images anew."),
    click.option("--offline", is_flag=True,
                 help="Open no connection; take what is in the cache."),
)  # fmt: skip
"""Decorates a command with these flags."""


def spec_of(given: dict[str, Any]) -> Any:
    """The spec of a launch.

    Raises:
        UsageError: flags that contradict each other, or a value that can't be read.
    """
    import os

    from reprorun import settings
    from reprorun.cli.options import (
        cpu_forced,
        named_twice,
        parse_env,
        parse_params,
        refuse_empty,
    )
    from reprorun.cli.secrets import bare_names, refuse_secrets
    from reprorun.errors import UsageError
    from reprorun.model import RunSpec

    named_twice(given, "name", "log_dir")
    if given["file"] is not None and given["base_image"] is not None:
        raise UsageError("--file and --base-image both name the base image; give one of them.")
    refuse_empty(given, "log_dir", "base_image", "file", "lock")
    params = parse_params(given["params"])
    refuse_secrets(params, given["args"], given["base_image"])
    cwd = os.getcwd()
    flags = {name: given[name.replace("-", "_")] for name in SETTINGS}
    flags["gpus"] = cpu_forced(given["force_cpu"], flags["gpus"])
    directory = os.path.dirname(os.path.realpath(os.path.join(cwd, given["script"])))
    return RunSpec(
        script=given["script"],
        args=given["args"],
        cwd=cwd,
        name=given["name"],
        log_dir=given["log_dir"],
        params=params,
        env=parse_env(given["env"]),
        passed=bare_names(given["env"]),
        secrets=given["secrets"],
        inputs=given["inputs"],
        rebuild=given["rebuild"],
        offline=given["offline"],
        **settings.resolve(flags, directory),
    )
