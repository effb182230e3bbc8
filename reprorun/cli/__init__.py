"""The command line: argv -> workflow -> text and exit code. Errors become exit codes here alone.

Each command lives in a module of its own, imported when it is called, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from reprorun import __version__

COMMANDS = {
    "exec": "reprorun.cli.exec",
    "ls": "reprorun.cli.records",
    "show": "reprorun.cli.records",
    "doctor": "reprorun.cli.doctor",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """Imports a command's module when the command is called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[name]), f"{name}_command")
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="reprorun", message="%(prog)s %(version)s")
def group() -> None:
    """Run an experiment in a container, keep all that is needed to run it again."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    from reprorun.cli.text import say_error
    from reprorun.errors import ReprorunError

    try:
        code = group.main(list(argv), prog_name="reprorun", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ReprorunError as error:
        say_error(error, argv)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("reprorun: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()


def _reader_gone() -> int:
    """Whoever read our output has stopped (`reprorun ls | head`); say nothing more to them."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141  # 128 + SIGPIPE, as a shell has it
