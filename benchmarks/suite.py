"""All benchmarks, or those that are named; their figures, and the page that is made of them.

    scripts/benchmark [NAMES...] [--pairs N] [--quick] [--page]

Each figure is kept in benchmarks/figures/NAME.json as soon as its benchmark is through;
docs/performance.md and its plot are made from all that lie there. `--quick` looks whether it works:
it takes few pairs and small sizes, and keeps nothing. `--page` measures nothing. Exit code 1 when a
target is missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

from measuring import Effort, Growth, Row, told
from page import Figures, Machine, decoded, encoded, page, plot

from reprorun.files import write

HERE = os.path.dirname(os.path.abspath(__file__))
FIGURES = os.path.join(HERE, "figures")
DOCS = os.path.join(os.path.dirname(HERE), "docs")
PAGE, PLOT = os.path.join(DOCS, "performance.md"), os.path.join(DOCS, "performance.svg")
NAMES = (
    "startup", "peers", "archive", "environment", "sweep", "check", "compare", "pack", "memory",
    "ls", "growth", "remote",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure what is named, keep it, and make the page."""
    given = parsed(arguments)
    missed = 0
    for name in () if given.page else given.names or NAMES:
        figures = measured(name, effort_of(given))
        verdicts = [*(e.verdict for e in figures.rows), *(e.verdict for e in figures.growth)]
        missed += verdicts.count("missed")
        if not given.quick:
            write(os.path.join(FIGURES, f"{name}.json"), encoded(figures))
            write_page()
    if given.page:
        write_page()
    return 1 if missed else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; it ends the program where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--pairs", type=int, help="how often each pair is measured")
    parser.add_argument("--quick", action="store_true", help="few pairs, small sizes; kept nowhere")
    parser.add_argument("--page", action="store_true", help="make the page of what is there")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    return given


def effort_of(given: argparse.Namespace) -> Effort:
    """How much is done."""
    pairs = given.pairs or (2 if given.quick else Effort().pairs)
    return Effort(pairs=pairs, quick=given.quick)


def measured(name: str, effort: Effort) -> Figures:
    """Run one benchmark, and say each figure as it comes."""
    print(f"== {name}", flush=True)
    before = os.getloadavg()[0]
    found: list[Row | Growth] = []
    for figure in importlib.import_module(name).measure(effort):
        print(told(figure), flush=True)
        found.append(figure)
    return Figures(
        machine=machine(before),
        rows=tuple(each for each in found if isinstance(each, Row)),
        growth=tuple(each for each in found if isinstance(each, Growth)),
    )


def machine(load_before: float) -> Machine:
    """This machine, with its load before and after."""
    from reprorun.engine import connect
    from reprorun.errors import ReprorunError
    from reprorun.probe.hardware import find_hardware

    try:
        info = connect().info()
        engine = f"{info.name} {info.version}"
    except ReprorunError:
        engine = "no engine"
    hardware = find_hardware()
    return Machine(
        date=datetime.now(timezone.utc).date().isoformat(),
        cpu=hardware.cpu_model,
        cpus=hardware.cpu_count,
        engine=engine,
        load=f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} after",
    )


def kept() -> dict[str, Figures]:
    """The figures that lie there."""
    found = {}
    for name in NAMES:
        path = os.path.join(FIGURES, f"{name}.json")
        if os.path.exists(path):
            with open(path, "rb") as file:
                found[name] = decoded(file.read())
    return found


def write_page() -> None:
    """Make the page and its plot."""
    found = kept()
    write(PAGE, page(found).encode())
    write(PLOT, plot(found).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
