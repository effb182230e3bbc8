"""`reprorun rerun` of records that garage wrote, on the real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.model import Record
from tests import garage_zoo as zoo

from ..index import make_wheel
from ..kit import BASE
from .bench import OLD_BASE, Done, client, containers_of
from .complete import assert_valid
from .test_rerun import Lab, differing, lab, snapshot

__all__ = ["lab"]  # a fixture

PYTHONS = "reprorun-base:{python}"
SHIM = ("--shim", "garage")
OLD = "2020-07-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _base_images(lab: Lab) -> None:
    """Both base images of the tests under names that differ in the version alone."""
    assert {BASE, OLD_BASE} == {PYTHONS.format(python=v) for v in ("3.11", "3.9")}, (
        "the tests' base images have other names: these here choose between them"
    )
    lab.env["REPRORUN_BASE_IMAGE"] = PYTHONS
    lab.index.files.clear()


def rerun(lab: Lab, record: Path, *words: str) -> Done:
    """A re-run of garage's record, which stays as it is."""
    done = lab.rerun(record, *words)
    if (done.log_dir / store.RUN_FILE).exists():
        assert_valid(done.log_dir)
        assert done.record.rerun_of is not None
        assert done.record.rerun_of.startswith("garage-")
        assert containers_of(done.record.id) == []
    return done


def made(lab: Lab, place: Path, files: zoo.Files, **fields: Any) -> Path:
    """A record of garage's, of a commit that no other test has."""
    record = zoo.make_record(place, {**files, "unique.txt": lab.elsewhere.name}, **fields)
    metadata = json.loads((record / "metadata.json").read_text())
    lab.own.add(metadata["githash"].removesuffix("-dirty"))
    return record


def versions(record: Record) -> dict[str, str]:
    return {package.name: package.version for package in record.packages}


def python_of(record: Record) -> str:
    assert record.base_image is not None
    return record.base_image.python_minor


# ---------------------------------------------------------------- the shim


def test_as_it_is(lab: Lab, tmp_path: Path) -> None:
    record = made(lab, tmp_path / "a", {"train.py": zoo.CALLS_ITSELF})
    done = rerun(lab, record, *SHIM)
    assert (done.code, done.out) == (0, "seed 7, lr 0.5\n"), done.err
    now = done.record
    assert now.sub_records == ("train",)
    assert (now.argv, now.launcher, now.packages) == (("train.py",), "train.py", ())
    assert python_of(now) == "3.9"  # 3.10 came a year after the record
    metadata = json.loads((record / "metadata.json").read_text())
    assert now.githash == metadata["githash"]
    assert not now.dirty
    assert json.loads((done.log_dir / "train/variant.json").read_text()) == {"seed": 7}
    assert (done.log_dir / "train/result.csv").read_text().startswith("0,0.16")
    archive = store.ARCHIVE_FILE
    assert (done.log_dir / archive).read_bytes() == (record / archive).read_bytes()
    assert now.differences == ()

    again = lab.again(done.log_dir)  # it is a record of ours now
    assert again.differences == ()
    assert again.environment_digest == now.environment_digest


def test_a_dry_run(lab: Lab, tmp_path: Path) -> None:
    record = made(lab, tmp_path / "a", {"train.py": zoo.CALLS_ITSELF})
    done = lab.rerun(record, *SHIM, "--dry-run")
    assert done.code == 0, done.err
    assert "FROM reprorun-base:3.9 AS environment" in done.out
    assert done.out.rstrip().endswith("IMAGE python train.py")
    assert list(done.log_dir.iterdir()) == []


def test_several_calls_and_other_files(lab: Lab, tmp_path: Path) -> None:
    beside = "import os\nos.makedirs('data')\nopen('data/note.txt', 'w').write('beside')\n"
    launcher = zoo.LOOPS + beside
    left = {"params.pkl": _bomb(tmp_path / "mark")}
    record = made(lab, tmp_path / "a", {"train.py": launcher}, left=left)
    done = rerun(lab, record, *SHIM)
    assert (done.code, done.out) == (0, "seed 1, lr 0.5\nseed 2, lr 0.5\n"), done.err
    assert done.record.sub_records == ("train_1", "train_2")
    assert (done.log_dir / "outputs/data/note.txt").read_text() == "beside"
    assert not (tmp_path / "mark").exists()
    assert not (done.log_dir / "params.pkl").exists()


def _bomb(mark: Path) -> bytes:
    """A pickle that leaves a mark where it is loaded."""
    return f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()


def test_one_function(lab: Lab, tmp_path: Path) -> None:
    variant = {"seed": 7, "lr": 0.25}
    record = made(lab, tmp_path / "a", {"train.py": zoo.NEEDS_PARAMETER}, variant=variant)
    bare = rerun(lab, record, *SHIM)
    assert bare.code == 1
    assert "IndexError" in bare.err
    done = rerun(lab, record, *SHIM, "--function", "train")
    assert (done.code, done.out) == (0, "seed 7, lr 0.25\n"), done.err
    assert json.loads((done.log_dir / "train/variant.json").read_text()) == variant
    done = rerun(lab, record, *SHIM, "--function", "train", "-P", "lr=1")
    assert done.out == "seed 7, lr 1\n"
    assert all(each.wanted for each in done.record.differences)


def test_arguments_that_garage_did_not_keep(lab: Lab, tmp_path: Path) -> None:
    record = made(lab, tmp_path / "a", {"train.py": zoo.ARGPARSE})
    bare = rerun(lab, record, *SHIM)
    assert bare.code == 2
    assert "the following arguments are required: --seed" in bare.err
    assert "garage kept no arguments" in bare.err
    assert "--function NAME" in bare.err
    done = rerun(lab, record, *SHIM, "--", "--seed", "4")
    assert (done.code, done.out) == (0, "seed 4, lr 0.5\n"), done.err
    assert differing(done.record) == {"arguments": ("train.py", "train.py --seed 4")}
    assert "kept no arguments" not in done.err


# ---------------------------------------------------------------- packages of the record's day


def test_garage_and_the_packages_of_the_day(lab: Lab, tmp_path: Path) -> None:
    lab.index.add(*zoo.garage_wheel(), uploaded=OLD)
    lab.index.add(*make_wheel("tool", "1.0"), uploaded="2020-10-04T00:00:00Z")
    lab.index.add(*make_wheel("tool", "2.0"), uploaded="2020-10-07T00:00:00Z")
    launcher = "import tool\nprint('tool', tool.VERSION)\n" + zoo.WRITES_DATA
    files = {"train.py": launcher, "requirements.txt": "garage\ntool\n"}
    record = made(lab, tmp_path / "a", files)
    done = rerun(lab, record)
    assert (done.code, done.out) == (0, "tool 1.0\nseed 7, lr 0.5\n"), done.err
    now = done.record
    assert versions(now) == {"garage": zoo.GARAGE_VERSION, "tool": "1.0"}
    assert python_of(now) == "3.9"
    # what garage itself wrote below data/ has become part of the record
    assert now.sub_records == ("train",)
    assert json.loads((done.log_dir / "train/variant.json").read_text()) == {"seed": 7}
    assert (done.log_dir / "train/result.csv").exists()
    assert (done.log_dir / "outputs/data/plots/note.txt").read_text() == "beside"
    assert list((done.log_dir / "outputs/data").iterdir()) == [done.log_dir / "outputs/data/plots"]

    later = rerun(lab, record, "--as-of", "2021-06-01")
    assert versions(later.record)["tool"] == "2.0"
    on_day = rerun(lab, record, "--as-of", "2020-10-05")
    assert on_day.record.environment_digest == now.environment_digest
    newer = rerun(lab, record, "--python", "3.11")
    assert python_of(newer.record) == "3.11"
    assert versions(newer.record) == versions(now)


@pytest.mark.parametrize("how", sorted(zoo.NEEDS))
def test_however_the_project_says_it(lab: Lab, tmp_path: Path, how: str) -> None:
    lab.index.add(*zoo.garage_wheel(), uploaded=OLD)
    record = made(lab, tmp_path / "a", {"train.py": zoo.CALLS_ITSELF, **zoo.NEEDS[how]})
    done = rerun(lab, record)
    assert (done.code, done.out) == (0, "seed 7, lr 0.5\n"), done.err
    assert versions(done.record) == {"garage": zoo.GARAGE_VERSION}
    assert done.record.sub_records == ("train",)
    shimmed = rerun(lab, record, *SHIM)
    assert (shimmed.code, shimmed.out) == (0, "seed 7, lr 0.5\n"), shimmed.err
    assert shimmed.record.packages == ()


def test_what_the_shim_has_not(lab: Lab, tmp_path: Path) -> None:
    record = made(lab, tmp_path / "a", {"train.py": zoo.NEEDS_GARAGE})
    done = rerun(lab, record, *SHIM)
    assert done.code == 1
    assert "garage.envs" in done.err


def test_the_newest_python_that_the_wheels_allow(lab: Lab, tmp_path: Path) -> None:
    """3.11 was out and is there, but the package has wheels for 3.9 only; of 3.10 is no image."""
    name, data = make_wheel("old", "1.0", tag="cp39-cp39-manylinux2014_x86_64")
    lab.index.add(name, data, uploaded=OLD)
    lab.index.add(*zoo.garage_wheel(), uploaded=OLD)
    files = {"train.py": "import old\n" + zoo.CALLS_ITSELF, "requirements.txt": "garage\nold\n"}
    record = made(lab, tmp_path / "a", files, day="2022-11-01")
    done = rerun(lab, record)
    assert (done.code, done.out) == (0, "seed 7, lr 0.5\n"), done.err
    assert python_of(done.record) == "3.9"
    for version in ("3.11", "3.10"):
        assert f"not with Python {version}: " in done.err
    free = made(lab, tmp_path / "b", {"train.py": zoo.CALLS_ITSELF}, day="2022-11-01")
    assert python_of(rerun(lab, free, *SHIM).record) == "3.11"


def test_no_python_of_the_day(lab: Lab, tmp_path: Path) -> None:
    files = {"train.py": zoo.CALLS_ITSELF, "requirements.txt": "nowhere-to-be-had\n"}
    record = made(lab, tmp_path / "a", files)
    message = lab.refusal(record, *SHIM, code=125)
    assert "Python 3.9: " in message
    assert "nowhere-to-be-had" in message
    assert "Python 3.8: " in message
    assert "--python" in message
    early = made(lab, tmp_path / "b", {"train.py": zoo.CALLS_ITSELF}, day="2020-06-01")
    assert "reprorun-base:3.8" in lab.refusal(early, *SHIM, code=125)


# ---------------------------------------------------------------- the code


def test_changes_that_were_not_committed(lab: Lab, tmp_path: Path) -> None:
    changed = zoo.CALLS_ITSELF.replace("seed=7", "seed=8")
    record = made(
        lab,
        tmp_path / "a",
        {"train.py": zoo.CALLS_ITSELF},
        changes={"train.py": changed},
        keep_repository=True,
    )
    project = tmp_path / "a" / "project"
    tree = snapshot(project)
    done = rerun(lab, record, *SHIM)
    assert done.out == "seed 8, lr 0.5\n"
    assert done.record.dirty
    done = rerun(lab, record, *SHIM, "--repo", str(project))
    assert (done.code, done.out) == (0, "seed 7, lr 0.5\n"), done.err
    assert not done.record.dirty
    assert "code" in differing(done.record)
    assert snapshot(project) == tree


def test_no_archive(lab: Lab, tmp_path: Path) -> None:
    record = made(
        lab, tmp_path / "a", {"train.py": zoo.CALLS_ITSELF}, archive=False, keep_repository=True
    )
    message = lab.refusal(record, *SHIM)
    assert "launch_archive.tar.xz" in message
    assert "--repo" in message
    done = rerun(lab, record, *SHIM, "--repo", str(tmp_path / "a" / "project"))
    assert (done.code, done.out) == (0, "seed 7, lr 0.5\n"), done.err
    plain = zoo.make_record_outside_git(tmp_path / "b", {"train.py": zoo.CALLS_ITSELF})
    assert "outside any git repository" in lab.refusal(plain, *SHIM)


# ---------------------------------------------------------------- bad records


@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        "[]",
        '{"launcher": 3}',
        '{"launcher": "../../etc/passwd"}',
        '{"launcher": "/etc/passwd"}',
        '{"launcher": "gone.py"}',
        '{"launcher": "\\"; touch MARK; \\""}',
        '{"launcher": "x\\nRUN touch MARK"}',
        '{"launcher": "train.py", "githash": "--upload-pack=touch MARK"}',
        '{"launcher": "train.py", "githash": "$(touch MARK)"}',
    ],
)
def test_metadata_that_means_harm(lab: Lab, tmp_path: Path, text: str) -> None:
    record = made(lab, tmp_path / "a", {"train.py": zoo.CALLS_ITSELF})
    mark = tmp_path / "mark"
    (record / "metadata.json").write_text(text.replace("MARK", str(mark)))
    message = lab.refusal(record, *SHIM)
    assert len(message.strip().splitlines()) <= 2
    assert not mark.exists()


@pytest.mark.parametrize("variant", ['{"seed": ', "[1]", '{"lr": {"$function": "os.system"}}'])
def test_parameters_that_can_not_be_taken(lab: Lab, tmp_path: Path, variant: str) -> None:
    record = made(lab, tmp_path / "a", {"train.py": zoo.NEEDS_PARAMETER})
    (record / "variant.json").write_text(variant)
    done: Any = lab.rerun(record, *SHIM, "--function", "train")
    assert done.code == 2
    assert "Traceback" not in done.err
    with client() as engine:
        running = engine.containers.list(filters={"label": "reprorun.run"}, ignore_removed=True)
        assert not [each for each in running if str(lab.records) in str(each.attrs["Mounts"])]
