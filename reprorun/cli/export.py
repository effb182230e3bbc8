"""`reprorun export RECORD --format F`."""

from __future__ import annotations

import click

from reprorun.cli.options import HELP

FORMATS = ("ro-crate", "slsa")


@click.command("export", context_settings=HELP)
@click.argument("record", metavar="RECORD")
@click.option("--format", "form", metavar="F", required=True, type=click.Choice(FORMATS),
              help="ro-crate (a directory or zip file) or slsa (JSON).")  # fmt: skip
@click.option("-o", "--output", metavar="PATH",
              help="DIR or FILE.zip (default: NAME.crate); for slsa FILE.")  # fmt: skip
def export_command(record: str, form: str, output: str | None) -> None:
    """Write a record in a form that others read.

    ro-crate is a Process Run Crate: the record's files, described. slsa is an in-toto statement
    with SLSA provenance of its outputs, on stdout unless -o names a file.
    """
    from reprorun.cli.text import printable
    from reprorun.workflow.export import (
        export_crate,
        export_statement,
        statement_text,
        write_statement,
    )

    if form == "ro-crate":
        target = export_crate(record, output)
        click.echo(f"reprorun: wrote {printable(target)}", err=True)
        return
    statement = export_statement(record)
    if output is None:
        click.echo(statement_text(statement), nl=False)
    else:
        write_statement(statement, record, output)
