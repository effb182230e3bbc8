"""TensorBoard's event files by tag and step; and which of them are each other's."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare.events import checksum
from reprorun.compare.pairing import pair_names
from reprorun.compare.registry import compare_contents
from reprorun.compare.tensorboard import compare
from reprorun.compare.values import Finding, Settings, Tolerance, Unreadable

from .rich_kit import SETTINGS, Damage, content, damages, judged

NAME = "events.out.tfevents.1700000000.example.invalid"


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, value: int | float | bytes, wire: int | None = None) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        wire = wire or 1
        return varint(number << 3 | wire) + struct.pack("<d" if wire == 1 else "<f", value)
    return varint(number << 3) + varint(value)


def record(data: bytes) -> bytes:
    length = len(data).to_bytes(8, "little")
    sums = (checksum(part).to_bytes(4, "little") for part in (length, data))
    return length + next(sums) + data + next(sums)


def event(step: int, tag: str, value: bytes, time: float = 1.0) -> bytes:
    summary = field(1, field(1, tag.encode()) + value)
    return record(field(1, time) + field(2, step) + field(5, summary))


def scalar(value: float) -> bytes:
    return field(2, value, 5)


def tensor(*values: float) -> bytes:
    shape = field(2, field(2, field(1, len(values))))
    return field(8, field(1, 1) + shape + field(4, struct.pack(f"<{len(values)}f", *values)))


def histogram(*buckets: float) -> bytes:
    return field(5, field(7, struct.pack(f"<{len(buckets)}d", *buckets)))


def written(*events: bytes, time: float = 1.0) -> bytes:
    return record(field(1, time) + field(3, b"brain.Event:2")) + b"".join(events)


def training(steps: int = 20, *, time: float = 1.0, **changed: float) -> bytes:
    """Loss and accuracy; `loss_7=0.5` is the loss at step 7."""
    events = []
    for step in range(steps):
        loss = changed.get(f"loss_{step}", 1 / (step + 1))
        accuracy = changed.get(f"accuracy_{step}", step / 100)
        events.append(event(step, "loss", scalar(loss), time + step))
        events.append(event(step, "accuracy", scalar(accuracy), time + step))
    return written(*events, time=time)


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return compare(content(NAME, a), content(NAME, b), with_settings)


def test_the_checksum_is_that_of_the_format() -> None:
    unmasked = checksum(b"123456789") - 0xA282EAD8 & 0xFFFFFFFF
    assert (unmasked << 15 | unmasked >> 17) & 0xFFFFFFFF == 0xE3069283  # the known check value


def test_wall_times_and_the_order_of_tags_are_aside() -> None:
    found = judge(training(), training(time=99.5))
    assert found.verdict == "equivalent"
    assert [(each.what, each.count) for each in found.volatile] == [("wall time", 40)]
    one = written(event(1, "a", scalar(1)), event(1, "b", scalar(2)))
    other = written(event(1, "b", scalar(2)), event(1, "a", scalar(1)))
    assert judge(one, other).verdict == "equivalent"


@settings(deadline=None)
@given(st.integers(0, 19), st.sampled_from(("loss", "accuracy")), st.floats(2, 100, width=32))
def test_any_changed_reading_is_found(step: int, tag: str, value: float) -> None:
    found = judge(training(), training(**{f"{tag}_{step}": value}))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == f"step {step}, tag {tag}"


def test_the_earliest_step_of_all_tags_is_told_with_its_growth() -> None:
    found = judge(training(), training(loss_9=5.0, accuracy_3=7.0, accuracy_4=8.0))
    assert found.divergence is not None
    assert found.divergence.where == "step 3, tag accuracy"
    assert found.divergence.growth is not None
    assert (found.divergence.growth.count, found.divergence.growth.of) == (2, 20)
    assert found.reason == "tags loss, accuracy differ"


def test_missing_steps_and_tags_both_ways() -> None:
    for one, other in ((training(20), training(15)), (training(15), training(20))):
        found = judge(one, other)
        assert found.divergence is not None
        assert found.divergence.where == "tag loss, reading 16"
        assert {found.divergence.original, found.divergence.now} == {"step 15", "no more steps"}
    more = training() + event(1, "more", scalar(1))
    assert judge(training(), more).reason == judge(more, training()).reason == "tag more differs"


def test_tolerance_by_tag() -> None:
    near = training(loss_3=0.2501)
    allowed = Settings(columns=(("*tfevents*", "loss", Tolerance(rtol=0.01)),))
    assert judge(training(), near, allowed).verdict == "within tolerance"
    other = Settings(columns=(("*tfevents*", "accuracy", Tolerance(rtol=0.01)),))
    assert judge(training(), near, other).verdict == "different"


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tensor(1, 2, 3), tensor(1, 2, 4)),
        (tensor(1, 2, 3), tensor(1, 2)),
        (histogram(1, 2), histogram(1, 3)),
        (tensor(1), scalar(1)),
        (field(8, field(1, 7) + field(8, b"text")), field(8, field(1, 7) + field(8, b"other"))),
        (field(6, b"sound"), field(6, b"other")),
        (field(4, field(1, 1) + field(4, PIXEL)), field(4, field(1, 1) + field(4, b"?"))),
    ],
    ids=["tensor", "shape", "histogram", "kind", "text", "audio", "image"],
)
def test_other_kinds_of_readings(one: bytes, other: bytes) -> None:
    pair = [written(event(1, "a", scalar(1)), event(7, "x", value)) for value in (one, other)]
    found = judge(*pair)
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where.startswith("step 7, tag x")
    later = written(event(1, "a", scalar(1), 5.0), event(7, "x", one, 6.0))
    assert judge(pair[0], later).verdict == "equivalent"


def hparams(rate: float, start: float) -> bytes:
    parameter = field(1, b"lr") + field(2, field(2, rate))
    session = field(1, parameter) + field(5, start)
    plugin = field(1, b"hparams") + field(2, field(1, 0) + field(3, session))
    return field(9, field(1, plugin))


def test_the_times_of_a_session_are_aside() -> None:
    one, later, other = (
        written(event(0, "_hparams_/session_start_info", hparams(rate, start)))
        for rate, start in ((0.5, 1.0), (0.5, 2.0), (0.25, 1.0))
    )
    assert judge(one, later).verdict == "equivalent"
    assert judge(one, other).verdict == "different"


# ---------------------------------------------------------------- bad input


@settings(max_examples=150, deadline=None)
@given(damages(), st.booleans())
def test_damage_is_a_verdict(damage: Damage, first: bool) -> None:
    good = training(4) + event(5, "t", tensor(1, 2)) + event(6, "h", histogram(1, 2))
    judged(compare, NAME, *((damage(good), good) if first else (good, damage(good))))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_message_in_a_record_is_a_verdict(data: bytes) -> None:
    judged(compare, NAME, written(record(data)), training(2))
    judged(compare, NAME, written(event(1, "x", data)), written(event(1, "x", tensor(1))))


def test_a_wrong_checksum_is_refused() -> None:
    bad = bytearray(training())
    bad[-6] ^= 1
    with pytest.raises(Unreadable, match="wrong checksum"):
        judge(bytes(bad), training())


def test_a_file_that_is_cut_short_is_compared_as_far_as_it_goes() -> None:
    cut = [training()[:-5], training(time=2.0)[:-5]]
    found = judge(*cut)
    assert (found.verdict, found.notes) == ("equivalent", ("both end in the middle of a record",))
    assert judge(training(), cut[1]).verdict == "different"


def test_a_record_may_not_claim_any_length() -> None:
    length = (1 << 40).to_bytes(8, "little")
    data = training() + length + checksum(length).to_bytes(4, "little") + bytes(100)
    assert judge(data, training()).verdict == "unknown"


# ---------------------------------------------------------------- pairing


def test_event_files_are_paired_by_directory_and_order() -> None:
    mine = ["a/x.csv", "a/events.out.tfevents.9.old.1", "a/events.out.tfevents.10.old.1.1",
            "b/events.out.tfevents.5.old.1.v2", "gone"]  # fmt: skip
    theirs = ["a/x.csv", "a/events.out.tfevents.6.new.7.1", "a/events.out.tfevents.5.new.7",
              "b/events.out.tfevents.6.new.7.v2", "b/events.out.tfevents.6.new.7.profile-empty",
              "new"]  # fmt: skip
    assert pair_names(mine, theirs) == [
        ("a/events.out.tfevents.10.old.1.1", "a/events.out.tfevents.6.new.7.1"),
        ("a/events.out.tfevents.9.old.1", "a/events.out.tfevents.5.new.7"),
        ("a/x.csv", "a/x.csv"),
        ("b/events.out.tfevents.5.old.1.v2", "b/events.out.tfevents.6.new.7.v2"),
        ("gone", None),
        (None, "b/events.out.tfevents.6.new.7.profile-empty"),
        (None, "new"),
    ]


paths = st.lists(
    st.sampled_from(("a", "b/c", "b/d", *(f"{d}events.out.tfevents.{n}.h.{n}" for d in ("", "b/")
                     for n in range(6)))),
    unique=True,
)  # fmt: skip


@given(paths, paths)
def test_every_path_is_in_one_pair(mine: list[str], theirs: list[str]) -> None:
    pairs: Any = pair_names(mine, theirs)
    assert sorted(one for one, _ in pairs if one) == sorted(mine)
    assert sorted(other for _, other in pairs if other) == sorted(theirs)
    assert all(one or other for one, other in pairs)


def test_through_the_registry() -> None:
    found = compare_contents(content(NAME, training()), content("x", training(time=3.0)), SETTINGS)
    assert found.comparator == "tensorboard"
