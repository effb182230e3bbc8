"""What all benchmarks share: pairs, their statistics, targets, and a line for each figure.

The two commands of a pair run one right after the other, and take turns in who is first: a
machine's ups and downs hit both. Only ratios are judged; the first pair warms up and is dropped.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from reprorun.model import Value

PYTHON = sys.executable
REPRORUN = os.path.join(os.path.dirname(sys.executable), "reprorun")
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid")
MEGABYTE = 1_000_000
LARGEST_EXPONENT = 1.1  # of growth; what is above is explained


class Effort(Value, frozen=True, kw_only=True):
    """How much is done for a figure."""

    pairs: int = 7
    quick: bool = False  # a look whether it works: fewer pairs, smaller sizes

    def size(self, usual: int, quick: int) -> int:
        """How large something is."""
        return quick if self.quick else usual


class Target(Value, frozen=True, kw_only=True):
    """What a figure should be."""

    at_most: float | None = None
    at_least: float | None = None  # then a ratio says how many times faster

    def reached(self, figure: float) -> bool:
        """Whether a figure will do."""
        least = -math.inf if self.at_least is None else self.at_least
        most = math.inf if self.at_most is None else self.at_most
        return least <= figure <= most

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least else f"<= {self.at_most:g}"


class Spread(NamedTuple):
    """Some figures in short."""

    median: float
    least: float
    most: float


def spread(figures: Sequence[float]) -> Spread:
    """The median, the least and the most of some figures."""
    return Spread(statistics.median(figures), min(figures), max(figures))


class Row(Value, frozen=True, kw_only=True):
    """One line of the table. Without `theirs` the figure stands for itself."""

    what: str
    against: str = ""
    unit: str = "s"
    ours: tuple[float, ...] = ()  # one a pair
    theirs: tuple[float, ...] = ()
    target: Target = Target()
    note: str = ""
    missing: str = ""  # why it could not be measured

    @property
    def figures(self) -> tuple[float, ...]:
        """What is judged: a ratio of each pair, or the figures themselves."""
        if not self.theirs:
            return self.ours
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.target.at_least:
            return tuple(theirs / ours for ours, theirs in pairs)
        return tuple(ours / theirs for ours, theirs in pairs)

    @property
    def verdict(self) -> str:
        """What the target says of the median."""
        if self.missing:
            return "not measured"
        return "reached" if self.target.reached(spread(self.figures).median) else "missed"


class Growth(Value, frozen=True, kw_only=True):
    """How the time grows with the size of something."""

    what: str
    of: str  # what there are more and more of
    sizes: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]  # some for each size
    note: str = ""  # why it grows faster than what there is

    @property
    def exponent(self) -> float:
        """The power of the size that fits the medians best: 1 is in proportion, 2 is squared."""
        xs = [math.log(size) for size in self.sizes]
        ys = [math.log(statistics.median(seconds)) for seconds in self.seconds]
        return statistics.linear_regression(xs, ys).slope

    @property
    def verdict(self) -> str:
        """Whether that will do."""
        return "reached" if self.exponent <= LARGEST_EXPONENT else "missed"


Figure = Row | Growth
Measure = Callable[[Effort], Iterator[Figure]]


# ---------------------------------------------------------------- measuring


class Ran(NamedTuple):
    """What a command took."""

    seconds: float
    cpu: float  # seconds, its own and of those that it waited for
    peak: int  # bytes of memory, of the largest of these


def run(*words: str, cwd: str | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run a command that succeeds; what it prints is dropped.

    Raises:
        SystemExit: it failed; with the last of what it said.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        words, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{said.decode(errors='replace')[-2000:]}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def seconds(work: Callable[[], object]) -> float:
    """The wall time of something that succeeds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(
    ours: Callable[[], float], theirs: Callable[[], float], pairs: int, warm_up: bool = True
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Figures of two sides, pair by pair; who is first changes.

    Args:
        ours: measures one side.
        theirs: measures the other.
        pairs: how often.
        warm_up: a first pair is dropped; not worth it where one takes minutes.
    """
    found: list[tuple[float, float]] = []
    for number in range(pairs + warm_up):
        if number % 2:
            other = theirs()
            found.append((ours(), other))
        else:
            found.append((ours(), theirs()))
    kept = found[warm_up:]
    return tuple(a for a, _ in kept), tuple(b for _, b in kept)


def compared(
    what: str,
    against: str,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    effort: Effort,
    target: Target,
    unit: str = "s",
    warm_up: bool = True,
) -> Row:
    """The row of two sides that are measured in turn."""
    mine, others = in_turn(ours, theirs, effort.pairs, warm_up)
    return Row(what=what, against=against, unit=unit, ours=mine, theirs=others, target=target)


def own_peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def trivial_project(directory: str) -> None:
    """A repository with a script that prints a word."""
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "trivial.py"), "w") as file:
        file.write("print('hello')\n")
    commit(directory)


def commit(directory: str) -> None:
    """Make a repository of a directory, with all of it committed; run directories are ignored."""
    with open(os.path.join(directory, ".gitignore"), "w") as file:
        file.write("data/\n")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "benchmark")):
        subprocess.run([*GIT, *command], cwd=directory, check=True)


# ---------------------------------------------------------------- telling


def told(figure: Figure) -> str:
    """A figure in a line or two."""
    if isinstance(figure, Growth):
        medians = ", ".join(
            f"{size:,}: {statistics.median(times):.2f} s"
            for size, times in zip(figure.sizes, figure.seconds, strict=True)
        )
        text = f"{figure.what}, by number of {figure.of}: exponent {figure.exponent:.2f}"
        return f"{text}, <= {LARGEST_EXPONENT} is {figure.verdict} ({medians})"
    if figure.missing:
        return f"{figure.what}, against {figure.against}: not measured: {figure.missing}"
    middle, least, most = spread(figure.figures)
    verdict = f"{figure.target} is {figure.verdict}"
    if not figure.theirs:
        value = f"{middle:.3g} {figure.unit} ({least:.3g} to {most:.3g})"
        return f"{figure.what}: {value}; {verdict}"
    sides = f"{amount(figure.ours, figure.unit)} against {amount(figure.theirs, figure.unit)}"
    ratio = f"{middle:.2f} ({least:.2f} to {most:.2f})"
    return f"{figure.what}, against {figure.against}: {sides}; {ratio}, {verdict}"


def amount(figures: Sequence[float], unit: str) -> str:
    """The median of some figures with its unit."""
    return f"{statistics.median(figures):.3g} {unit}"


def effort_of(arguments: Sequence[str], doc: str | None) -> Effort:
    """What the arguments of a benchmark say."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("pairs", nargs="?", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="few pairs, small sizes")
    given = parser.parse_args(arguments)
    return Effort(pairs=given.pairs or (2 if given.quick else Effort().pairs), quick=given.quick)


def alone(measure: Measure, doc: str | None) -> int:
    """Run one benchmark for itself: print its figures; 1 when a target is missed."""
    missed = 0
    for figure in measure(effort_of(sys.argv[1:], doc)):
        print(told(figure), flush=True)
        missed += figure.verdict == "missed"
    return 1 if missed else 0
