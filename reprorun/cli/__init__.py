"""The command line: argv -> workflow -> text and exit code. Errors become exit codes here alone.

This file only finds the command: each lives in a module of its own, which is imported, and click
with it, when it is called. So `--help` is quick.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from reprorun import __version__

COMMANDS = {  # name: module, line of `--help`
    "exec": ("reprorun.cli.exec", "run a launcher script in a container, keep the record"),
    "rerun": ("reprorun.cli.rerun", "run a record again, from the record alone"),
    "sweep": ("reprorun.cli.sweep", "run a launcher many times, each with other parameters"),
    "check": ("reprorun.cli.check", "run records again and compare; say what differs"),
    "compare": ("reprorun.cli.compare", "compare two records, directories or files; run nothing"),
    "shell": ("reprorun.cli.shell", "open a shell where a record was run, for finding out"),
    "pack": ("reprorun.cli.pack", "put a record and all that a re-run needs into one file"),
    "lock": ("reprorun.cli.lock", "resolve the packages and write the lock, run nothing"),
    "ls": ("reprorun.cli.records", "list records"),
    "show": ("reprorun.cli.records", "say what a record holds"),
    "export": ("reprorun.cli.export", "write a record as RO-Crate or SLSA provenance"),
    "gc": ("reprorun.cli.garbage", "remove images, containers and cached files that nothing needs"),
    "recover": ("reprorun.cli.recover", "finish the records of killed runs, clean up after them"),
    "doctor": ("reprorun.cli.doctor", "what works on this machine, what doesn't, how to mend it"),
}
USAGE_ERROR = 2
INTERRUPTED = 130
READER_GONE = 141  # 128 + SIGPIPE, as a shell has it


def main() -> None:
    """The console script."""
    gc.set_threshold(50_000)  # most of what is made is what is imported, and that stays
    code = run(sys.argv[1:])
    gc.freeze()  # nor is it looked through once more for garbage at the very end
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _reader_gone()


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else USAGE_ERROR
    if argv[0] == "--version":
        print(f"reprorun {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"reprorun: error: {_unknown(argv[0])}", file=sys.stderr)
        return USAGE_ERROR
    return _call(argv[0], argv[1:])


def _help() -> str:
    lines = [f"  {name:<8} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: reprorun COMMAND [OPTIONS] ...",
            "",
            "Run an experiment in a container, keep all that is needed to run it again.",
            "",
            "Commands:",
            *lines,
            "",
            "`reprorun COMMAND --help` says more; `reprorun --version` says which this is.",
        ]
    )


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"there is no command {name!r}.{meant} `reprorun --help` lists them."


def _call(name: str, arguments: Sequence[str]) -> int:
    from importlib import import_module

    import click

    from reprorun.errors import EngineError, ReprorunError

    command: click.Command = getattr(import_module(COMMANDS[name][0]), f"{name}_command")
    verbose = False
    try:
        # not `main`, which ends the program itself where a reader has gone
        with command.make_context(f"reprorun {name}", list(arguments)) as context:
            verbose = bool(context.params.get("verbose"))
            code = command.invoke(context)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:  # --help
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        raise
    except (ReprorunError, OSError) as error:
        from reprorun.cli.text import say_error

        say_error(error, verbose=verbose)
        # of the machine: not 1, which is an experiment's own code, or says that something differs
        return error.exit_code if isinstance(error, ReprorunError) else EngineError.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("reprorun: interrupted", file=sys.stderr)
        return INTERRUPTED


def _reader_gone() -> int:
    """Whoever read our output has stopped (`reprorun ls | head`): say nothing more to them."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE
