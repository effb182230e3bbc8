"""The base of all values, and the words that several of them share."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Network = Literal["none", "bridge", "host"]
Numerics = Literal["native", "portable"]
Status = Literal["created", "building", "running", "finished", "failed", "interrupted", "lost"]


class Value(Struct, frozen=True, kw_only=True):
    """Base of all values: immutable, compared by content, made by keyword."""
