"""Figures -> docs/performance.md and its plot. Pure: the same figures give the same text."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import msgspec
from measuring import Growth, Row, amount, spread

from reprorun.model import Value

_MACHINE = "Measured {date} on {cpus} processors ({cpu}), {engine}; load {load}."
_ROW, _LEFT, _WIDTH, _RIGHT = 22, 400, 360, 90  # pixels of the plot
_DECADES = 2  # that it shows to either side of "as fast as"
_PLOT = "performance.svg"
_STYLE = (
    "text{font:12px sans-serif;fill:#24292f}.reached{fill:#1a7f37}.missed{fill:#cf222e}"
    ".axis{stroke:#d0d7de}.even{stroke:#57606a}.spread{stroke:#24292f}.target{stroke:#0969da}"
    "rect.paper{fill:#fff}"
)


class Machine(Value, frozen=True, kw_only=True):
    """Where and when something was measured."""

    date: str
    cpu: str
    cpus: int
    engine: str
    load: str  # of the machine, before and after


class Figures(Value, frozen=True, kw_only=True):
    """What one benchmark has found; a file in figures/."""

    machine: Machine
    rows: tuple[Row, ...] = ()
    growth: tuple[Growth, ...] = ()


def encoded(figures: Figures) -> bytes:
    """As it lies in its file."""
    return msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n"


def decoded(data: bytes) -> Figures:
    """Back from its file."""
    return msgspec.json.decode(data, type=Figures)


# ---------------------------------------------------------------- the page


def page(found: dict[str, Figures]) -> str:
    """The page.

    Args:
        found: name of the benchmark -> its figures.
    """
    rows = [row for name in sorted(found) for row in found[name].rows]
    growth = [each for name in sorted(found) for each in found[name].growth]
    measured = [row for row in rows if not row.missing]
    missing = [row for row in rows if row.missing]
    figures: list[Row | Growth] = [*rows, *growth]
    notes = dict.fromkeys(f"- {figure.what}: {figure.note}" for figure in figures if figure.note)
    return "\n".join(
        [
            "# Performance",
            "",
            "Made by `scripts/benchmark`; see there how to measure it on your machine. What counts",
            "are ratios: the two sides of a pair run one right after the other, on the same",
            "machine. A figure is the median of the pairs, with the least and the most.",
            "",
            f"![The ratios of the table]({_PLOT})",
            "",
            *_table(
                ("what", "against", "reprorun", "the other", "ratio", "target", ""),
                [_cells(row) for row in measured],
            ),
            *_section("Growth", _growth_table(growth), growth),
            *_section("Not measured here", [_missing(row) for row in missing], missing),
            *_section("Notes", list(notes), notes),
            *_section("Where", _machines(found), found),
        ]
    )


def _section(title: str, lines: Sequence[str], found: object) -> list[str]:
    return ["", f"## {title}", "", *lines] if found else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cells(row: Row) -> tuple[str, ...]:
    middle, least, most = spread(row.figures)
    several = f" ({least:.2f} to {most:.2f})" if len(row.figures) > 1 else ""
    if not row.theirs:
        figure = f"{amount(row.ours, row.unit)}{several}"
        return row.what, "", figure, "", "", f"{row.target} {row.unit}", row.verdict
    how = " times faster" if row.target.at_least else ""
    sides = amount(row.ours, row.unit), amount(row.theirs, row.unit)
    ratio = f"{middle:.2f}{how}{several}"
    return row.what, row.against, *sides, ratio, str(row.target), row.verdict


def _growth_table(growth: Sequence[Growth]) -> list[str]:
    rows = [
        (
            each.what,
            f"{', '.join(f'{size:,}' for size in each.sizes)} {each.of}",
            ", ".join(amount(seconds, "s") for seconds in each.seconds),
            f"{each.exponent:.2f}",
            each.verdict,
        )
        for each in growth
    ]
    return _table(("what", "sizes", "median", "exponent (<= 1.1)", ""), rows)


def _missing(row: Row) -> str:
    return f"- {row.what}, against {row.against}: {row.missing}"


def _machines(found: dict[str, Figures]) -> list[str]:
    return [f"- {name}: {_where(found[name].machine)}" for name in sorted(found)]


def _where(machine: Machine) -> str:
    return _MACHINE.format(**msgspec.structs.asdict(machine))


# ---------------------------------------------------------------- the plot


def plot(found: dict[str, Figures]) -> str:
    """The plot: reprorun's share of the other's, each a bar, on a scale of powers of ten."""
    rows = [row for name in sorted(found) for row in found[name].rows if row.theirs]
    height = _ROW * (len(rows) + 2)
    bars = "".join(_bar(row, _ROW * number + _ROW) for number, row in enumerate(rows))
    width = _LEFT + _WIDTH + _RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><style>{_STYLE}</style>'
        f'<rect class="paper" width="{width}" height="{height}"/>'
        f"{_axis(height)}{bars}</svg>\n"
    )


def _axis(height: int) -> str:
    lines = []
    for power in range(-_DECADES, _DECADES + 1):
        x, kind = _x(10.0**power), "even" if power == 0 else "axis"
        label = f'<text x="{x:.1f}" y="14" text-anchor="middle">{10.0**power:g}</text>'
        lines.append(_line(x, _ROW, x, height - 6, kind) + label)
    return "".join(lines)


def _bar(row: Row, top: int) -> str:
    shares = sorted(ours / theirs for ours, theirs in zip(row.ours, row.theirs, strict=True))
    middle = spread(shares).median
    left, right = sorted((_x(1), _x(middle)))
    limit = row.target.at_most or 1 / (row.target.at_least or 1)
    y = top + _ROW / 2
    name = escape(f"{row.what} / {row.against}".replace("`", ""))
    return (
        f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end" '
        f'textLength="{min(_LEFT - 16, 6 * len(name))}" lengthAdjust="spacingAndGlyphs">{name}'
        f'</text><rect class="{row.verdict}" x="{left:.1f}" y="{top + 5}" '
        f'width="{right - left:.1f}" height="{_ROW - 10}"/>'
        + _line(_x(shares[0]), y, _x(shares[-1]), y, "spread")
        + _line(_x(limit), top + 2, _x(limit), top + _ROW - 2, "target")
        + f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 4}">{middle:.3g}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _x(share: float) -> float:
    """Where a share lies; what is beyond the scale lies at its end."""
    from math import log10

    place = (log10(share) + _DECADES) / (2 * _DECADES)
    return _LEFT + _WIDTH * min(1.0, max(0.0, place))
