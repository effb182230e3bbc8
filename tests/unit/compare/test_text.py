"""Texts: what differs by its nature is named, a result never is, and lines that differ are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.compare.volatile import is_time_name, tokens
from tests.compare_zoo import compare, first

VOLATILE = [
    ("timestamp", "2024-01-02 03:04:05,678 INFO x", "2025-11-12 13:14:15,123 INFO x"),
    ("timestamp", "[2024-01-02T03:04:05Z] x", "[2025-01-02T03:04:06Z] x"),
    ("timestamp", "2024-01-02T03:04:05.123+01:00", "2024-01-02T03:04:05.124+01:00"),
    ("timestamp", "saved run_20240102-030405.log", "saved run_20240102-030406.log"),
    ("timestamp", "Tue Jan  2 03:04:05 2024", "Wed Jan  3 03:04:05 2024"),
    ("timestamp", "I0102 03:04:05.123456 x", "I0103 03:04:05.123457 x"),
    ("date", "day 2024-01-02", "day 2024-01-03"),
    ("clock time", "at 03:04:05", "at 03:04:06"),
    ("clock time", "spent 0:00:03.120000", "spent 0:00:04.000001"),
    ("duration", "took 3.2 s", "took 10.7 s"),
    ("duration", "done in 120ms", "done in 98ms"),
    ("duration", "epoch 3 (1.2s)", "epoch 3 (1.4s)"),
    ("duration", "1m 23s elapsed", "2m 3s elapsed"),
    ("duration", "| time_elapsed | 33 |", "| time_elapsed | 34 |"),
    ("duration", "313/313 - 1s 2ms/step", "313/313 - 2s 2ms/step"),
    ("rate", "at 123.4it/s", "at 99.1it/s"),
    ("rate", "12 steps/s", "13 steps/s"),
    ("rate", "| fps | 1234 |", "| fps | 1250 |"),
    ("address", "<X object at 0x7f1234567890>", "<X object at 0x7fabcdef0123>"),
    ("process id", "pid 123 x", "pid 4567 x"),
    ("process id", "(pid=12)", "(pid=13)"),
    ("port", "on localhost:41235", "on localhost:41236"),
    ("uuid", "id 12345678-1234-1234-1234-123456789abc", "id 12345678-1234-1234-1234-123456789abd"),
    ("path", "in /tmp/tmpab12cd34/x.npy", "in /tmp/tmpzz99cd34/x.npy"),
    ("path", "in /home/one/p/x.npy now", "in /home/other/q/x.npy now"),
]

RESULTS = [
    ("loss 0.123", "loss 0.124"),
    ("accuracy: 98%", "accuracy: 97%"),
    ("time 3", "time 4"),
    ("time: 3.5", "time: 3.6"),
    ("eta: 0.3", "eta: 0.1"),
    ("period 2.006 s", "period 2.007 s"),
    ("x = 10 m", "x = 11 m"),
    ("version 1.2.3", "version 1.2.4"),
    ("step 2024", "step 2025"),
    ("hash 0xdeadbeef", "hash 0xdeadbeee"),
    ("sha256 ab12cd34", "sha256 ab13cd34"),
    ("best /home/one/epoch_3.pt", "best /home/one/epoch_4.pt"),
    ("conv1", "conv2"),
    ("[0.25, 0.5]", "[0.25, 0.6]"),
    ("1/2", "1/3"),
    ("ratio 3:4", "ratio 3:5"),
    ("took the left one", "took the right one"),
    ("score 3 in 5 games", "score 3 in 6 games"),
    ("nan", "0.5"),
    ("-1", "1"),
    ("a b", "a  b"),
    ("Adam", "SGD"),
]


@pytest.mark.parametrize(("what", "one", "other"), VOLATILE)
def test_what_differs_by_its_nature_is_named(what: str, one: str, other: str) -> None:
    found = compare("x.log", f"a\n{one}\nb\n", f"a\n{other}\nb\n")
    assert found.verdict == "equivalent", found
    assert [entry.what for entry in found.volatile] == [what]
    assert found.volatile[0].example


@pytest.mark.parametrize(("one", "other"), RESULTS)
def test_a_result_is_never_volatile(one: str, other: str) -> None:
    found = compare("x.log", f"a\n{one}\nb\n", f"a\n{other}\nb\n")
    assert found.verdict == "different", found
    assert first(found)[0].startswith("line 2")


def test_the_first_number_that_differs_is_named_with_its_line_and_the_word_before() -> None:
    found = compare("x.log", "a\nloss 0.5 acc 1\nloss 1.0\n", "a\nloss 0.5 acc 2\nloss 3.0\n")
    assert first(found) == ("line 2, after 'acc'", "1", "2")
    assert found.divergence is not None
    assert found.divergence.growth is not None
    assert found.divergence.growth.most == 2.0


def test_numbers_are_compared_with_the_tolerance() -> None:
    assert compare("x.log", "loss 1\n", "loss 1.0001\n", rtol=1e-3).verdict == "within tolerance"
    assert compare("x.log", "loss 1\n", "loss 1.01\n", rtol=1e-3).verdict == "different"


def test_an_integer_that_has_become_a_float_is_a_difference() -> None:
    assert compare("x.log", "n 1\n", "n 1.0\n", rtol=1).verdict == "different"


def test_a_hash_is_no_number_however_lax_the_tolerance() -> None:
    found = compare("x.log", "sha 12ab\n", "sha 13ab\n", rtol=1e9, atol=1e9)
    assert found.verdict == "different"


def test_progress_bars_are_compared_in_their_last_state() -> None:
    end = "100%|████| 5/5 [00:0{}<00:00, {}it/s]"
    one = "  0%| | 0/5\r 20%|█ | 1/5\r" + end.format(1, 3.2) + "\nloss 1\n"
    other = " 40%|██ | 2/5\r" + end.format(2, 30.2) + "\nloss 1\n"
    found = compare("x.log", one, other)
    assert found.verdict == "equivalent", found
    assert "progress bar" in [entry.what for entry in found.volatile]
    worse = other.replace("5/5", "4/5")
    assert compare("x.log", one, worse).verdict == "different"


def test_a_line_that_is_inserted_ends_the_comparison_there() -> None:
    found = compare("x.txt", "a\nb\nc\n", "a\nwarning\nb\nc\n")
    assert (found.verdict, first(found)) == ("different", ("line 2", "b", "warning"))


def test_a_number_that_differs_before_the_lines_do_is_first() -> None:
    found = compare("x.txt", "loss 1\na\n", "loss 2\nb\n")
    assert first(found) == ("line 1, after 'loss'", "1", "2")
    assert found.notes == ("from line 2 on the lines differ",)


@pytest.mark.parametrize(("one", "other"), [("a\nb\n", "a\n"), ("a\n", "a\nb\n"), ("a\n", "")])
def test_lines_that_are_missing_at_the_end(one: str, other: str) -> None:
    found = compare("x.txt", one, other)
    assert found.verdict == "different"
    assert "end of the file" in first(found)


def test_line_ends_are_aside_and_said() -> None:
    found = compare("x.txt", "a\nb\n", "a\r\nb\r\n")
    assert found.verdict == "equivalent"
    assert [(entry.what, entry.count) for entry in found.volatile] == [("line end", 2)]
    assert compare("x.txt", "a\nb\n", "a\nb").verdict == "equivalent"


def test_a_line_without_end_is_compared_all_the_same() -> None:
    long = "x" * (3 << 20)
    assert compare("x.txt", long + "a", long + "b").verdict == "different"
    assert compare("x.txt", long + " 1.0", long + " 1.00").verdict == "equivalent"


def test_text_that_is_not_utf8_is_compared() -> None:
    assert compare("x.log", b"caf\xe9 1\n", b"caf\xe9 2\n").verdict == "different"
    assert compare("x.log", b"caf\xe9 1\n", b"caf\xe8 1\n").verdict == "different"


def test_binary_under_the_name_of_a_text_is_decided_by_its_bytes() -> None:
    found = compare("x.log", b"a\0b", b"a\0c")
    assert (found.verdict, found.comparator) == ("different", "bytes")
    assert "no text" in found.reason


@pytest.mark.parametrize(
    "name", ["time", "wall_time", "Timestamp", "elapsed", "train/time_s", "date"]
)
def test_names_of_times(name: str) -> None:
    assert is_time_name(name)


@pytest.mark.parametrize(
    "name", ["loss", "times_won", "timesteps", "lifetime", "daten", "step", "update"]
)
def test_names_of_results(name: str) -> None:
    assert not is_time_name(name)


@given(st.text())
def test_the_tokens_make_up_the_text(text: str) -> None:
    assert "".join(token.text for token in tokens(text)) == text


LINE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20)


@given(st.lists(LINE, min_size=1, max_size=8), st.data())
def test_a_changed_line_is_found(lines: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = [*lines]
    changed[at] += " and more"
    found = compare("x.txt", "\n".join(lines) + "\n", "\n".join(changed) + "\n")
    assert found.verdict == "different"
    assert first(found)[0] == f"line {at + 1}"
