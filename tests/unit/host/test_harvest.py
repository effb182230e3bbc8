"""What is brought home from a container, which may have left anything in its log directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.model import Change, GuestReport
from reprorun.workflow import harvest
from reprorun.workflow.harvest import (
    GUEST_REPORT,
    drop_guest_report,
    find_sub_records,
    read_guest_report,
    roots_to_copy,
    write_variant,
)

W = "/workspace"


def changes(*entries: str) -> tuple[Change, ...]:
    kinds: dict[str, Any] = {"A": "added", "C": "changed", "D": "deleted"}
    return tuple(Change(path=entry[2:], kind=kinds[entry[0]]) for entry in entries)


@pytest.mark.parametrize(
    ("found", "mounted", "wanted"),
    [
        ((), (), ()),
        ((f"C {W}",), (), ()),
        (("C /tmp", "A /tmp/x", "A /workspaces/x"), (), ()),
        ((f"C {W}", f"A {W}/x"), (), (f"{W}/x",)),
        ((f"C {W}", f"C {W}/x"), (), (f"{W}/x",)),
        ((f"C {W}", f"D {W}/x"), (), ()),
        ((f"A {W}/d", f"A {W}/d/x", f"A {W}/d/e", f"A {W}/d/e/y"), (), (f"{W}/d",)),
        ((f"C {W}/d", f"A {W}/d/x", f"C {W}/d/y"), (), (f"{W}/d/x", f"{W}/d/y")),
        ((f"C {W}/d", f"C {W}/d/e", f"A {W}/d/e/x"), (), (f"{W}/d/e/x",)),
        # only deleted in: the rest of the directory is no output
        ((f"C {W}/d", f"D {W}/d/x"), (), ()),
        ((f"C {W}/d", f"D {W}/d/x", f"A {W}/d/y"), (), (f"{W}/d/y",)),
        # the engine made the mount point, and directories to it
        ((f"A {W}/in", f"A {W}/in/x"), (f"{W}/in/x",), ()),
        ((f"A {W}/in", f"A {W}/in/x", f"A {W}/in/y"), (f"{W}/in/x",), (f"{W}/in/y",)),
        ((f"A {W}/data",), (f"{W}/data",), ()),
        ((f"A {W}/data", f"A {W}/data2"), (f"{W}/data",), (f"{W}/data2",)),
        ((f"A {W}/b", f"A {W}/a"), (), (f"{W}/a", f"{W}/b")),
    ],
)
def test_roots(found: tuple[str, ...], mounted: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert roots_to_copy(changes(*found), mounted) == wanted


Tree = dict[str, Any]


@st.composite
def runs(draw: st.DrawFn) -> tuple[tuple[Change, ...], set[str], tuple[str, ...]]:
    """What a run did to a tree as an engine tells it, the files that it wrote, and the mounts."""
    names = st.sampled_from("abc")
    paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: f"{W}/{'/'.join(parts)}")
    before = draw(st.sets(paths, max_size=4))  # files of the image
    before = {path for path in before if not any(o.startswith(path + "/") for o in before)}
    directories = {W} | {parent for path in before for parent in parents(path)}
    deleted = {path for path in before if draw(st.booleans())}
    written = {
        path
        for path in draw(st.sets(paths, max_size=6))
        if path not in directories and not set(parents(path)) & before
    }
    written = {path for path in written if not any(o.startswith(path + "/") for o in written)}
    kinds: dict[str, Any] = dict.fromkeys(deleted - written, "deleted")
    kinds |= {path: "changed" if path in before else "added" for path in written}
    for path in [*kinds]:
        for parent in parents(path):
            kinds[parent] = "changed" if parent in directories else "added"
    mounts = {path for path in draw(st.sets(paths, max_size=2)) if path not in kinds}
    mounts = {path for path in mounts if not set(parents(path)) & (written | before)}
    told = tuple(Change(path=path, kind=kind) for path, kind in sorted(kinds.items()))
    return told, written, tuple(sorted(mounts))


def parents(path: str) -> list[str]:
    found = []
    while path != W:
        path = os.path.dirname(path)
        found.append(path)
    return found


def covered(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


@given(runs())
def test_roots_cover_what_was_written_and_nothing_else(
    run: tuple[tuple[Change, ...], set[str], tuple[str, ...]],
) -> None:
    told, written, mounts = run
    roots = roots_to_copy(told, mounts)
    assert all(covered(path, roots) for path in written), roots
    assert not any(covered(root, tuple(r for r in roots if r != root)) for root in roots)
    assert not any(covered(mount, roots) for mount in mounts)
    kinds = {change.path: change.kind for change in told}
    assert all(root in written or kinds[root] == "added" for root in roots)


# ---------------------------------------------------------------- the guest's report


def test_the_guests_report_is_read_and_taken_away(tmp_path: Path) -> None:
    (tmp_path / GUEST_REPORT).write_text('{"seconds": 2, "signal": null, "later": [1]}')
    assert read_guest_report(str(tmp_path)) == GuestReport(seconds=2.0)
    assert read_guest_report(str(tmp_path)) == GuestReport(seconds=2.0)
    drop_guest_report(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert read_guest_report(str(tmp_path)) is None
    drop_guest_report(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"seconds": "many"}',
        b'{"seconds": 1e999}',
        b'{"seconds": NaN}',
        b'{"peak_memory": 1.5}',
        b'{"python": "\xff"}',
        b'{"not_kept": [{"path": 1, "reason": ""}]}',
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\x80" * 100,
    ],
)
def test_a_report_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / GUEST_REPORT).write_bytes(content)
    assert read_guest_report(str(tmp_path)) is None
    drop_guest_report(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text('{"seconds": 2}')
    log = tmp_path / "log"
    log.mkdir()
    (log / GUEST_REPORT).symlink_to(tmp_path / "elsewhere")
    assert read_guest_report(str(log)) is None
    drop_guest_report(str(log))
    assert list(log.iterdir()) == []
    assert (tmp_path / "elsewhere").exists()


def test_a_pipe_in_the_reports_place_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / GUEST_REPORT)
    assert read_guest_report(str(tmp_path)) is None


def test_a_directory_in_the_reports_place(tmp_path: Path) -> None:
    (tmp_path / GUEST_REPORT).mkdir()
    assert read_guest_report(str(tmp_path)) is None
    drop_guest_report(str(tmp_path))


# ---------------------------------------------------------------- sub-records


def sub_record(log: Path, name: str, variant: str = "{}") -> Path:
    directory = log / name
    directory.mkdir(parents=True)
    (directory / "metadata.json").write_text("{}")
    (directory / "variant.json").write_text(variant)
    return directory


def test_sub_records(tmp_path: Path) -> None:
    for name in ("train_1", "train", "train_10"):
        sub_record(tmp_path, name)
    (sub_record(tmp_path, "broken") / "variant.json").unlink()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("train")
    assert find_sub_records(str(tmp_path)) == ("train", "train_1", "train_10")


@pytest.mark.parametrize("name", ["variant.json", "metadata.json"])
def test_a_link_in_a_sub_record_does_not_lead_to_the_host(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "config.json"
    secret.write_text('{"auth": "hunter2"}')
    log = tmp_path / "log"
    directory = sub_record(log, "sub")
    (directory / name).unlink()
    (directory / name).symlink_to(secret)
    found = find_sub_records(str(log))
    assert found == ()
    write_variant(str(log), found, {})
    assert "hunter2" not in (log / "variant.json").read_text()


@pytest.mark.parametrize(
    ("subs", "params", "wanted"),
    [
        ({}, {}, {}),
        ({}, {"seed": 1}, {"seed": 1}),
        ({"a": '{"seed": 1}'}, {"seed": 9}, {"seed": 1}),
        ({"a": '{"seed": 1}', "b": "[2]"}, {}, {"a": {"seed": 1}, "b": [2]}),
        ({"a": "{", "b": "[" * 100_000}, {}, {"a": None, "b": None}),
    ],
)
def test_the_records_variant(
    subs: dict[str, str], params: dict[str, Any], wanted: Any, tmp_path: Path
) -> None:
    for name, text in subs.items():
        sub_record(tmp_path, name, text)
    write_variant(str(tmp_path), tuple(subs), params)
    assert json.loads((tmp_path / "variant.json").read_text()) == wanted


def test_parameters_of_all_calls_together_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(**variants: str) -> Any:
        for name, text in variants.items():
            (tmp_path / name / "variant.json").write_text(text)
        write_variant(str(tmp_path), tuple(variants), {})
        return json.loads((tmp_path / "variant.json").read_text())

    for name in "abc":
        sub_record(tmp_path, name)
    monkeypatch.setattr(harvest, "MOST_PARAMETERS", 10)
    many = f"[{'1,' * 6}1]"  # counts as eight
    assert written(a=many, b=many, c="2") == {"a": [1] * 7, "b": None, "c": 2}
    assert written(a=f"[{'[],' * 5}1]", c="2") == {"a": None, "c": 2}
    monkeypatch.setattr(harvest, "LONGEST_VARIANTS", 10)
    assert written(a='"1234567"', b="11", c="2") == {"a": "1234567", "b": None, "c": 2}


def test_many_calls_of_many_parameters_are_within_the_limits(tmp_path: Path) -> None:
    names = tuple(f"call_{number}" for number in range(300))
    variant = {"grid": list(range(1000)), "layers": [{"size": n} for n in range(100)]}
    for name in names:
        sub_record(tmp_path, name, json.dumps(variant))
    write_variant(str(tmp_path), names, {})
    assert json.loads((tmp_path / "variant.json").read_text()) == dict.fromkeys(names, variant)


def test_a_variant_that_the_wrapper_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / "variant.json").write_text('{"by": "the wrapper"}')
    write_variant(str(tmp_path), (), {})
    assert json.loads((tmp_path / "variant.json").read_text()) == {"by": "the wrapper"}
