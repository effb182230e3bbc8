"""What garage's own log directories become: parts of the new record, whatever lies there."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.experiment import function
from reprorun.workflow.garage_outputs import adopt
from reprorun.workflow.harvest import find_sub_records, write_variant
from tests import garage_zoo as zoo

METADATA = '{"launcher": "train.py"}'


@pytest.fixture
def record(tmp_path: Path) -> Path:
    made = tmp_path / "record"
    made.mkdir()
    (made / "metadata.json").write_text(METADATA)
    return made


def log_directory(record: Path, path: str, variant: str = '{"seed": 1}') -> Path:
    """What garage leaves, at a place below outputs/."""
    made = record / "outputs" / path
    made.mkdir(parents=True)
    (made / "metadata.json").write_text(METADATA)
    (made / "variant.json").write_text(variant)
    (made / "progress.csv").write_bytes(os.fsencode(path))
    return made


def tree(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_one_run(record: Path) -> None:
    log_directory(record, "data/local/experiment/train")
    assert adopt(str(record)) == ("train",)
    assert tree(record) == [
        "metadata.json",
        "train",
        "train/metadata.json",
        "train/progress.csv",
        "train/variant.json",
    ]
    assert find_sub_records(str(record)) == ("train",)
    write_variant(str(record), ("train",), {})
    assert json.loads((record / "variant.json").read_text()) == {"seed": 1}


def test_what_lies_beside_stays(record: Path) -> None:
    log_directory(record, "data/local/experiment/train/")
    plots = record / "outputs/data/plots"
    plots.mkdir()
    (plots / "a.png").write_text("")
    (record / "outputs/model.pt").write_text("")
    assert adopt(str(record)) == ("train",)
    assert tree(record / "outputs") == ["data", "data/plots", "data/plots/a.png", "model.pt"]


def test_several_in_order_with_names_that_are_taken(record: Path) -> None:
    log_directory(record, "b/data/local/p/train")
    log_directory(record, "data/local/experiment/train")
    log_directory(record, "data/local/experiment/train_1")
    log_directory(record, "results/mine")
    (record / "train").mkdir()
    assert adopt(str(record)) == ("train_1", "train_2", "train_1_1", "mine")
    places = [(record / name / "progress.csv").read_text() for name in ("train_1", "train_2")]
    assert places == ["b/data/local/p/train", "data/local/experiment/train"]
    assert not (record / "outputs").exists()


def test_a_log_directory_in_another_stays_in_it(record: Path) -> None:
    log_directory(record, "data/local/experiment/outer")
    log_directory(record, "data/local/experiment/outer/data/local/experiment/inner")
    assert adopt(str(record)) == ("outer",)
    assert (record / "outer/data/local/experiment/inner/progress.csv").exists()


def test_nothing_to_adopt(record: Path) -> None:
    assert adopt(str(record)) == ()
    (record / "outputs/data").mkdir(parents=True)
    assert adopt(str(record)) == ()
    assert (record / "outputs/data").exists()


@pytest.mark.parametrize("name", ["metadata.json", "variant.json"])
def test_directories_that_are_none(record: Path, name: str) -> None:
    made = log_directory(record, "data/local/experiment/train")
    (made / name).rename(made / "moved.json")
    assert adopt(str(record)) == ()
    (made / name).symlink_to("moved.json")
    assert adopt(str(record)) == ()
    (made / name).unlink()
    os.mkfifo(made / name)
    assert adopt(str(record)) == ()


def test_another_tools_metadata(record: Path) -> None:
    made = log_directory(record, "data/run")
    (made / "metadata.json").write_text('{"tool": "another"}')
    assert adopt(str(record)) == ()


def test_links_are_not_followed(record: Path, tmp_path: Path) -> None:
    elsewhere = log_directory(tmp_path / "x", "data/local/experiment/theirs")
    (record / "outputs").mkdir()
    (record / "outputs/data").symlink_to(elsewhere.parents[2])
    (record / "outputs/theirs").symlink_to(elsewhere)
    assert adopt(str(record)) == ()
    assert elsewhere.exists()
    (record / "outputs/data").unlink()
    (record / "outputs/theirs").unlink()
    (record / "outputs").rmdir()
    (record / "outputs").symlink_to(elsewhere.parents[3])
    assert adopt(str(record)) == ()
    assert (elsewhere / "progress.csv").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("run.json", "variant.json", "metadata.json", "outputs", "console.log", "Dockerfile"),
        *("launch_archive.tar.xz", "requirements.lock", "args_data.b64"),
        *(".reprorun-guest.json", ".reprorun-reserve.tmp", ".reprorun-0123.tmp"),
    ],
)
def test_our_own_names_are_never_taken(record: Path, name: str) -> None:
    log_directory(record, f"data/local/experiment/{name}")
    assert adopt(str(record)) == (f"{name}_1",)
    assert (record / f"{name}_1/progress.csv").exists()
    assert not (record / name / "progress.csv").exists()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "-rf", "$(id)", "caf\udce9", "ü" * 127])
def test_odd_names_stay(record: Path, name: str) -> None:
    log_directory(record, f"data/local/experiment/{name}")
    assert adopt(str(record)) == (name,)
    assert (record / name / "progress.csv").exists()


def test_a_name_of_full_length_that_is_taken(record: Path) -> None:
    log_directory(record, "data/local/a/" + "x" * 255)
    log_directory(record, "data/local/b/" + "x" * 255)
    assert adopt(str(record)) == ("x" * 255, "x" * 253 + "_1")


def test_protected_directories(record: Path) -> None:
    made = log_directory(record, "data/local/experiment/train")
    made.chmod(0o500)
    made.parent.chmod(0o500)
    assert adopt(str(record)) == ("train",)


def test_what_can_not_be_moved_is_an_error(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = log_directory(record, "data/local/experiment/train")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(UsageError, match=r"can't be moved .*: No space left on device"):
        adopt(str(record))
    assert (made / "progress.csv").exists()


# ---------------------------------------------------------------- garage itself


def run_with_garage(place: Path, launcher: str, path: str) -> subprocess.CompletedProcess[str]:
    """Runs a launcher with our stand-in for garage installed."""
    place.mkdir(exist_ok=True)
    (place / "train.py").write_text(launcher)
    with zipfile.ZipFile(io.BytesIO(zoo.garage_wheel()[1])) as wheel:
        wheel.extractall(place / "site")
    env = {"PATH": path, "PYTHONPATH": str(place / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "train.py"]
    return subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, check=False)


def test_what_garage_writes_is_adopted(record: Path, tmp_path: Path) -> None:
    shims = Path(function.__file__).with_name("shims")
    launcher = zoo.WRITES_DATA + zoo.LOOPS
    done = run_with_garage(record / "outputs", launcher, str(shims / "bin"))
    assert done.returncode == 0, done.stderr
    assert adopt(str(record)) == ("train", "train_1", "train_2")
    variants = [json.loads((record / n / "variant.json").read_text()) for n in ("train", "train_2")]
    assert variants == [{"seed": 7}, {"seed": 2}]
    assert tree(record / "outputs/data") == ["plots", "plots/note.txt"]


def test_garage_can_not_do_without_git(tmp_path: Path) -> None:
    done = run_with_garage(tmp_path / "x", zoo.CALLS_ITSELF, str(tmp_path))
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
