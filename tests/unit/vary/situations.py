"""A record and a machine, as factors want to know them."""

from __future__ import annotations

from typing import Any

from reprorun.model import ContainerSpec, Hardware
from reprorun.vary.factor import Situation

from ..host.values import record

CONTAINER = ContainerSpec(image="image", command=("true",), name="run", user="1000:1001")


def situation(of_record: dict[str, Any] | None = None, **fields: Any) -> Situation:
    """A run with two processors that can do AVX2, seen on the machine that made it."""
    host = Hardware(cpu_count=2, machine="x86_64")
    given = {"host": host, "peak_memory": 100 << 20, "started": "2024-03-31T12:00:00.5+00:00"}
    found: dict[str, Any] = {
        "record": record(**{**given, **(of_record or {})}),
        "cpus": 2,
        "features": ("sse4_2", "avx2", "avx512f"),
        "offers_gpus": False,
        "today": "2026-11-22",
        "uid": 1000,
        "gid": 1001,
    }
    return Situation(**{**found, **fields})
