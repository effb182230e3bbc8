"""Series of numbers in outputs: which there are, and what they are drawn over."""

from __future__ import annotations

import math
import struct

import pytest

from reprorun.compare.content import BytesContent
from reprorun.compare.events import checksum
from reprorun.compare.rich import Refused
from reprorun.compare.values import Unreadable
from reprorun.workflow import series
from reprorun.workflow.series import Columns, columns_of


def columns(name: str, text: str | bytes) -> Columns:
    data = text if isinstance(text, bytes) else text.encode()
    found = columns_of(BytesContent(name=name, data=data))
    assert found is not None
    return found


def test_a_table_over_its_steps() -> None:
    found = columns("m.csv", "epoch,loss,name\n10,0.5,a\n20,0.25,b\n")
    assert found.x_name == "epoch"
    assert list(found.series) == ["loss", "name"]
    assert list(found.series["loss"].xs) == [10, 20]
    assert list(found.series["loss"].ys) == [0.5, 0.25]
    assert all(map(math.isnan, found.series["name"].ys))


def test_a_table_over_its_rows() -> None:
    found = columns("m.tsv", "epoch\tloss\n2\t0.5\n1\t0.25\n\n3\n")  # epochs that don't grow
    assert found.x_name == "row"
    assert list(found.series["epoch"].xs) == [1, 2, 3]
    assert list(found.series["loss"].ys)[:2] == [0.5, 0.25]
    assert math.isnan(found.series["loss"].ys[2])


def test_a_table_without_a_header() -> None:
    assert list(columns("m.csv", "1;2\n3;4\n").series["2"].ys) == [2, 4]


def test_json_lines() -> None:
    found = columns("log.jsonl", '{"step": 1, "a": 1}\n{"step": 2, "b": 2, "ok": true}\n')
    assert found.x_name == "step"
    assert list(found.series) == ["a", "b"]
    assert (found.series["a"].ys[0], found.series["b"].ys[1]) == (1, 2)
    assert math.isnan(found.series["a"].ys[1])
    assert math.isnan(found.series["b"].ys[0])


def test_scalars_of_tensorboard() -> None:
    value = b"\x0a\x04loss\x15" + struct.pack("<f", 0.5)
    summary = b"\x0a" + bytes([len(value)]) + value
    event = b"\x10\x07\x2a" + bytes([len(summary)]) + summary
    head = struct.pack("<Q", len(event))
    sums = (struct.pack("<I", checksum(part)) for part in (head, event))
    data = head + next(sums) + event + next(sums)
    found = columns("logs/events.out.tfevents.1.host", data)
    assert (found.x_name, list(found.series["loss"].xs)) == ("step", [7])
    assert list(found.series["loss"].ys) == [0.5]


def test_what_has_none() -> None:
    assert columns_of(BytesContent(name="model.npy", data=b"")) is None


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_ROWS", 3)
    wide = ",".join(f"c{n}" for n in range(200))
    found = columns("m.csv", f"{wide}\n" + "1,2\n" * 10)
    assert len(found.series) == 50
    assert len(found.series["c0"].ys) == 3
    found = columns("m.jsonl", '{"a": 1}\n' * 10)
    assert len(found.series["a"].ys) == 3
    monkeypatch.setattr(series, "_MOST_BYTES", 9)
    assert len(columns("m.jsonl", '{"a": 1}\n' * 10).series["a"].ys) == 1
    assert len(columns("m.csv", "a,b\n1,2\n3,4\n" * 10).series["a"].ys) == 2


@pytest.mark.parametrize("name", ["m.jsonl", "events.out.tfevents.1"])
def test_damage_is_named(name: str) -> None:
    with pytest.raises((Unreadable, Refused)):
        columns(name, b"{\n" * 20)
    with pytest.raises(Unreadable):
        columns("m.jsonl", "[" * 100_000)
