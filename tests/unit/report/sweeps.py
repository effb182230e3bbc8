"""Sweeps that the tests of their page share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from reprorun.model import SchemaMark
from reprorun.sweeps.table import Result
from reprorun.sweeps.values import Entry, EntryStatus, Head, PointsSpec, Span


def head(**fields: Any) -> Head:
    given: dict[str, Any] = {
        "created": "2026-01-02T03:04:05Z",
        "script": "train.py",
        "args": ("--epochs", "20"),
        "params": {"batch": 32},
        "points": PointsSpec(
            grid={"seed": Span(range=(0, 9, 1)), "lr": (0.001, 0.1), "net": ("small", "wide")}
        ),
        "environment_digest": "sha256:e",
        "githash": "c0ffee",
        **fields,
    }
    return Head(reprorun=SchemaMark(version="1"), sweep="s", **given)


def result(
    params: dict[str, Any],
    metrics: dict[str, str] | None = None,
    status: EntryStatus = "finished",
    reason: str = "",
    **fields: Any,
) -> Result:
    name = "_".join(f"{name}={value}" for name, value in params.items())
    return Result(params, Entry(status=status, log_dir=name, **fields), metrics or {}, reason)


def grid(rates: tuple[float, ...] = (0.001, 0.01, 0.1), seeds: int = 3) -> Iterator[Result]:
    """Losses that depend on the rate, on the net, and a little on the seed."""
    for rate in rates:
        for net in ("small", "wide"):
            for seed in range(seeds):
                loss = math.log10(rate) ** 2 + (net == "small") + seed / 10
                metrics = {"epoch": "20", "loss": str(loss), "accuracy": str(1 / (1 + loss))}
                params = {"seed": seed, "lr": rate, "net": net}
                yield result(params, metrics, seconds=2.5, exit_code=0)
