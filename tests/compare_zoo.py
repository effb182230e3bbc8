"""Outputs for tests of comparing: two contents in, a finding out."""

from __future__ import annotations

from typing import Any

from reprorun.compare.content import BytesContent
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance


def content(name: str, data: bytes | str) -> BytesContent:
    """An output in memory."""
    return BytesContent(name=name, data=data.encode() if isinstance(data, str) else data)


def compare(
    name: str, a: bytes | str, b: bytes | str, *, rtol: float = 0, atol: float = 0, **more: Any
) -> Finding:
    """Compare two outputs of one name."""
    settings = Settings(tolerance=Tolerance(rtol=rtol, atol=atol), **more)
    return compare_contents(content(name, a), content(name, b), settings)


def first(finding: Finding) -> tuple[str, str, str]:
    """Place and both values of the first divergence."""
    assert finding.divergence is not None, finding
    found = finding.divergence
    return found.where, found.original, found.now
