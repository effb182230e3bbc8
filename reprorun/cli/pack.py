"""`reprorun pack RECORD -o FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP, limits_of, with_archive_limits

if TYPE_CHECKING:
    from reprorun.workflow.pack import Packed


@click.command("pack", context_settings=HELP)
@click.argument("record", metavar="RECORD")
@click.option("-o", "--output", metavar="FILE",
              help="The file to write (default: NAME.rrpack here).")  # fmt: skip
@click.option("--no-inputs", is_flag=True, help="Leave the inputs out; the pack lists them.")
@click.option("--input-root", "roots", multiple=True, metavar="DIR",
              help="Where to look for inputs that are no longer where they were.")  # fmt: skip
@click.option("--allow-links", is_flag=True,
              help="Accept links in the archive that lead out of it.")  # fmt: skip
@with_archive_limits
@click.option("--offline", is_flag=True, help="Open no connection; take what is in the cache.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was packed as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
@with_engine
@click.option("-v", "--verbose", is_flag=True, help="Print every step.")
def pack_command(**given: Any) -> int:
    """Put a record and all that a re-run needs into one file.

    The file holds the record, the packages, the base image and the inputs, each verified.
    `reprorun rerun FILE` needs no network, and nothing else of this machine.
    """
    import json

    import msgspec

    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.report import make_reporter
    from reprorun.cli.running import interrupts_as_ctrl_c
    from reprorun.errors import UsageError
    from reprorun.workflow.pack import pack

    if given["output"] == "":
        raise UsageError("-o is empty.")
    connect = chosen_engine(given["engine"])
    interrupts_as_ctrl_c()  # nothing half-written is left
    report = make_reporter(quiet=given["quiet"], verbose=given["verbose"], json=given["as_json"])
    try:
        packed = pack(
            given["record"],
            given["output"],
            connect,
            report,
            inputs=not given["no_inputs"],
            roots=given["roots"],
            offline=given["offline"],
            force=given["force"],
            limits=limits_of(given["archive_limits"]),
            allow_links=given["allow_links"],
        )
        report.step("packed", _described(packed))
    finally:
        report.close()
    if given["as_json"]:
        click.echo(json.dumps(msgspec.to_builtins(packed), indent=2))
    return 0


def _described(packed: Packed) -> str:
    """A pack in one line."""
    from reprorun.cli.text import near, size

    left_out = len(packed.inputs_left_out)
    held = [
        _count(packed.files, "file") + " of the record",
        _count(packed.wheels, "package"),
        f"{packed.base_image} in {_count(packed.layers, 'layer')}",
        *([_count(packed.inputs, "input")] if packed.inputs else []),
        *([f"without {_count(left_out, 'input')}"] if left_out else []),
    ]
    return f"{near(packed.path)}, {size(packed.size)}: {', '.join(held)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
