"""`reprorun compare A B`: a verdict for each output, and where it differs first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.options import HELP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reprorun.compare.values import Comparison, Divergence, Finding, Growth, Settings, Verdict

DIFFERENT = 1
_SHOWN = 100  # outputs that are listed one by one
_INNER = 10  # members of an archive
_COLORS: dict[str, str] = {
    "different": "red",
    "missing": "red",
    "extra": "red",
    "unknown": "yellow",
    "within tolerance": "green",
    "equivalent": "green",
    "identical": "green",
}
_WIDTH = max(map(len, _COLORS))


def with_tolerances(command: Any) -> Any:
    """Decorates a command with the flags that say how far numbers may be apart."""
    for name, what in (("--atol", "Absolute"), ("--rtol", "Relative")):
        text = f"{what} tolerance of numbers (default: of [tool.reprorun.check], else 0)."
        command = click.option(name, type=float, metavar="X", help=text)(command)
    return command


@click.command("compare", context_settings=HELP)
@click.argument("original", metavar="A")
@click.argument("now", metavar="B")
@with_tolerances
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code says it.")
@click.option("-v", "--verbose", is_flag=True,
              help="List identical outputs, too; where an error came from.")  # fmt: skip
def compare_command(
    original: str,
    now: str,
    rtol: float | None,
    atol: float | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Compare two records, directories or files: A is the original, B what is there now.

    Exit code 0: the same, but for what differs from run to run by its nature and what is within
    tolerance. 1: different. Nothing is run.
    """
    from reprorun.workflow.compare import compare_paths

    comparison = compare_paths(original, now, settings_here(rtol, atol))
    if as_json:
        click.echo(as_text(original, now, comparison))
    elif not quiet:
        for line in describe(comparison, verbose=verbose):
            click.echo(line)
    return 0 if comparison.same else DIFFERENT


def settings_here(rtol: float | None, atol: float | None) -> Settings:
    """What the flags and the pyproject.toml of the working directory say.

    Raises:
        UsageError: something that can't be understood.
    """
    import os

    from reprorun.compare.configured import checked, settings_from
    from reprorun.settings import check_table

    for name, value in (("--rtol", rtol), ("--atol", atol)):
        if value is not None:
            checked(value, name)
    table, path = check_table(os.getcwd())
    return settings_from(table, path, rtol=rtol, atol=atol)


def as_text(original: str, now: str, comparison: Comparison) -> str:
    """The result as JSON, in ASCII."""
    import json

    import msgspec

    content = {
        "original": original,
        "now": now,
        "counts": comparison.counts,
        **msgspec.to_builtins(comparison),
    }
    return json.dumps(content, indent=2)


# ---------------------------------------------------------------- in words


def describe(comparison: Comparison, *, verbose: bool = False) -> Iterator[str]:
    """The lines for a terminal: each output that is not identical, then the sum."""
    from reprorun.cli.text import printable

    listed = [
        named for named in comparison.findings if verbose or named.finding.verdict != "identical"
    ]
    for named in listed if verbose else listed[:_SHOWN]:
        yield from _output(named.path, named.finding)
    if len(listed) > _SHOWN and not verbose:
        yield f"and {len(listed) - _SHOWN} more; -v or --json lists them all"
    for name in comparison.ignored:
        yield f"{'ignored':<{_WIDTH}}  {printable(name)}"
    yield _sum(comparison)


def _output(path: str, finding: Finding, indent: str = "") -> Iterator[str]:
    from reprorun.cli.text import printable

    reason = f": {finding.reason}" if finding.reason else ""
    yield f"{indent}{_colored(finding.verdict)}  {printable(path + reason)}"
    below = indent + " " * (_WIDTH + 2)
    for line in _details(finding):
        yield below + printable(line)
    for named in finding.inner[:_INNER]:
        yield from _output(named.path, named.finding, below)
    if len(finding.inner) > _INNER:
        yield f"{below}and {len(finding.inner) - _INNER} more members"


def _details(finding: Finding) -> Iterator[str]:
    if finding.divergence is not None:
        yield from _divergence(finding.divergence)
    for entry in finding.volatile:
        example = f", such as {entry.example}" if entry.example else ""
        yield f"differs by its nature: {entry.count} {entry.what}{example}"
    for note in finding.notes:
        yield f"note: {note}"


def _divergence(divergence: Divergence) -> Iterator[str]:
    apart = "" if divergence.relative is None else f" (relative error {divergence.relative:.3g})"
    yield f"first at {divergence.where}: {divergence.original}, now {divergence.now}{apart}"
    if divergence.growth is not None and divergence.growth.count > 1:
        yield _growth(divergence.growth)


def _growth(growth: Growth) -> str:
    last = "none" if growth.last is None else f"{growth.last:.3g}"
    return (
        f"relative error from there: mean {growth.mean:.3g}, at most {growth.most:.3g}, "
        f"at the end {last}"
    )


def _sum(comparison: Comparison) -> str:
    total = sum(comparison.counts.values())
    counts = ", ".join(f"{count} {verdict}" for verdict, count in comparison.counts.items())
    outputs = f"{total} output{'s' * (total != 1)}"
    return f"{click.style(comparison.verdict, _COLORS[comparison.verdict])}: {outputs}" + (
        f" ({counts})" if total else ", nothing to compare"
    )


def color_of(verdict: str) -> str:
    """The color of a verdict; red for what is none."""
    return _COLORS.get(verdict, "red")


def _colored(verdict: Verdict) -> str:
    return click.style(f"{verdict:<{_WIDTH}}", _COLORS[verdict])
