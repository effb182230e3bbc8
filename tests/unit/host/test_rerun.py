"""`rerun` on the fake engine: what stays as it was, what changes, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.engine.fake import FakeProcess
from reprorun.errors import EngineError, ImageMissing, RecordError, ReprorunError, UsageError
from reprorun.files import sha256_of
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, ContainerSpec, Gpus, Image, Limits, RunSpec
from reprorun.workflow.exec import Finished, execute
from reprorun.workflow.rerun import dry_rerun, rerun
from tests import garage_zoo

from ..conftest import git
from .test_exec import Bench

LARGE = 8 << 20  # bytes


class Again(Bench):
    """Runs records again, in a directory that is not the repository."""

    def __init__(self, root: Path, elsewhere: Path) -> None:
        super().__init__(root, _program)
        self.created: list[ContainerSpec] = []
        create = self.engine.create

        def remembering(spec: ContainerSpec) -> str:
            if spec.entrypoint is None:  # else it is asked for its Python
                self.created.append(spec)
            return create(spec)

        self.engine.create = remembering  # type: ignore[method-assign]
        self.elsewhere = elsewhere
        elsewhere.mkdir()

    def first(self, script: str = "train.py", **fields: Any) -> str:
        """A record made by a run; its directory."""
        return self.run(script, **fields).log_dir

    def rerun(self, record: str, bounds: ArchiveLimits | None = None, /, **fields: Any) -> Finished:
        return rerun(
            record,
            Changes(**fields),
            str(self.elsewhere),
            bounds or ArchiveLimits(),
            lambda: self.engine,
            self.told,
        )

    def refusal(self, record: str, **fields: Any) -> str:
        """Why a record is not run again; nothing is written or made for it."""
        images, before = dict(self.engine.images), _content(Path(record))
        with pytest.raises(ReprorunError) as caught:
            self.rerun(record, **fields)
        assert list(self.elsewhere.iterdir()) == []
        assert self.engine.images == images
        if os.path.isdir(record):
            assert _content(Path(record)) == before
        return str(caught.value)


def _program(process: FakeProcess) -> int:
    process.write("result.txt", json.dumps(process.spec.env, sort_keys=True).encode())
    return 0


def _content(directory: Path) -> dict[str, str]:
    """Every file with the digest of what it holds."""
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): sha256_of(str(path)) for path in found}


@pytest.fixture
def bench(repository: Any, tmp_path: Path) -> Again:
    root = repository({"train.py": "print('hello')\n", "sub/other.py": "A = 1\n"})
    return Again(root, tmp_path / "elsewhere")


def make_archive_record(root: Path, place: Path) -> Path:
    """A record as garage writes them, of a repository as it is now."""
    place.mkdir()
    (place / "metadata.json").write_text('{"launcher": "train.py"}')
    garage_zoo.make_archive(root, place)
    return place


def edit(record: str, **fields: Any) -> None:
    """Change what run.json says."""
    path = Path(record, store.RUN_FILE)
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def differing(finished: Finished) -> dict[str, tuple[str, str]]:
    return {each.what: (each.original, each.now) for each in finished.record.differences}


# ---------------------------------------------------------------- as it was


def test_everything_is_as_it_was(bench: Again) -> None:
    data = bench.root / "data.csv"
    data.write_text("1,2\n")
    original = bench.first(
        args=("--lr", "0.1"),
        env={"MODE": "fast"},
        params={},
        inputs=("data.csv",),
        network="bridge",
        limits=Limits(memory=1 << 30, cpus=1.5, timeout=60),
        gpus=Gpus(kind="none"),
    )
    before = _content(Path(original))
    first = bench.created[-1]
    shutil.move(bench.root / ".git", bench.root / "gone")  # nobody looks at the repository
    (bench.root / "train.py").write_text("changed\n")
    finished = bench.rerun(original)
    second = bench.created[-1]

    was, now = store.read_record(original), finished.record
    assert now.rerun_of == was.id != now.id
    assert now.differences == ()
    assert finished.log_dir == str(bench.elsewhere / "data/local/experiment/train")
    assert _content(Path(original)) == before
    assert (first.image, first.command, first.limits) == (
        second.image,
        second.command,
        second.limits,
    )
    assert (first.network, first.workdir, first.user) == (
        second.network,
        second.workdir,
        second.user,
    )
    assert first.env == second.env
    assert first.mounts[2:] == second.mounts[2:]
    assert first.mounts[0] != second.mounts[0]  # the log directory
    for name in ("launch_archive.tar.xz", "metadata.json", "variant.json", "requirements.lock"):
        assert Path(finished.log_dir, name).read_bytes() == Path(original, name).read_bytes()
    same = ("argv", "cwd", "command", "githash", "dirty", "launcher", "archive", "packages")
    same += ("environment_digest", "base_image", "image", "inputs", "limits", "network", "params")
    for field in same:
        assert getattr(now, field) == getattr(was, field), field
    assert now.created > was.created


def test_a_rerun_can_be_run_again(bench: Again) -> None:
    first = bench.first()
    second = bench.rerun(first)
    third = bench.rerun(second.log_dir)
    assert third.record.rerun_of == second.record.id
    assert third.record.differences == ()


def test_the_working_directory_and_uncommitted_changes(bench: Again) -> None:
    (bench.root / "train.py").write_text("print('dirty')\n")
    spec = bench.spec("../train.py")
    spec = replace(spec, cwd=str(bench.root / "sub"))
    original = execute(spec, lambda: bench.engine, bench.told).log_dir
    finished = bench.rerun(original)
    assert finished.record.cwd == "sub"
    assert finished.record.dirty
    assert finished.record.githash
    assert finished.record.githash.endswith("-dirty")
    assert bench.created[-1].workdir == "/workspace/sub"


def test_outside_git(tmp_path: Path) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    (place / "train.py").write_text("print(1)\n")
    bench = Again(place, tmp_path / "elsewhere")
    original = bench.first()
    finished = bench.rerun(original)
    metadata = json.loads(Path(finished.log_dir, "metadata.json").read_text())
    assert metadata == {"launcher": str(place / "train.py")}
    assert finished.record.differences == ()


def test_an_experiment_that_fails_again(bench: Again) -> None:
    original = bench.first()
    bench.engine.programs["python"] = lambda process: 3
    finished = bench.rerun(original)
    assert (finished.exit_code, finished.record.status) == (3, "failed")
    assert finished.record.rerun_of


def test_the_name_of_the_new_record(bench: Again) -> None:
    original = bench.first(name="mine")
    assert bench.rerun(original).log_dir.endswith("data/local/experiment/mine")
    assert bench.rerun(original).log_dir.endswith("data/local/experiment/mine_1")
    assert bench.rerun(original, name="other").log_dir.endswith("data/local/experiment/other")
    assert bench.rerun(original, log_dir="x/y").log_dir == str(bench.elsewhere / "x/y")


def test_what_a_function_was_given_goes_along(bench: Again) -> None:
    payloads = {"args_data.b64": b"cGlja2xl"}
    command = ("sh", "-c", "exit 0")
    original = bench.first(payloads=payloads, command=command)
    finished = bench.rerun(original)
    assert finished.record.command == command
    assert Path(finished.log_dir, "args_data.b64").read_bytes() == b"cGlja2xl"
    assert [payload.path for payload in finished.record.payloads] == ["args_data.b64"]


# ---------------------------------------------------------------- one thing otherwise


@pytest.mark.parametrize(
    ("fields", "what", "pair"),
    [
        ({"args": ("c",)}, "arguments", ("train.py a", "train.py c")),
        ({"params": {"lr": 2}}, "parameters: lr", ("-", "2")),
        ({"env": {"MODE": "slow"}}, "variables: MODE", ("fast", "slow")),
        ({"network": "host"}, "network", ("none", "host")),
        ({"limits": {"memory": 1 << 20}}, "limits: memory", ("-", "1048576")),
    ],
)
def test_one_thing_is_changed_and_said(
    bench: Again, fields: dict[str, Any], what: str, pair: tuple[str, str]
) -> None:
    original = bench.first(args=("a",), env={"MODE": "fast"})
    finished = bench.rerun(original, **fields)
    assert differing(finished) == {what: pair}
    assert all(each.wanted for each in finished.record.differences)
    assert "differs" in bench.told.steps
    assert bench.told.steps.index("differs") < len(bench.told.steps) - 1


def test_another_engine_is_told_unasked(bench: Again) -> None:
    original = bench.first()
    edit(original, engine={"name": "docker", "version": "19.0", "api_version": "1.40"})
    finished = bench.rerun(original)
    (difference,) = finished.record.differences
    assert (difference.what, difference.original) == ("engine", "docker 19.0")
    assert not difference.wanted


def test_another_base_image(bench: Again) -> None:
    original = bench.first()
    other = Image(id="sha256:other", layers=("sha256:l2",), env=("PATH=/bin",), machine="x86_64")
    bench.engine.images["base:2"] = other
    finished = bench.rerun(original, base_image="base:2")
    assert set(differing(finished)) == {"base image"}
    assert finished.record.base_image
    assert finished.record.base_image.ref == "base:2"
    assert all(each.wanted for each in finished.record.differences)


def test_more_inputs(bench: Again) -> None:
    original = bench.first()
    (bench.elsewhere / "more.csv").write_text("3\n")
    finished = bench.rerun(original, inputs=("more.csv",))
    path = str(bench.elsewhere / "more.csv")
    assert [entry.target for entry in finished.record.inputs] == [path]
    assert set(differing(finished)) == {f"inputs: {path}"}


def test_secrets_have_to_be_given_again(bench: Again) -> None:
    original = bench.first(env={"API_TOKEN": "hunter2", "MODE": "x"})
    message = bench.refusal(original)
    assert "API_TOKEN" in message
    assert "-e API_TOKEN" in message
    finished = bench.rerun(original, env={"API_TOKEN": "hunter3"})
    assert differing(finished) == {"variables: API_TOKEN": ("<redacted>", "given anew")}
    assert bench.created[-1].env["API_TOKEN"] == "hunter3"
    assert "hunter3" not in Path(finished.log_dir, store.RUN_FILE).read_text()


def test_arguments_for_what_takes_none(bench: Again) -> None:
    original = bench.first(command=("sh", "-c", "exit 0"))
    assert "no parameters" in bench.refusal(original, params={"lr": 1})
    assert "takes no arguments" in bench.refusal(original, args=("x",))


def test_the_network_of_the_host_has_to_be_asked_for_again(bench: Again) -> None:
    original = bench.first(network="host")
    assert "--network host" in bench.refusal(original)
    assert bench.rerun(original, network="host").record.differences == ()
    bench.told.notes.clear()
    bench.rerun(bench.first(network="bridge"))
    assert [note for note in bench.told.notes if "has the network (bridge)" in note]


# ---------------------------------------------------------------- GPUs


def test_a_gpu_record_where_there_is_none(bench: Again) -> None:
    original = bench.first()
    host = {**json.loads(Path(original, "run.json").read_text())["host"], "gpus": ["Tesla V100"]}
    edit(original, runtime="gpu", gpus={"runtime": "nvidia", "count": -1}, host=host)
    message = bench.refusal(original)
    assert "Tesla V100" in message
    assert "--force-cpu" in message
    finished = bench.rerun(original, gpus=Gpus(kind="none"))
    assert finished.record.runtime == "cpu"
    assert {"runtime", "gpus"} <= set(differing(finished))


# ---------------------------------------------------------------- a function


def test_a_function_with_the_parameters_of_the_record(bench: Again) -> None:
    original = bench.first()
    Path(original, "variant.json").write_text('{"seed": 3, "lr": 0.5}')
    finished = bench.rerun(original, function="train", params={"lr": 1})
    file = "/log/function_data.json"
    module = "reprorun.experiment.function"
    assert finished.record.command == ("python", "-m", module, "train.py", "train", file)
    given = json.loads(Path(finished.log_dir, "function_data.json").read_text())
    assert given == {"seed": 3, "lr": 0.5}
    guest = json.loads(bench.created[-1].env["REPRORUN_GUEST"])
    assert guest["params"] == {"lr": 1}  # comes over those, as everywhere
    again = bench.rerun(finished.log_dir)
    assert again.record.differences == ()
    assert Path(again.log_dir, "function_data.json").exists()


def test_a_function_takes_no_arguments(bench: Again) -> None:
    original = bench.first(args=("a",))
    Path(original, "variant.json").write_text("{}")
    assert "takes no ARGS" in bench.refusal(original, function="train", args=("b",))
    assert bench.rerun(original, function="train").record.argv == ("train.py",)


def test_a_function_without_parameters_to_give(bench: Again) -> None:
    original = bench.first()
    for content in ("[1]", "{", '{"a": ' * 100_000):
        Path(original, "variant.json").write_text(content)
        assert "variant.json" in bench.refusal(original, function="train")
    os.unlink(Path(original, "variant.json"))
    assert "variant.json" in bench.refusal(original, function="train")


# ---------------------------------------------------------------- inputs


def large(bench: Again) -> str:
    """A record with a file too large for the archive."""
    (bench.root / "weights.bin").write_bytes(b"w" * LARGE)
    git(bench.root, "add", "-A")
    git(bench.root, "commit", "-q", "-m", "large")
    (bench.root / "in.csv").write_text("1\n")
    return bench.first(inputs=("in.csv",))


def test_inputs_are_found_elsewhere_when_unchanged(bench: Again) -> None:
    original = large(bench)
    moved = bench.elsewhere.parent / "moved"
    (moved / "deep").mkdir(parents=True)
    shutil.move(bench.root / "weights.bin", moved / "weights.bin")
    shutil.move(bench.root / "in.csv", moved / "deep/in.csv")
    message = bench.refusal(original)
    assert "2 inputs" in message
    assert "weights.bin: not found" in message
    assert "in.csv: not found" in message
    assert "--input-root" in message
    finished = bench.rerun(original, input_roots=(str(moved), str(moved / "deep")))
    assert finished.record.differences == ()
    sources = {mount.source for mount in bench.created[-1].mounts}
    assert {str(moved / "weights.bin"), str(moved / "deep/in.csv")} <= sources


def test_the_repository_has_moved_with_the_record_in_it(bench: Again, tmp_path: Path) -> None:
    original = large(bench)
    moved = tmp_path / "moved-project"
    shutil.move(bench.root, moved)
    finished = bench.rerun(str(moved / Path(original).relative_to(bench.root)))
    sources = {mount.source for mount in bench.created[-1].mounts}
    assert {str(moved / "weights.bin"), str(moved / "in.csv")} <= sources
    assert finished.record.differences == ()


def test_an_input_that_has_changed(bench: Again) -> None:
    original = large(bench)
    (bench.root / "in.csv").write_text("2\n")
    message = bench.refusal(original)
    assert "in.csv has changed" in message
    assert "weights.bin" not in message


def test_a_directory_with_more_than_files_in_it_is_no_input(bench: Again, tmp_path: Path) -> None:
    """Its digest says nothing of a socket, which would lead out of the container."""
    data = tmp_path / "data"
    data.mkdir()
    original = bench.first(inputs=(str(data),))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(data / "s"))
        assert "no digest covers" in bench.refusal(original)
    os.unlink(data / "s")
    (data / "below").mkdir()
    assert "no digest covers" in bench.refusal(original)


def test_new_inputs_bring_nothing_else_of_the_host_along(bench: Again, tmp_path: Path) -> None:
    original = large(bench)
    (bench.elsewhere / "more.csv").write_text("3\n")
    finished = bench.rerun(original, inputs=("more.csv",))
    assert {entry.target for entry in finished.record.inputs} == {
        "/workspace/weights.bin",
        "/workspace/in.csv",
        str(bench.elsewhere / "more.csv"),
    }


def test_inputs_below_a_root_appear_at_their_place_in_the_working_tree(bench: Again) -> None:
    original = bench.first()
    (bench.elsewhere / "root/data").mkdir(parents=True)
    (bench.elsewhere / "root/data/x.csv").write_text("3\n")
    finished = bench.rerun(original, inputs=("root/data/x.csv",), input_roots=("root",))
    assert [entry.target for entry in finished.record.inputs] == ["/workspace/data/x.csv"]


def test_the_new_record_may_not_lie_in_the_original(bench: Again) -> None:
    original = bench.first()
    with pytest.raises(UsageError, match="would lie in the original"):
        bench.rerun(original, log_dir=os.path.join(original, "again"))
    bench.elsewhere = Path(original)
    with pytest.raises(UsageError, match="would lie in the original"):
        bench.rerun(original)
    assert not Path(original, "data").exists()


def test_variables_of_the_host_are_not_sent_to_addresses_of_the_record(
    repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository({"train.py": "", "requirements.txt": "# nothing\n"})
    bench = Again(root, tmp_path / "elsewhere")
    monkeypatch.setenv("SECRET_OF_HOST", "hunter2")
    line = "six @ http://127.0.0.1:9/${SECRET_OF_HOST}/six-1-py3-none-any.whl\n"
    (root / "requirements.txt").write_text(line)
    record = make_archive_record(root, tmp_path / "garage")
    message = bench.refusal(str(record), usual_base="base:1")
    assert "SECRET_OF_HOST" in message
    assert "hunter2" not in message


# ---------------------------------------------------------------- from the commit


def test_from_the_commit(bench: Again) -> None:
    (bench.root / "train.py").write_text("print('dirty')\n")
    original = bench.first()
    os.unlink(Path(original, store.ARCHIVE_FILE))
    assert "--repo" in bench.refusal(original)
    finished = bench.rerun(original, repo=str(bench.root))
    commit = git(bench.root, "rev-parse", "HEAD")
    assert finished.record.githash == commit
    assert not finished.record.dirty
    assert differing(finished) == {"code": (f"archive of {commit}-dirty", f"commit {commit}")}
    with tarfile.open(Path(finished.log_dir, store.ARCHIVE_FILE)) as tar:
        content = tar.extractfile("train.py")
        assert content
        assert content.read() == b"print('hello')\n"
    assert (bench.root / "train.py").read_text() == "print('dirty')\n"


def test_large_files_of_the_commit(bench: Again) -> None:
    original = large(bench)
    os.unlink(bench.root / "weights.bin")
    finished = bench.rerun(original, repo=str(bench.root))
    assert {entry.target for entry in finished.record.inputs} == {
        "/workspace/weights.bin",
        "/workspace/in.csv",
    }


def test_a_repository_that_can_not_help(bench: Again, tmp_path: Path) -> None:
    original = bench.first()
    assert "no such directory" in bench.refusal(original, repo="nowhere")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "commit", "-q", "--allow-empty", "-m", "x")
    assert "can't be had from" in bench.refusal(original, repo=str(other))
    edit(original, githash=None)
    assert "names no commit" in bench.refusal(original, repo=str(bench.root))
    edit(original, githash="--upload-pack=touch")
    assert "can't be one" in bench.refusal(original, repo=str(bench.root))


def committed(bench: Again) -> str:
    """A record of what is in the repository now, all of it committed."""
    git(bench.root, "add", "-A")
    git(bench.root, "commit", "-q", "-m", "more")
    return bench.first()


def private(place: Path) -> Path:
    """A directory of the user's that no record may see: a repository, too."""
    (place / "src").mkdir(parents=True)
    (place / "src/train.py").write_text("")
    (place / "secret.txt").write_text("my secret\n")
    git(place, "init", "-q")
    return place


@pytest.mark.parametrize(
    ("link", "record"),
    [
        ("src", {"launcher": "link/train.py"}),
        ("src", {"cwd": "link"}),
        ("src", {"cwd": "link/made/by/a/record"}),
        ("src/train.py", {"launcher": "link"}),
        ("nowhere", {"cwd": "link"}),
    ],
)
def test_links_of_the_repository_lead_to_nothing_of_the_host(
    bench: Again, tmp_path: Path, link: str, record: dict[str, str]
) -> None:
    mine = private(tmp_path / "private")
    before = _content(mine), sorted(mine.rglob("*"))
    (bench.root / "link").symlink_to(mine / link)
    original = committed(bench)
    edit(original, **record)
    message = bench.refusal(original, repo=str(bench.root))
    assert "leads out of the repository in the commit" in message
    assert "--repo" in message
    assert (_content(mine), sorted(mine.rglob("*"))) == before


def test_links_within_the_repository_are_followed(bench: Again) -> None:
    (bench.root / "link").symlink_to("sub")
    original = committed(bench)
    edit(original, launcher="link/other.py", cwd="link", command=["python", "other.py"])
    assert bench.rerun(original, repo=str(bench.root)).record.launcher == "sub/other.py"


def test_a_launcher_in_a_submodule_is_of_another_repository(bench: Again, tmp_path: Path) -> None:
    other = private(tmp_path / "other")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "x")
    allowed = ("-c", "protocol.file.allow=always")
    git(bench.root, *allowed, "submodule", "--quiet", "add", str(other), "module")
    original = committed(bench)
    edit(original, launcher="module/src/train.py")
    assert "is in another repository" in bench.refusal(original, repo=str(bench.root))


# ---------------------------------------------------------------- a Dockerfile of its own

OTHER = Image(id="sha256:other", layers=("sha256:elsewhere",), env=("PATH=/bin",))


def with_dockerfile(bench: Again, cwd: str, name: str) -> str:
    """A record whose base image is built, not of the Dockerfile at the root; its directory."""
    bench.engine.images["other:1"] = OTHER
    (bench.root / "Dockerfile").write_text("FROM other:1\n")
    (bench.root / "sub/Dockerfile").write_text("FROM base:1\n")
    script = os.path.relpath(bench.root / "train.py", bench.root / cwd)
    spec = RunSpec(
        script=script,
        cwd=str(bench.root / cwd),
        dockerfile=name.format(root=bench.root),
        log_dir=str(bench.root / "data/local/built"),
    )
    return execute(spec, lambda: bench.engine, bench.told).log_dir


def built(record: str) -> str:
    """The base image of a record that was built for it."""
    found = store.read_record(record).base_image
    assert found
    assert found.dockerfile
    return found.ref


@pytest.mark.parametrize(
    ("cwd", "name"),
    [
        (".", "sub/Dockerfile"),
        (".", "{root}/sub/Dockerfile"),
        ("sub", "Dockerfile"),
        ("lib", "../sub/Dockerfile"),
    ],
)
def test_a_dockerfile_is_recorded_by_its_place(bench: Again, cwd: str, name: str) -> None:
    (bench.root / "lib").mkdir()
    original = with_dockerfile(bench, cwd, name)
    base = store.read_record(original).base_image
    assert base
    assert base.dockerfile == "sub/Dockerfile"
    assert bench.rerun(original).record.base_image == base
    bench.engine.remove_image(base.ref)
    assert bench.rerun(original, rebuild=True).record.base_image == base  # of base:1, not other:1


def test_a_records_own_dockerfile_is_not_built_unasked(bench: Again) -> None:
    original = with_dockerfile(bench, ".", "sub/Dockerfile")
    bench.engine.remove_image(built(original))
    bench.engine.builds.clear()
    for changes in ({}, {"allow_newer": True}, {"offline": True}):
        message = bench.refusal(original, **changes)
        assert "sub/Dockerfile" in message
        assert "--rebuild" in message
    assert bench.engine.builds == []
    bench.rerun(original, rebuild=True)
    assert built(original) in bench.engine.builds


def test_a_dockerfile_that_comes_out_otherwise(bench: Again) -> None:
    original = with_dockerfile(bench, ".", "sub/Dockerfile")
    bench.engine.remove_image(built(original))
    bench.engine.images["base:1"] = OTHER
    with pytest.raises(ImageMissing, match="--rebuild --allow-newer takes it"):
        bench.rerun(original, rebuild=True)
    finished = bench.rerun(original, rebuild=True, allow_newer=True)
    assert "base image" in differing(finished)


# ---------------------------------------------------------------- bad records


def test_a_tampered_archive(bench: Again) -> None:
    original = bench.first()
    with Path(original, store.ARCHIVE_FILE).open("ab") as file:
        file.write(b"x")
    sha256 = sha256_of(os.path.join(original, store.ARCHIVE_FILE))
    message = bench.refusal(original)
    assert sha256 in message
    assert "swapped" in message


def test_a_truncated_archive_of_a_record_that_says_so(bench: Again) -> None:
    original = bench.first()
    path = Path(original, store.ARCHIVE_FILE)
    path.write_bytes(path.read_bytes()[:-40])
    size, sha256 = path.stat().st_size, sha256_of(str(path))
    edit(original, archive={"sha256": sha256, "size": size, "files": 2})
    assert str(path) in bench.refusal(original)


def test_an_archive_above_the_limits(bench: Again) -> None:
    original = bench.first()
    with pytest.raises(RecordError, match="--archive-limits"):
        bench.rerun(original, ArchiveLimits(files=1))


def test_many_links_that_leave_are_one_note(bench: Again) -> None:
    for number in range(5):
        os.symlink("/mnt/data", bench.root / f"link-{number}")
    notes = [note for note in store.read_record(bench.first()).notes if "link-" in note]
    assert len(notes) == 1
    assert notes[0].endswith("link-0, link-1, link-2 and 2 more")


def test_links_that_the_record_names_may_leave(bench: Again) -> None:
    os.symlink("/mnt/data", bench.root / "data-link")
    original = bench.first()
    was = store.read_record(original)
    assert [entry.path for entry in was.left_out] == ["data-link"]
    assert any("data-link" in note for note in was.notes)
    assert bench.rerun(original).record.differences == ()
    shutil.rmtree(bench.elsewhere / "data")
    edit(original, left_out=[])
    assert "--allow-links" in bench.refusal(original)
    again = bench.rerun(original, allow_links=True)
    assert [entry.path for entry in again.record.left_out] == ["data-link"]
    bench.rerun(again.log_dir)  # it names the link now


@pytest.mark.parametrize(
    "fields",
    [
        {"cwd": "../../etc"},
        {"cwd": "/etc"},
        {"launcher": "../x.py"},
        {"launcher": "nowhere.py"},
        {"import_paths": ["a\nimport os"]},
        {"import_paths": ["../.."]},
        {"environment": {"A B": "1"}},
        {"environment": {"REPRORUN_GUEST": "{}"}},
        {"argv": []},
        {"isolated": False},
        {"base_image": {"ref": "../containers/x", "id": "sha256:base", "digest": "x"}},
        {"base_image": {"ref": "base:1", "id": "a/../b", "digest": "x"}},
        {"command": []},
        {"limits": {"memory": -1}},
        {"limits": {"timeout": 0}},
        {"githash": "HEAD; rm -rf /"},
        {"inputs": [{"path": "/etc/passwd", "target": "/etc/passwd", "size": 1, "sha256": "0"}]},
        {"inputs": [{"path": "/x", "target": "/workspace/../etc", "size": 1, "sha256": "0"}]},
        {"inputs": [{"path": "/x", "target": "//log", "size": 1, "sha256": "0"}]},
        {"inputs": [{"path": "/x", "target": "/data", "size": 1, "sha256": "0"}] * 2},
        {"left_out": [{"path": "/etc/passwd", "reason": "", "size": 1, "sha256": "0"}]},
        {"left_out": [{"path": "../../etc", "reason": "", "size": 1, "sha256": "0"}]},
        {"left_out": [{"path": "a/../../x", "reason": "", "size": 1, "sha256": "0"}]},
        {"submodules": [{"path": "/x", "commit": "0"}]},
        {"limits": {"pids": -1}},
        {"network": "host"},
        {"payloads": [{"path": "run.json", "size": 1, "sha256": "0"}]},
        {"payloads": [{"path": "args_data.b64", "size": 1, "sha256": "0"}]},
        {"packages": [{"name": "six\n--index-url x", "version": "1", "wheel": {
            "name": "six-1-py3-none-any.whl", "sha256": "0" * 64}}]},
        {"packages": [{"name": "six", "version": "1 --hash x", "wheel": {
            "name": "six-1-py3-none-any.whl", "sha256": "0" * 64}}]},
        {"packages": [{"name": "six", "version": "1", "address": "ext::sh -c x", "wheel": {
            "name": "six-1-py3-none-any.whl", "sha256": "0" * 64}}]},
        {"packages": [{"name": "six", "version": "1", "wheel": {
            "name": "../six-1-py3-none-any.whl", "sha256": "0" * 64}}]},
        {"reprorun": {"schema": 99}},
        {"reprorun": {"schema": "x"}},
    ],
)  # fmt: skip
def test_a_hostile_record(bench: Again, fields: dict[str, Any]) -> None:
    original = bench.first()
    edit(original, **fields)
    message = bench.refusal(original)
    assert message.count("\n") <= 3
    assert "\x1b" not in message


def test_no_record_at_all(bench: Again, tmp_path: Path) -> None:
    assert "nope" in bench.refusal("nope")
    (tmp_path / "empty").mkdir()
    assert "run.json" in bench.refusal(str(tmp_path / "empty"))
    (tmp_path / "file").write_text("text")
    assert bench.refusal(str(tmp_path / "file"))


def test_a_base_image_that_is_gone(bench: Again) -> None:
    original = bench.first()
    bench.engine.images.clear()
    with pytest.raises(ImageMissing) as caught:
        bench.rerun(original)
    assert "base:1" in str(caught.value)
    assert "--base-image" in str(caught.value)
    assert not (bench.elsewhere / "data").exists()


def test_another_image_under_the_same_name_is_not_taken(bench: Again) -> None:
    original = bench.first()
    bench.engine.images.clear()
    other = Image(id="sha256:other", layers=("sha256:l2",), env=("PATH=/bin",), machine="x86_64")
    bench.engine.images["base:1"] = other
    with pytest.raises(ImageMissing):
        bench.rerun(original)


def test_the_same_image_under_another_id_is_taken(bench: Again) -> None:
    original = bench.first()
    same = replace(bench.engine.images["base:1"], id="sha256:elsewhere")
    bench.engine.images.clear()
    bench.engine.images["base:1"] = same
    finished = bench.rerun(original)
    assert finished.record.differences == ()
    assert finished.record.base_image
    assert finished.record.base_image.id == "sha256:elsewhere"


# ---------------------------------------------------------------- a dry run


def test_a_dry_run_starts_nothing(bench: Again) -> None:
    original = bench.first(args=("a",))
    created, images = len(bench.created), dict(bench.engine.images)
    plan = dry_rerun(
        original,
        Changes(args=("b",)),
        str(bench.elsewhere),
        ArchiveLimits(),
        lambda: bench.engine,
        bench.told,
    )
    assert plan.container.command == ("python", "train.py", "b")
    assert len(bench.created) == created
    assert bench.engine.images == images
    assert list(bench.elsewhere.iterdir()) == []


def test_a_dry_run_without_an_engine(bench: Again) -> None:
    original = bench.first()

    def nobody() -> Any:
        raise EngineError("none")

    plan = dry_rerun(original, Changes(), str(bench.elsewhere), ArchiveLimits(), nobody, bench.told)
    record = store.read_record(original)
    assert plan.run_tag == record.image
