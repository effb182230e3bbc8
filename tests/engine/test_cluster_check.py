"""`check --on ray`: many records on several nodes, and nodes that have nothing, or leave."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.cluster.ray_check import check_on_ray
from reprorun.model import Changes
from reprorun.workflow.check import CheckOptions, RecordCheck
from reprorun.workflow.report import Silent
from reprorun.workflow.restore import base_tag

from ..kit import BASE
from .bench import REPRORUN, Bench, one_message
from .conftest import Session
from .ray_lab import Lab, a_lab, beside, containers, reach, scratch, until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")

SCRIPT = """
import os, sys, time
time.sleep(float(os.environ.get("NAP", 0)))
open("result.txt", "w").write(sys.argv[1])
if sys.argv[1] == "chance":
    open("chance.txt", "w").write(os.urandom(8).hex())
"""


@pytest.fixture(scope="module")
def lab(session: Session) -> Iterator[Lab]:
    """A head alone: each test adds the nodes that it needs."""
    with a_lab(session) as made:
        yield made


@pytest.fixture
def project(bench: Bench, lab: Lab) -> Bench:
    bench.write({"train.py": SCRIPT})
    bench.commit()
    return bench


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    return place


class Checks:
    """Checks records in this process, and remembers what it was told."""

    def __init__(self, lab: Lab, cwd: Path) -> None:
        self.notes: list[str] = []
        self.results: list[RecordCheck] = []
        self._address = lab.cluster.address
        self._cwd = cwd

    def run(self, *records: Path | str, **changes: Any) -> dict[str, RecordCheck]:
        """What is said of each, by the record as it was named."""
        options = CheckOptions(changes=Changes(**{"usual_base": BASE, **changes}), blame=False)
        named = [str(record) for record in records]
        for each in check_on_ray(
            named,
            options,
            str(self._cwd),
            lambda _: Silent(),
            self.notes.append,
            address=self._address,
        ):
            self.results.append(each)
        assert Counter(each.record for each in self.results) == Counter(named)  # each once
        return {each.record: each for each in self.results}


@pytest.fixture
def checks(lab: Lab, elsewhere: Path) -> Checks:
    return Checks(lab, elsewhere)


def made(project: Bench, word: str = "good", *flags: str) -> Path:
    """A record."""
    done = project.exec("train.py", word, flags=flags)
    assert done.code == 0, done.err
    return done.log_dir


def copies(record: Path, number: int, place: Path) -> list[Path]:
    """The same run under other names, each with an id of its own."""
    found = [place / f"copy-{n:03d}" for n in range(number)]
    for n, path in enumerate(found):
        shutil.copytree(record, path, copy_function=os.link, symlinks=True)
        text = json.loads((path / store.RUN_FILE).read_text())
        (path / store.RUN_FILE).unlink()
        text["id"] = f"{text['id'][:-4]}{n:04x}"
        (path / store.RUN_FILE).write_text(json.dumps(text))
    return found


# ---------------------------------------------------------------- verdicts


def test_records_are_checked(project: Bench, lab: Lab, checks: Checks, elsewhere: Path) -> None:
    paths = [made(project, word) for word in ("good", "chance", "good")]
    records = [os.path.relpath(path, elsewhere) for path in paths]
    with lab.node(2):
        results = checks.run(*records, "../nowhere")
    assert [results[record].verdict for record in records] == [
        "identical",
        "different",
        "identical",
    ]
    (repeat,) = results[records[1]].repeats
    assert repeat.log_dir == str(elsewhere / "data/local/check" / paths[1].name)
    assert (Path(repeat.log_dir) / "outputs/chance.txt").is_file()
    again, first = store.read_record(repeat.log_dir), store.read_record(str(paths[1]))
    assert again.rerun_of == first.id
    assert os.listdir(elsewhere / "data/local/check") == [paths[1].name]
    assert results["../nowhere"].verdict == "error"
    assert "nowhere" in (results["../nowhere"].error or "")
    assert not containers()


# ---------------------------------------------------------------- images

NOWHERE = "https://index.example.invalid/simple"


def test_images_are_brought_to_a_node_that_has_nothing(
    project: Bench, lab: Lab, checks: Checks, tmp_path: Path
) -> None:
    """No image, no cache, no package index: the node has what this machine gives it."""
    project.write({"requirements.txt": "six==1.16.0\n", "train.py": f"import six\n{SCRIPT}"})
    project.commit()
    record = made(project)
    base = store.read_record(str(record)).base_image
    assert base is not None
    variables = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_DEFAULT_INDEX": NOWHERE,
    }
    with lab.node_apart(2, **variables) as address:
        results = checks.run(*copies(record, 3, tmp_path))
        assert {each.verdict for each in results.values()} == {"identical"}, results
        with reach(address) as there:
            tags = [tag for image in there.images.list() for tag in image.tags]
        assert sum(tag.startswith("reprorun/environment:") for tag in tags) == 1
        assert base_tag(base.digest) in tags
        assert list((tmp_path / "cache").rglob("*.whl")) == []
        assert containers(address) == []


def test_what_nobody_has_is_named(project: Bench, lab: Lab, checks: Checks, tmp_path: Path) -> None:
    record = made(project)
    text = json.loads((record / store.RUN_FILE).read_text())
    text["base_image"].update(
        ref="registry.example.invalid/lost:1", id="sha256:" + "0" * 64, digest="sha256:" + "1" * 64
    )
    (record / store.RUN_FILE).write_text(json.dumps(text))
    with lab.node_apart(2):
        (result,) = checks.run(record, offline=True).values()
    assert (result.verdict, result.exit_code) == ("error", 125)
    assert "on node" in (result.error or "")
    assert "the base image registry.example.invalid/lost:1" in (result.error or "")


# ---------------------------------------------------------------- many, and nodes that leave


@pytest.mark.parametrize("number", [12, pytest.param(200, marks=pytest.mark.long)])
def test_many_records_on_nodes_of_which_one_dies(
    project: Bench, lab: Lab, checks: Checks, tmp_path: Path, number: int
) -> None:
    records = copies(made(project), number, tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with lab.node(1), lab.node(1) as dying, lab.node(1):
        enough = max(2, number // 4)
        killer = beside(
            lambda: until(lambda: len(checks.results) >= enough, "some verdicts", 600),
            lambda: lab.kill(dying),
        )
        results = checks.run(*records)
        killer.join()
    took = time.monotonic() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{number} records checked in {took:.1f} s; this process has grown by {grown:.0f} MiB")
    assert {each.verdict for each in results.values()} == {"identical"}
    assert grown < 100
    until(lambda: not containers(), "no containers")
    # what a worker leaves that is killed before anything watches over it, the next command removes
    until(lambda: project.reprorun("recover").code == 0 and not scratch(), "no scratch directories")


LONG = 180.0  # seconds
GONE = "no node of the cluster is left that could take a run: waiting for one"
BACK = "going on: the cluster has 1 node again"


def test_all_nodes_leave_during_a_check(
    project: Bench, lab: Lab, checks: Checks, tmp_path: Path
) -> None:
    records = copies(made(project, "good", "-e", "NAP=1"), 4, tmp_path)
    found: list[dict[str, RecordCheck]] = []
    with lab.node(1) as only:
        thread = beside(lambda: found.append(checks.run(*records)))
        until(lambda: checks.results, "a verdict", LONG)
        lab.cluster.remove_node(only, allow_graceful=False)
        until(lambda: checks.notes, "a note")
    with lab.node(1):
        thread.join(LONG)
    (results,) = found
    assert {each.verdict for each in results.values()} == {"identical"}
    assert checks.notes == [GONE, BACK]


def test_all_nodes_leave_during_a_sweep(project: Bench, lab: Lab) -> None:
    directory = project.records / "s"
    on_ray = ("--on", "ray", "--address", lab.cluster.address)
    flags = (*on_ray, "--log-dir", str(directory), "--grid", "n=0..3", "-e", "NAP=2")
    words = [REPRORUN, "sweep", *flags, "train.py", "--", "w{n}"]
    said = project.records / "said"
    with said.open("w") as file, lab.node(1) as only:
        sweep = subprocess.Popen(
            words, cwd=project.root, env=project.env, stdout=subprocess.PIPE, stderr=file
        )
        until(lambda: list(directory.glob("*/run.json")), "a record", LONG)
        lab.cluster.remove_node(only, allow_graceful=False)
        until(lambda: GONE in said.read_text(), "a note", LONG)
    with lab.node(1):
        out, _ = sweep.communicate(timeout=LONG)
    assert sweep.returncode == 0, said.read_text()
    assert out.decode().splitlines()[0] == "4 runs: 4 finished"
    notes = [line for line in said.read_text().splitlines() if line.startswith("note")]
    assert notes == [f"note      {GONE}", f"note      {BACK}"]


def test_a_registry_that_is_not_there(project: Bench, lab: Lab) -> None:
    record = made(project)
    with lab.node(1):
        words = ("--on", "ray", "--address", lab.cluster.address)
        done = project.reprorun("check", *words, "--registry", "127.0.0.1:1/runs", str(record))
    assert done.code == 125, done.out
    assert "127.0.0.1:1/runs could not be pushed" in one_message(done.err)
    refused = project.reprorun("check", "--registry", "127.0.0.1:1/runs", str(record))
    assert refused.code == 2
    assert "--registry is for --on ray" in one_message(refused.err)
