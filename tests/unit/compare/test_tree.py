"""Files, directories and records: both ways, nothing followed, nothing waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from reprorun import store
from reprorun.compare.values import Comparison, Settings, Tolerance
from reprorun.errors import UsageError
from reprorun.workflow.compare import compare_paths
from tests.unit.host.values import record


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two empty directories."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


def fill(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def verdicts(found: Comparison) -> dict[str, str]:
    return {named.path: named.finding.verdict for named in found.findings}


def test_every_output_has_a_verdict_and_the_worst_decides(sides: tuple[Path, Path]) -> None:
    one, other = sides
    fill(one, same="x", log_dot_txt="took 1 s", sub__p_dot_csv="a\n1.0\n", gone="x")
    fill(other, same="x", log_dot_txt="took 2 s", sub__p_dot_csv="a\n1.1\n", new="x")
    found = compare_paths(str(one), str(other), Settings())
    assert verdicts(found) == {
        "gone": "missing",
        "log.txt": "equivalent",
        "new": "extra",
        "same": "identical",
        "sub/p.csv": "different",
    }
    assert (found.verdict, found.same) == ("different", False)
    assert found.counts == {
        "identical": 1, "equivalent": 1, "extra": 1, "missing": 1, "different": 1,
    }  # fmt: skip


def test_large_files_of_one_size_are_compared(sides: tuple[Path, Path]) -> None:
    for side in sides:
        (side / "x.bin").write_bytes(b"\0" * (2 << 20) + side.name.encode())
        (side / "y.bin").write_bytes(b"\0" * (2 << 20))
    found = compare_paths(*map(str, sides), Settings())
    assert verdicts(found) == {"x.bin": "different", "y.bin": "identical"}


@pytest.mark.parametrize(("of", "verdict"), [(0, "missing"), (1, "extra")])
def test_what_only_one_has_is_no_pass(of: int, verdict: str, sides: tuple[Path, Path]) -> None:
    fill(sides[of], x="")
    found = compare_paths(*map(str, sides), Settings())
    assert (found.verdict, found.same) == (verdict, False)


def test_empty_directories_are_the_same(sides: tuple[Path, Path]) -> None:
    assert compare_paths(*map(str, sides), Settings()).verdict == "identical"


def test_ignored_outputs_are_named(sides: tuple[Path, Path]) -> None:
    fill(sides[0], a__x_dot_tmp="1", b="1")
    fill(sides[1], a__x_dot_tmp="2", b="1")
    found = compare_paths(*map(str, sides), Settings(ignore=("*.tmp",)))
    assert (found.verdict, found.ignored, verdicts(found)) == (
        "identical", ("a/x.tmp",), {"b": "identical"},
    )  # fmt: skip


def test_tolerances_go_by_the_path(sides: tuple[Path, Path]) -> None:
    fill(sides[0], lax__x_dot_txt="1.0", strict__x_dot_txt="1.0")
    fill(sides[1], lax__x_dot_txt="1.1", strict__x_dot_txt="1.1")
    settings = Settings(files=(("lax/*", Tolerance(rtol=0.5)),))
    found = compare_paths(*map(str, sides), settings)
    assert verdicts(found) == {"lax/x.txt": "within tolerance", "strict/x.txt": "different"}


def test_links_are_compared_by_their_targets(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    for side in sides:
        (side / "same").symlink_to("loop")
        (side / "loop").symlink_to("loop")
        (side / "kind").touch() if side == sides[0] else (side / "kind").symlink_to("../secret")
        (side / "dir").symlink_to("..")
        (side / "other").symlink_to(side.name)
    found = compare_paths(*map(str, sides), Settings())
    assert verdicts(found) == {
        "dir": "identical",
        "kind": "different",
        "loop": "identical",
        "other": "different",
        "same": "identical",
    }


@pytest.mark.timeout(30)
def test_pipes_and_sockets_are_not_waited_for(
    sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in sides:
        os.mkfifo(side / "pipe")
        monkeypatch.chdir(side)  # a socket's path must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    os.mkfifo(sides[0] / "was")
    (sides[1] / "was").write_text("x")
    found = compare_paths(*map(str, sides), Settings())
    assert verdicts(found) == {"pipe": "equivalent", "socket": "equivalent", "was": "different"}
    reasons = {named.path: named.finding.reason for named in found.findings}
    assert "named pipe" in reasons["pipe"]
    assert "socket" in reasons["socket"]


def test_a_directory_that_cant_be_read_is_unknown(
    sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def fail(path: str) -> object:
        if path.endswith("/d"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    for side in sides:
        fill(side, x="1", d__y="1")
    monkeypatch.setattr("os.scandir", fail)
    found = compare_paths(*map(str, sides), Settings())
    assert verdicts(found) == {"d/": "unknown", "x": "identical"}
    assert not found.same


def test_a_file_that_fails_to_be_read_is_unknown(
    sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> int:
        raise PermissionError(13, "Permission denied")

    for side in sides:
        fill(side, x="1")
    monkeypatch.setattr("reprorun.compare.tree.open_regular", fail)
    found = compare_paths(*map(str, sides), Settings())
    assert (found.verdict, found.findings[0].finding.reason) == (
        "unknown", "it can't be read: Permission denied",
    )  # fmt: skip


def test_event_files_of_tensorboard_are_paired(sides: tuple[Path, Path]) -> None:
    (sides[0] / "events.out.tfevents.1700000000.one.1").write_text("x")
    (sides[1] / "events.out.tfevents.1800000000.two.2").write_text("x")
    assert compare_paths(*map(str, sides), Settings()).verdict == "identical"


def test_names_that_are_not_utf8(sides: tuple[Path, Path]) -> None:
    for side in sides:
        Path(os.fsdecode(os.fsencode(side) + b"/\xff")).write_text(side.name)
    found = compare_paths(*map(str, sides), Settings())
    assert list(verdicts(found).values()) == ["different"]


def test_two_files_are_compared_by_their_own_format(tmp_path: Path) -> None:
    fill(tmp_path, a_dot_json='{"a": 1, "b": 2}', b_dot_json='{"b": 2, "a": 1}')
    found = compare_paths(str(tmp_path / "a.json"), str(tmp_path / "b.json"), Settings())
    assert found.verdict == "equivalent"
    (tmp_path / "link.json").symlink_to("b.json")
    found = compare_paths(str(tmp_path / "a.json"), str(tmp_path / "link.json"), Settings())
    assert found.verdict == "equivalent"


def test_what_cant_be_compared_is_a_usage_error(tmp_path: Path) -> None:
    fill(tmp_path, x="1")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for wrong in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere", tmp_path / "loop", "\0"):
        with pytest.raises(UsageError):
            compare_paths(str(tmp_path / "x"), str(wrong), Settings())


# ---------------------------------------------------------------- records


def make_record(directory: Path, **fields: object) -> Path:
    """A record with what every record has."""
    directory.mkdir(parents=True, exist_ok=True)
    made = record(**fields)
    store.write_record(str(directory), made)
    for name in store.OURS - {store.RUN_FILE}:
        (directory / name).write_text("{}")
    (directory / store.DOCKERFILE).write_text(directory.name)
    (directory / store.ARCHIVE_FILE).write_text(directory.name)
    return directory


def make_call(directory: Path, loss: str) -> None:
    """What a call of a wrapped function leaves."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "metadata.json").write_text(f'{{"launcher": "{directory}"}}')
    (directory / "launch_archive.tar.xz").write_text(str(directory))
    (directory / "variant.json").write_text('{"lr": 1.0}')
    (directory / "progress.csv").write_text(f"loss\n{loss}\n")


def test_of_records_the_outputs_are_compared_and_not_what_describes_the_run(tmp_path: Path) -> None:
    one, other = make_record(tmp_path / "a", id="1"), make_record(tmp_path / "b", id="2")
    for side in (one, other):
        fill(side, console_dot_log="took 1 s" if side == one else "took 2 s", outputs__x="1")
    found = compare_paths(str(one), str(other), Settings())
    assert verdicts(found) == {
        "console.log": "equivalent", "outputs/x": "identical", "variant.json": "identical",
    }  # fmt: skip


def test_another_exit_code_is_a_finding_of_its_own(tmp_path: Path) -> None:
    one = make_record(tmp_path / "a", status="finished", exit_code=0)
    other = make_record(tmp_path / "b", status="failed", exit_code=1)
    found = compare_paths(str(one), str(other), Settings())
    run = found.findings[0]
    assert (found.verdict, run.path, run.finding.comparator) == ("different", "run", "run")
    assert run.finding.divergence is not None
    assert run.finding.divergence.original == "finished, exit code 0"
    assert run.finding.divergence.now == "failed, exit code 1"


def test_calls_of_wrapped_functions_are_paired_in_order(tmp_path: Path) -> None:
    one = make_record(tmp_path / "a", sub_records=("train",))
    other = make_record(tmp_path / "b", sub_records=("train_1",))
    make_call(one / "train", "0.5")
    make_call(other / "train_1", "0.5")
    found = compare_paths(str(one), str(other), Settings())
    assert found.verdict == "identical"
    assert "train/progress.csv" in verdicts(found)
    assert "train/metadata.json" not in verdicts(found)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_record_of_garage_corresponds_to_the_call_of_its_rerun(
    tmp_path: Path, swapped: bool
) -> None:
    original = tmp_path / "garage"
    make_call(original, "0.5")
    rerun = make_record(tmp_path / "rerun", sub_records=("train",))
    make_call(rerun / "train", "0.25")
    pair = (rerun, original) if swapped else (original, rerun)
    found = compare_paths(*map(str, pair), Settings())
    assert verdicts(found) == {"progress.csv": "different", "variant.json": "identical"}


def test_a_run_json_of_somebody_else_is_an_output(sides: tuple[Path, Path]) -> None:
    fill(sides[0], run_dot_json='{"a": 1}')
    fill(sides[1], run_dot_json='{"a": 2}')
    assert verdicts(compare_paths(*map(str, sides), Settings())) == {"run.json": "different"}
