"""Injects faults, and prints which of them lost or falsified something.

    python -m tests.faults [MODULE...] [--times N] [--json FILE]
    python -m tests.faults kills [--kills N] [--command NAME]... [--json FILE]

The modules are engine, building, disk, clock, names, cache and container; `all`, the default, is
each of them. `kills` kills commands at their steps, which are found by instrumenting. FILE gets the
figures as scripts/reliability reads them. The exit code is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import MODULES, Injected, inject_all

if TYPE_CHECKING:
    from .kills import Tried


def main() -> int:
    """Run what was asked for."""
    given = _parser().parse_args()
    figures, held = _kills(given) if given.what == ["kills"] else _faults(given)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(not held)


def _dated(kind: str) -> dict[str, Any]:
    return {"kind": kind, "date": time.strftime("%Y-%m-%d", time.gmtime())}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        epilog=(__doc__ or "").rpartition("\n\n")[2],
    )
    what = ("kills", "all", *MODULES)
    parser.add_argument("what", nargs="*", default=["all"], metavar="MODULE", help=", ".join(what))
    parser.add_argument("--times", type=int, default=1, metavar="N", help="inject each so often")
    parser.add_argument("--short", action="store_true", help="only those that take two seconds")
    parser.add_argument("--kills", type=int, default=220, metavar="N", help="how many in all")
    parser.add_argument("--command", action="append", metavar="NAME", help="one to be killed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    return parser


# ---------------------------------------------------------------- faults


def _faults(given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    modules = MODULES if "all" in given.what else tuple(given.what)
    unknown = sorted(set(modules).difference(MODULES))
    if unknown:
        sys.exit(f"there is no module of faults {', '.join(unknown)}; kills go by themselves.")
    done = list(_told(inject_all(modules, given.times, only_short=given.short)))
    tried = {f"tests.faults.{module}": _count(done, module) for module in modules}
    print(f"{len(done)} injected, {sum(not each.wrong for each in done)} held")
    return {**_dated("faults"), "tried": tried}, not any(each.wrong for each in done)


def _told(injected: Iterable[Injected]) -> Iterator[Injected]:
    """Each in a line, as soon as it is known."""
    for each in injected:
        word = "did not hold" if each.wrong else "held"
        print(f"{each.module}: {each.name}: {word} ({each.seconds:.1f} s)", flush=True)
        for line in each.wrong:
            print(f"    {line}", flush=True)
        yield each


def _count(done: Sequence[Injected], module: str) -> dict[str, int]:
    of_it = [each for each in done if each.module == module]
    return {"tried": len(of_it), "held": sum(not each.wrong for each in of_it)}


# ---------------------------------------------------------------- kills


def _kills(given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    from .kills import COMMANDS, kill_all

    names = given.command or list(COMMANDS)
    unknown = sorted(set(names).difference(COMMANDS))
    if unknown:
        sys.exit(f"there is no command {', '.join(unknown)}; there are {', '.join(COMMANDS)}.")
    commands: dict[str, dict[str, int]] = {}
    held = True
    for name, tried in kill_all(names, given.kills):
        commands[name] = _tell_kills(name, tried)
        held = held and all(each.held for each in tried)
    return {**_dated("kills"), "commands": commands}, held


def _tell_kills(name: str, tried: Sequence[Tried]) -> dict[str, int]:
    """What did not hold, and a line with the counts, which are returned."""
    for each in tried:
        if not each.held:
            wrong = "; ".join((*each.lost, *each.false, *each.left))
            print(f"{name} at {each.step} ({each.at}): {wrong}")
    counts = {
        "kills": len(tried),
        "lost": sum(bool(each.lost) for each in tried),
        "false": sum(bool(each.false) for each in tried),
        "left": sum(bool(each.left) for each in tried),
    }
    print(f"{name:<14}" + "  ".join(f"{what} {n}" for what, n in counts.items()), flush=True)
    return counts


if __name__ == "__main__":
    sys.exit(main())
