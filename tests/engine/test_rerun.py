"""`reprorun rerun` on the real engine: from the record alone, here and where nothing is known."""

from __future__ import annotations

import json
import lzma
import os
import pickle
import shutil
import signal
import stat
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.model import Record

from ..index import Index
from ..kit import BASE
from ..unit.host.test_launch_archive import link, member, tar_of
from .bench import OLD_BASE, REPRORUN, Bench, Done, client, containers_of, images_of, one_message
from .bench import sha256 as digest
from .complete import assert_valid
from .test_endings import WAITS, finish, until_ready
from .test_environment import base, environment_of, forget, unique

__all__ = ["base"]  # a fixture

TRAIN = """\
import json, os, random, sys
import tool
from reprorun import wrap_experiment

@wrap_experiment
def train(ctxt, seed=1, lr=0.5):
    random.seed(seed)
    with open(ctxt.snapshot_dir + "/result.csv", "w") as file:
        file.write("%.12f\\n" % (lr * random.random()))
    print("seed", seed, "lr", lr)

train(seed=int(sys.argv[1]) if sys.argv[1:] else 3)
with open("out.json", "w") as file:
    json.dump([tool.VERSION, sys.argv[1:], os.environ.get("MODE")], file)
"""


class Lab(Bench):
    """A bench with an index of its own, and a place to re-run records that is not the repository.

    `project` has a launcher that needs a package which no other test has.
    """

    index: Index
    elsewhere: Path
    own: set[str]  # commits that no other test has, of whatever session on this engine

    def commit(self) -> None:
        self.write({"unique.txt": self.elsewhere.name})
        super().commit()
        self.own.add(self.git("rev-parse", "HEAD"))

    def project(self, **files: str | bytes) -> None:
        self.write({"train.py": TRAIN, "requirements.txt": "tool\n", **files})
        self.commit()

    def first(self, script: str = "train.py", *args: str, flags: tuple[str, ...] = ()) -> Path:
        """A record made by a run; its directory."""
        done = self.exec(script, *args, flags=flags)
        assert done.code == 0, done.err
        return done.log_dir

    def rerun(self, record: Path, *words: str, **given: Any) -> Done:
        """Run `reprorun rerun RECORD WORDS...` elsewhere, which leaves the record as it is."""
        before = snapshot(record)
        log_dir = given.pop("log_dir", None) or self.new_log_dir()
        command = ("rerun", "--log-dir", str(log_dir), str(record), *words)
        done = self.reprorun(*command, cwd=str(self.elsewhere), log_dir=log_dir, **given)
        assert snapshot(record) == before
        return done

    def again(self, record: Path, *words: str, **given: Any) -> Record:
        """The record of a re-run that came to its end."""
        done = self.rerun(record, *words, **given)
        assert done.code == 0, done.err
        assert_valid(done.log_dir)
        assert done.record.rerun_of == store.read_record(str(record)).id
        assert containers_of(done.record.id) == []
        return done.record

    def refusal(self, record: Path, *words: str, code: int = 2, **given: Any) -> str:
        """Why a record is not run again: nothing is left of the attempt."""
        before, tree = on_engine(self), snapshot(self.elsewhere)
        done = self.rerun(record, *words, **given)
        assert (done.code, done.out) == (code, ""), done.err
        assert list(done.log_dir.iterdir()) == []
        assert snapshot(self.elsewhere) == tree
        assert on_engine(self) - before == set()
        assert "Traceback" not in done.err
        return done.err.rpartition("reprorun: error: ")[2]

    def forget_everything(self, record: Path, tmp_path: Path) -> None:
        """As on a machine that never saw the record: but for the index, and the base image."""
        forget(store.read_record(str(record)))
        shutil.rmtree(self.root)
        self.root.mkdir()
        for name in CACHES:
            self.env[name] = str(tmp_path / "new" / name.lower())
            Path(self.env[name]).mkdir(parents=True, exist_ok=True)


CACHES = ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "UV_CACHE_DIR", "HOME")


@pytest.fixture
def lab(bench: Bench, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(bench.root, bench.records, bench.env, bench.commits)
    made.env = {name: v for name, v in made.env.items() if not name.startswith("UV_")}
    for name in CACHES:
        made.env[name] = str(tmp_path / name.lower())
        Path(made.env[name]).mkdir()
    made.elsewhere = tmp_path / f"elsewhere-{uuid.uuid4().hex}"
    made.elsewhere.mkdir()
    made.own = set()
    with Index() as index:
        made.index = index
        made.env.update(UV_DEFAULT_INDEX=index.url, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        index.add(*unique())
        yield made


def snapshot(directory: Path) -> dict[str, Any]:
    """All that is in a directory: content, mode and time of each file, where each link leads."""
    found: dict[str, Any] = {}
    for path in [directory, *directory.rglob("*")]:
        about = path.lstat()
        content: Any = None
        if stat.S_ISREG(about.st_mode):
            content = digest(path.read_bytes())
        elif stat.S_ISLNK(about.st_mode):
            content = os.readlink(path)
        name = str(path.relative_to(directory))
        found[name] = (content, about.st_mode, about.st_mtime_ns, about.st_uid)
    return found


def on_engine(lab: Lab) -> set[str]:
    """What runs of this test have left on the engine, which others may be using too."""
    name = "org.opencontainers.image.revision"
    found = set()
    with client() as engine:
        for image in images_of(engine, "reprorun/run"):
            if image.labels.get(name, "").removesuffix("-dirty") in lab.own:
                found |= set(image.tags)
        for container in engine.api.containers(all=True, filters={"label": "reprorun.run"}):
            sources = [mount.get("Source", "") for mount in container["Mounts"]]
            if any(source.startswith(str(lab.records)) for source in sources):
                found.add(container["Id"])
    return found


def results(log_dir: Path) -> dict[str, bytes]:
    """What the experiment itself wrote."""
    record = store.read_record(str(log_dir))
    return {output.path: (log_dir / output.path).read_bytes() for output in record.outputs}


def differing(record: Record) -> dict[str, tuple[str, str]]:
    return {each.what: (each.original, each.now) for each in record.differences}


def edit(log_dir: Path, **fields: Any) -> None:
    """Change what run.json says."""
    path = log_dir / store.RUN_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# ---------------------------------------------------------------- as it was


def test_on_the_machine_that_made_it(lab: Lab) -> None:
    lab.project()
    flags = ("-e", "MODE=fast", "-P", "lr=0.25", "--memory", "512m", "--cpus", "1.5")
    original = lab.first("train.py", "5", flags=flags)
    assert (original / "train/result.csv").exists()
    tree, asked = snapshot(lab.root), len(lab.index.requests)
    done = lab.rerun(original)
    assert (done.code, done.out) == (0, "seed 5 lr 0.25\n"), done.err
    for step in ("packages", "environment ", "image  ", "differs"):  # nothing has to be made
        assert f"reprorun: {step}" not in done.err
    assert len(lab.index.requests) == asked
    assert results(done.log_dir) == results(original)
    was, now = store.read_record(str(original)), done.record
    assert now.differences == ()
    assert now.rerun_of == was.id != now.id
    same: tuple[str, ...] = (
        "argv",
        "command",
        "params",
        "environment",
        "limits",
        "network",
        "packages",
        "archive",
    )
    same += ("githash", "dirty", "base_image", "environment_digest", "image", "sub_records", "host")
    for field in same:
        assert getattr(now, field) == getattr(was, field), field
    assert was.ended is not None
    assert now.created > was.ended
    for name in ("launch_archive.tar.xz", "metadata.json", "requirements.lock", "Dockerfile"):
        assert (done.log_dir / name).read_bytes() == (original / name).read_bytes()
    assert snapshot(lab.root) == tree
    assert list(lab.elsewhere.iterdir()) == []

    third = lab.again(done.log_dir)  # a re-run is a record like any other
    assert third.differences == ()
    assert third.rerun_of == now.id


def test_on_a_machine_that_never_saw_it(lab: Lab, tmp_path: Path) -> None:
    lab.project()
    original = lab.first("train.py", "5")
    was = store.read_record(str(original))
    before = environment_of(was).attrs["RootFS"]["Layers"]
    moved = tmp_path / "posted" / "record"
    shutil.copytree(original, moved)
    shutil.rmtree(original)
    lab.index.add(*unique(version="2.0"))  # what a resolver would take today
    lab.forget_everything(moved, tmp_path)
    done = lab.rerun(moved)
    assert (done.code, done.out) == (0, "seed 5 lr 0.5\n"), done.err
    now = done.record
    assert now.differences == ()
    assert now.packages == was.packages
    assert [package.version for package in now.packages if package.name == "tool"] == ["1.0"]
    assert (now.environment_digest, now.image) == (was.environment_digest, was.image)
    assert environment_of(now).attrs["RootFS"]["Layers"] == before
    assert results(done.log_dir) == results(moved)

    lab.index.stop()
    lab.forget_everything(done.log_dir, tmp_path / "once more")
    for words in ((), ("--offline",)):
        message = lab.refusal(moved, *words, code=125)
        assert "gone from the index" not in message  # nobody could be asked
        assert "tool" in message
    assert "--offline" in message


def test_where_the_new_record_goes(lab: Lab) -> None:
    lab.write({"train.py": "print('hello')\n"})
    lab.commit()
    original = lab.first()
    for name in (original.name, f"{original.name}_1"):
        done = lab.reprorun("rerun", "-q", str(original), cwd=str(lab.elsewhere))
        assert (done.code, done.out, done.err) == (0, "hello\n", "")
        assert (lab.elsewhere / "data/local/experiment" / name / "run.json").exists()
    done = lab.reprorun("rerun", str(original), "--name", "mine", cwd=str(lab.elsewhere))
    assert (lab.elsewhere / "data/local/experiment/mine/run.json").exists()
    assert "not empty" in one_message(lab.rerun(original, log_dir=original).err)


def test_an_experiment_that_fails_again(lab: Lab) -> None:
    lab.write({"train.py": "import sys\nprint('so far')\nsys.exit(3)\n"})
    lab.commit()
    first = lab.exec("train.py")
    done = lab.rerun(first.log_dir)
    assert (first.code, done.code, done.out) == (3, 3, "so far\n")
    assert (done.record.status, done.record.rerun_of) == ("failed", first.record.id)


# ---------------------------------------------------------------- one thing otherwise


def test_one_thing_otherwise(lab: Lab) -> None:
    lab.project()
    original = lab.first("train.py", "5", flags=("-e", "MODE=fast"))
    for words, out, expected in (
        (["-P", "lr=2"], "seed 5 lr 2\n", {"parameters: lr": ("-", "2")}),
        (["-e", "MODE=slow"], None, {"variables: MODE": ("fast", "slow")}),
        (["--network", "host"], None, {"network": ("none", "host")}),
        (["--memory", "256m"], None, {"limits: memory": ("-", str(256 << 20))}),
        (["--", "6"], "seed 6 lr 0.5\n", {"arguments": ("train.py 5", "train.py 6")}),
    ):
        done = lab.rerun(original, *words)
        assert (done.code, done.out) == (0, out or "seed 5 lr 0.5\n"), done.err
        assert differing(done.record) == expected
        assert all(each.wanted for each in done.record.differences)
        (what,) = expected
        said = [line for line in done.err.splitlines() if line.startswith("reprorun: differs")]
        assert len(said) == 1
        assert f"{what}: " in said[0]
        assert done.err.index("differs") < done.err.index("running")
    done = lab.rerun(original, "-P", "sed=2")
    assert done.code == 2
    assert "train() takes no parameter 'sed'" in done.err


def test_another_base_image(lab: Lab) -> None:
    lab.project()
    original = lab.first()
    lab.env["REPRORUN_BASE_IMAGE"] = "reprorun-base:nowhere"  # of no matter: the record names one
    record = lab.again(original, "--base-image", OLD_BASE)
    assert set(differing(record)) == {"base image", "python"}
    assert differing(record)["python"][1].startswith("3.9.")
    assert all(each.wanted for each in record.differences)
    assert record.packages == store.read_record(str(original)).packages
    lab.env["REPRORUN_BASE_IMAGE"] = "reprorun-base:{python}"
    assert lab.again(original, "--python", "3.9").base_image == record.base_image


# ---------------------------------------------------------------- functions

CALL = """\
import sys
from reprorun import run_experiment

SCALE = 3

def call(snapshot_config, variant, resume_from_dir, resume_from_epoch):
    with open(snapshot_config.snapshot_dir + "/result.txt", "w") as file:
        file.write(str(SCALE * variant["value"]))
    print("called with", variant["value"], len(variant["text"]))

size = int(sys.argv[1])
run_experiment(call, exp_name="one", log_dir=sys.argv[2], variant={"value": 7, "text": "x" * size})
"""


@pytest.mark.parametrize("size", [1, 200_000])
def test_what_run_experiment_launched(lab: Lab, size: int) -> None:
    lab.write({"launch.py": CALL, "requirements.txt": "cloudpickle\n"})
    lab.commit()
    lab.env.pop("UV_DEFAULT_INDEX")
    original = lab.new_log_dir()
    done = lab.python("launch.py", str(size), str(original))
    assert done.code == 0, done.err
    record = lab.again(original)
    assert record.differences == ()
    log_dir = lab.records / "run-1"
    assert (log_dir / "result.txt").read_text() == "21"
    assert f"called with 7 {size}\n" in (log_dir / "console.log").read_text()
    assert bool(record.payloads) == (size > 1)
    assert "no arguments" in lab.refusal(original, "--", "8")
    assert "pickled by Python" in lab.refusal(original, "--base-image", OLD_BASE)
    if record.payloads:
        path = original / record.payloads[0].path
        path.write_bytes(path.read_bytes()[:-4] + b"AAAA")
        assert str(path) in lab.refusal(original)


def test_one_function_with_the_parameters_of_the_record(lab: Lab) -> None:
    lab.project()
    original = lab.first("train.py", "5")
    done = lab.rerun(original, "--function", "train", "-P", "lr=1")
    assert (done.code, done.out) == (0, "seed 5 lr 1\n"), done.err
    variant = json.loads((done.log_dir / "train/variant.json").read_text())
    assert variant == {"seed": 5, "lr": 1}
    assert set(differing(done.record)) == {"arguments", "parameters: lr"}
    again = lab.rerun(done.log_dir)
    assert (again.out, again.record.differences) == ("seed 5 lr 1\n", ())
    done = lab.rerun(original, "--function", "trian")
    assert done.code == 2
    assert "train.py has no trian; its functions: train" in done.err


SEVERAL = """\
import tool
from reprorun import wrap_experiment

@wrap_experiment
def train(ctxt, seed):
    print("seed", seed, tool.VERSION)

for seed in (1, 2):
    train(seed=seed)
"""


def test_one_of_several_calls(lab: Lab) -> None:
    lab.project(**{"train.py": SEVERAL})
    original = lab.first()
    lab.index.add(*unique(version="2.0"))
    message = lab.refusal(original, "--function", "train")
    assert "2 calls" in message
    assert str(original / "train") in message
    tree = snapshot(original)
    done = lab.reprorun(
        "rerun", str(original / "train_1"), "--function", "train", cwd=str(lab.elsewhere)
    )
    assert (done.code, done.out) == (0, "seed 2 1.0\n"), done.err  # the packages are the record's
    assert "garage" not in done.err
    assert snapshot(original) == tree


# ---------------------------------------------------------------- inputs

READ = """\
import hashlib, sys
for path in ("weights.bin", sys.argv[1]):
    print(hashlib.sha256(open(path, "rb").read()).hexdigest())
"""


def test_inputs_that_have_moved_or_changed(lab: Lab, tmp_path: Path) -> None:
    large, data = b"w" * (8 << 20), tmp_path / "given" / "data.csv"
    data.parent.mkdir()
    data.write_bytes(b"1,2\n")
    lab.write({"read.py": READ, "weights.bin": large})
    lab.commit()
    original = lab.first("read.py", str(data), flags=("--input", str(data)))
    expected = f"{digest(large)}\n{digest(b'1,2' + bytes([10]))}\n"
    assert lab.rerun(original).out == expected
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(lab.root / "weights.bin", moved / "weights.bin")
    data.write_bytes(b"3,4\n")
    message = lab.refusal(original)
    assert "2 inputs" in message
    assert f"{lab.root}/weights.bin: not found" in message
    assert f"{data} has changed" in message
    assert "--input-root" in message
    assert "data.csv has changed" in lab.refusal(original, "--input-root", str(moved))
    (moved / "data.csv").write_bytes(b"1,2\n")
    record = lab.again(original, "--input-root", "../moved")
    assert record.differences == ()
    assert {entry.path for entry in record.inputs} == {
        str(moved / "data.csv"),
        str(moved / "weights.bin"),
    }
    # what is named itself is taken as it is, and said
    done = lab.rerun(original, "--input", str(data), "--input-root", str(moved))
    assert done.out == f"{digest(large)}\n{digest(b'3,4' + bytes([10]))}\n"
    assert set(differing(done.record)) == {f"inputs: {data}"}


# ---------------------------------------------------------------- from the commit


def test_the_commit_in_place_of_the_archive(lab: Lab) -> None:
    lab.write({"train.py": "print('committed')\n"})
    lab.commit()
    lab.write({"train.py": "print('changed')\n", "new.txt": "untracked\n"})
    original = lab.first()
    assert lab.rerun(original).out == "changed\n"
    tree = snapshot(lab.root)
    commit = lab.git("rev-parse", "HEAD")
    for repo in (str(lab.root), f"file://{lab.root}"):
        done = lab.rerun(original, "--repo", repo)
        assert (done.code, done.out) == (0, "committed\n"), done.err
        assert (done.record.githash, done.record.dirty) == (commit, False)
        assert differing(done.record) == {
            "code": (f"archive of {commit}-dirty", f"commit {commit}")
        }
    assert snapshot(lab.root) == tree
    (original / store.ARCHIVE_FILE).unlink()
    assert "--repo PATH_OR_URL" in lab.refusal(original)
    assert lab.rerun(original, "--repo", str(lab.root)).out == "committed\n"
    assert lab.rerun(done.log_dir).out == "committed\n"


# ---------------------------------------------------------------- what the record can't hold


def test_secrets_have_to_be_given_again(lab: Lab) -> None:
    lab.write({"train.py": "import os\nprint(len(os.environ['API_TOKEN']))\n"})
    lab.commit()
    original = lab.first("train.py", flags=("-e", "API_TOKEN=hunter2"))
    assert "-e API_TOKEN" in lab.refusal(original)
    done = lab.rerun(original, "-e", "API_TOKEN", env={"API_TOKEN": "hunter22"})
    assert (done.code, done.out) == (0, "8\n"), done.err
    assert differing(done.record) == {"variables: API_TOKEN": ("<redacted>", "given anew")}
    for path in done.log_dir.rglob("*"):
        assert path.is_dir() or b"hunter" not in path.read_bytes()


def test_links_that_led_out_are_named_again(lab: Lab, tmp_path: Path) -> None:
    lab.write({"train.py": "print('hello')\n"})
    (lab.root / "data").symlink_to(tmp_path)
    lab.commit()
    original = lab.first()
    done = lab.rerun(original)
    assert done.code == 0, done.err
    assert done.err.index("links that lead out of the repository") < done.err.index("running")
    assert any(note.endswith(": data") for note in done.record.notes)


def test_a_version_that_is_gone(lab: Lab, tmp_path: Path) -> None:
    lab.project()
    original = lab.first()
    lab.index.files.clear()
    lab.index.add(*unique(version="1.1"))
    lab.index.add(*unique(version="3.0"))
    lab.forget_everything(original, tmp_path)
    message = lab.refusal(original, code=125)
    assert "gone from the index: tool 1.0" in message
    assert "--allow-newer" in message
    record = lab.again(original, "--allow-newer")
    assert {package.name: package.version for package in record.packages}["tool"] == "1.1"
    assert set(differing(record)) == {"packages: tool"}
    assert differing(record)["packages: tool"][0].startswith("1.0 ")


def test_the_base_image_under_another_name_and_id(lab: Lab, base: Any) -> None:
    lab.write({"train.py": "print('hello')\n"})
    lab.commit()
    first, second = (base(f"FROM {BASE}\nLABEL made={place}\n") for place in ("here", "there"))
    original = lab.first("train.py", flags=("--base-image", first))
    found = json.loads((original / store.RUN_FILE).read_text())["base_image"]
    with client() as engine:
        assert found["id"] != engine.images.get(second).id
    edit(original, base_image={**found, "id": "sha256:" + "0" * 64, "ref": second})
    record = lab.again(original)
    assert record.base_image is not None
    assert record.base_image.id != found["id"]
    assert record.differences == ()

    gone = {**found, "id": "sha256:" + "0" * 64, "ref": "example.invalid/base:1"}
    for fields in (gone, {**gone, "ref": OLD_BASE}):  # that one is another image
        edit(original, base_image=fields)
        message = lab.refusal(original, code=125)
        assert f"base image {fields['ref']} " in message
        assert "--base-image" in message
        assert "--offline" in lab.refusal(original, "--offline", code=125)
    assert set(differing(lab.again(original, "--base-image", BASE))) == {"base image"}


# ---------------------------------------------------------------- bad records

BOMB = 200  # files more than are allowed


def test_archives_that_are_not_what_the_run_had(lab: Lab) -> None:
    lab.write({"train.py": "print('hello')\n"})
    lab.commit()
    original = lab.first()
    path = original / store.ARCHIVE_FILE
    whole = path.read_bytes()
    path.write_bytes(lzma.compress(tar_of(member("train.py", size=8))))
    message = lab.refusal(original)
    assert "swapped" in message
    assert digest(path.read_bytes()) in message

    def claimed(data: bytes) -> str:
        """Why it is refused where the record itself says that it had this archive."""
        path.write_bytes(data)
        edit(original, archive={"sha256": digest(data), "size": len(data), "files": 1})
        return lab.refusal(original)

    assert "cut short" in claimed(whole[:-20])
    launcher = member("train.py", size=8)
    for bad, said in (
        (member("../../escaped", size=8), "escaped"),
        (member("/etc/escaped", size=8), "escaped"),
        (link("way/out", "/etc"), "way/out"),
        (member("device", tarfile.CHRTYPE, devmajor=1), "device"),
        (member("root", size=8, mode=0o4755), "root"),
    ):
        assert said in claimed(lzma.compress(tar_of(launcher, bad)))
    many = (member(f"f{number}") for number in range(BOMB))
    claimed_limits = lzma.compress(tar_of(launcher, *many))
    path.write_bytes(claimed_limits)
    edit(original, archive={"sha256": digest(claimed_limits), "size": 1, "files": 1})
    assert "--archive-limits" in lab.refusal(original, "--archive-limits", f"{BOMB},1g")


@pytest.mark.parametrize(
    "fields",
    [
        {"launcher": '"; touch MARK; "', "argv": ['"; touch MARK; "']},
        {"launcher": "../train.py"},
        {"githash": "--upload-pack=touch MARK"},
        {"cwd": "../../.."},
        {"import_paths": ["x\nimport os; os.system('touch MARK')"]},
        {"reprorun": {"schema": 99}},
    ],
)
def test_records_that_mean_harm(lab: Lab, fields: dict[str, Any]) -> None:
    lab.write({"train.py": "print('hello')\n"})
    lab.commit()
    original = lab.first()
    mark = lab.elsewhere / "mark"
    edit(original, **json.loads(json.dumps(fields).replace("MARK", str(mark))))
    assert lab.refusal(original)
    assert not mark.exists()


def test_what_is_kept_is_not_trusted_to_the_host(lab: Lab) -> None:
    """Text for a shell and a Dockerfile stays text; pickles stay closed."""
    lab.write({"train.py": "import sys\nprint(sys.argv[1:])\n"})
    lab.commit()
    words = ['"; touch /log/mark; "', "$(touch /log/mark)", "\nRUN touch /log/mark\n", "%s{0}"]
    original = lab.first("train.py", *words)
    mark = lab.elsewhere / "mark"
    for name in ("params.pkl", "args_data.b64", "snapshot.pkl", "sitecustomize.py"):
        (original / name).write_bytes(_bomb(mark))
    done = lab.rerun(original)
    assert (done.code, done.out) == (0, f"{words}\n"), done.err
    for command in ("show", "compare"):
        second = () if command == "show" else (str(done.log_dir),)
        lab.reprorun(command, str(original), *second, cwd=str(lab.elsewhere))
    assert not mark.exists()
    assert not (done.log_dir / "mark").exists()


class _Leaves:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def _bomb(mark: Path) -> bytes:
    """A pickle that leaves a mark where it is loaded, and Python that leaves one when imported."""
    data = pickle.dumps(_Leaves(mark))
    assert str(mark).encode() in data
    return data


def test_no_record(lab: Lab, tmp_path: Path) -> None:
    nowhere = lab.reprorun("rerun", "nowhere", cwd=str(lab.elsewhere))
    assert "no such record" in one_message(nowhere.err)
    (lab.elsewhere / "empty").mkdir()
    empty = lab.reprorun("rerun", "empty", cwd=str(lab.elsewhere))
    assert "run.json" in one_message(empty.err)
    lab.write({"train.py": "print('hello')\n"})
    lab.commit()
    original = lab.exec("train.py", flags=["--engine", "local"])
    assert original.code == 0, original.err
    assert "without a container" in lab.refusal(original.log_dir)


# ---------------------------------------------------------------- how it is asked for


def test_a_dry_run_and_json(lab: Lab) -> None:
    lab.project()
    original = lab.first("train.py", "5")
    state = on_engine(lab)
    done = lab.rerun(original, "--dry-run", "--", "6")
    assert done.code == 0, done.err
    dockerfile = (original / "Dockerfile").read_text()
    assert done.out.startswith(dockerfile.split("FROM")[0])
    assert f"FROM {BASE} AS environment" in done.out
    assert done.out.rstrip().endswith("IMAGE python train.py 6")
    assert "arguments: train.py 5 -> train.py 6" in done.err
    done = lab.rerun(original, "--dry-run", "--json", "--base-image", OLD_BASE)
    assert f"FROM {OLD_BASE} AS" in json.loads(done.out)["dockerfile"]
    assert on_engine(lab) == state
    assert [path.name for path in lab.records.iterdir() if any(path.iterdir())] == [original.name]

    done = lab.rerun(original, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads((done.log_dir / "run.json").read_text())
    assert "seed 5 lr 0.5" in done.err


def test_an_interrupt(lab: Lab) -> None:
    lab.write({"train.py": WAITS})
    lab.commit()
    process, original = lab.start("train.py")
    until_ready(process)
    process.send_signal(signal.SIGINT)
    assert finish(process, original).code == 130
    before = snapshot(original)
    log_dir = lab.new_log_dir()
    words = (REPRORUN, "rerun", "--log-dir", str(log_dir), str(original))
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, cwd=lab.elsewhere, env=lab.env, **pipes)  # type: ignore[call-overload]
    until_ready(process)
    process.send_signal(signal.SIGINT)
    done = finish(process, log_dir)
    assert (done.code, done.out) == (130, "cleaned\n")
    assert (done.record.status, done.record.exit_code) == ("interrupted", 130)
    assert done.record.rerun_of == store.read_record(str(original)).id
    assert (log_dir / "outputs/left.txt").read_text() == "cleaned up"
    assert containers_of(done.record.id) == []
    assert snapshot(original) == before


def test_somebody_elses_record_that_can_only_be_read(lab: Lab, user_bench: Bench) -> None:
    lab.write({"train.py": "import os\nopen('out.txt', 'w').write(str(os.getuid()))\n"})
    lab.commit()
    original = lab.first()
    theirs = user_bench.root / "theirs"
    shutil.copytree(original, theirs)
    for path in (theirs, *theirs.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(theirs)
    log_dir = user_bench.new_log_dir()
    words = ("rerun", "--log-dir", str(log_dir), str(theirs))
    done = user_bench.reprorun(*words, log_dir=log_dir)
    assert done.code == 0, done.err
    assert (log_dir / "outputs/out.txt").read_text() == str(user_bench.user.uid)
    assert {path.stat().st_uid for path in log_dir.rglob("*")} == {user_bench.user.uid}
    assert snapshot(theirs) == before


# ---------------------------------------------------------------- system packages, Dockerfiles


def test_a_dockerfile_of_the_projects_own(lab: Lab) -> None:
    text = f"FROM {BASE}\nCOPY data.txt /data/\nENV OWN=yes\n"
    lab.write({"train.py": "import os\nprint(os.environ['OWN'])\n", "data.txt": "1\n"})
    lab.write({"Dockerfile": text})
    lab.commit()
    original = lab.first("train.py", flags=("--file", "Dockerfile"))
    found = store.read_record(str(original)).base_image
    assert found is not None
    try:
        assert lab.again(original).differences == ()
        assert "Dockerfile" in lab.refusal(original, "--python", "3.9")
        other = lab.rerun(original, "--base-image", BASE)
        assert "KeyError: 'OWN'" in other.err
        assert "base image" in differing(other.record)
    finally:
        _remove_images(original, found.id)


def test_a_dockerfile_of_the_record_is_built_with_rebuild_alone(lab: Lab) -> None:
    """Also one that was named by an absolute path."""
    text = f"FROM {BASE}\nENV OWN={lab.elsewhere.name}\n"  # comes out the same each time
    lab.write({"train.py": "import os\nprint(os.environ['OWN'])\n", "docker/Dockerfile": text})
    lab.commit()
    original = lab.first("train.py", flags=("--file", str(lab.root / "docker/Dockerfile")))
    found = store.read_record(str(original)).base_image
    assert found is not None
    assert found.dockerfile == "docker/Dockerfile"
    _remove_images(original, found.id)
    try:
        for words in ((), ("--allow-newer",)):
            assert "--rebuild" in lab.refusal(original, *words, code=125)
        packed = lab.reprorun("pack", str(original), "-o", str(lab.elsewhere / "x.rrpack"))
        assert packed.code == 125
        assert "--rebuild" in packed.err
        assert lab.again(original, "--rebuild").differences == ()
        assert lab.again(original).differences == ()  # it is there now
    finally:
        _remove_images(original, found.ref)


def _remove_images(original: Path, base_id: str) -> None:
    """What is made from a base image that the test made goes before it."""
    record = store.read_record(str(original))
    forget(record)
    with client() as engine:
        engine.images.remove(base_id, force=True)
