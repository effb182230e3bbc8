"""`python -m tests.fuzz`, which is scripts/fuzz: feed the parsers, and say what crashed."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from . import seeds
from .running import Fuzzed, crash_of, fuzz
from .targets import build_targets


def main() -> int:
    """Run the targets and print one line for each."""
    given = _arguments()
    warnings.simplefilter("ignore")
    targets = build_targets()
    names = given.target or list(targets)
    if unknown := set(names) - set(targets):
        print(f"there is no target {', '.join(sorted(unknown))}; there are: {', '.join(targets)}")
        return 2
    if given.show:
        for name in names:
            print(crash_of(targets[name], Path(given.show).read_bytes()))
        return 0
    results: dict[str, Fuzzed] = {}
    for name in names:
        target = targets[name]
        count = max(1, given.inputs // 1000) if target.child else given.inputs
        if given.guided and not target.child:
            _guided(name, given)
            continue
        results[name] = fuzz(target, count, given.seed, given.seconds)
        _tell(name, results[name], keep=given.keep)
    if results:
        _sum(results)
    if given.figures:
        Path(given.figures).write_text(json.dumps(_figures(results, given), indent=2) + "\n")
    return 1 if any(result.crashes for result in results.values()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="a target (default: 10000); "
                        "a thousandth of it for what runs in a process of its own")  # fmt: skip
    parser.add_argument("--target", action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of the chance (default: 0)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="a target, at most")
    parser.add_argument("--figures", metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="keep what crashes in the corpus")
    parser.add_argument("--show", metavar="FILE", help="say what one input does, and no more")
    parser.add_argument("--guided", action="store_true", help="let atheris look for new paths")
    return parser.parse_args()


def _guided(name: str, given: argparse.Namespace) -> None:
    """atheris ends the process that it runs in: each target has one."""
    words = [name, str(given.inputs), str(given.seed), str(min(given.seconds, 1 << 30))]
    done = subprocess.run([sys.executable, "-m", "tests.fuzz.guided", *words], check=False)
    print(f"{name:<28} guided: {'ok' if done.returncode == 0 else 'CRASHED'}", flush=True)


def _tell(name: str, result: Fuzzed, *, keep: bool) -> None:
    rate = result.inputs / max(result.seconds, 1e-9)
    print(f"{name:<28}{result.inputs:>10,} inputs {len(result.crashes):>3} crashes "
          f"{rate:>9,.0f} a second", flush=True)  # fmt: skip
    for crash in result.crashes:
        print(f"    {crash.how}\n      {crash.data[:100]!r}", flush=True)
        if keep:
            place = seeds.CORPUS / name
            place.mkdir(parents=True, exist_ok=True)
            (place / hashlib.sha256(crash.data).hexdigest()[:16]).write_bytes(crash.data)


def _sum(results: dict[str, Fuzzed]) -> None:
    inputs = sum(result.inputs for result in results.values())
    crashes = sum(len(result.crashes) for result in results.values())
    print(f"{len(results)} targets, {inputs:,} inputs, {crashes} crashes")


def _figures(results: dict[str, Fuzzed], given: argparse.Namespace) -> dict[str, Any]:
    return {
        "kind": "fuzz",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "seed": given.seed,
        "targets": {
            name: {
                "inputs": result.inputs,
                "crashes": len(result.crashes),
                "seconds": round(result.seconds, 1),
            }
            for name, result in results.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
