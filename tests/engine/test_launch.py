"""`run_experiment` from Python, as a launcher script uses it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.model import Record

from ..kit import BASE
from .bench import OLD_BASE, Bench, Done, client, sha256
from .complete import assert_complete
from .proxy import proxy

LARGE = bytes(range(256)) * 2000
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
Launch = Callable[..., Done]


@pytest.fixture
def launch(bench: Bench) -> Launch:
    """Runs one of the launchers of tests/projects/launcher."""
    bench.take("launcher")
    bench.commit()

    def run(name: str, *words: str, **env: str) -> Done:
        return bench.python("launch.py", name, *words, **env)

    return run


def of(done: Done, *names: str) -> list[tuple[Path, Record, Any]]:
    """Directory, record and result of runs by their names below data/local/experiment."""
    directories = [done.log_dir / "data/local/experiment" / name for name in names]
    return [(d, store.read_record(str(d)), result_of(d)) for d in directories]


def result_of(directory: Path) -> Any:
    return json.loads((directory / "result.json").read_bytes())


def test_the_launcher_runs_what_the_base_image_has() -> None:
    with client() as engine:
        said = engine.containers.run(
            BASE,
            ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            remove=True,
            labels={"reprorun": "test"},
        )
    assert said.decode().strip() == VERSION, "these tests pickle: REPRORUN_TEST_BASE has to match"


def test_a_closure_with_a_variant(launch: Launch, bench: Bench) -> None:
    done = launch("closure")
    assert done.code == 0, done.err
    (log_dir,) = (bench.root / "data/local/my-prefix").iterdir()
    assert log_dir.name.startswith("my_prefix_20")
    assert log_dir.name.endswith("_0001")
    record = assert_complete(done._replace(log_dir=log_dir), bench, "launch.py")

    command, printed = done.out.splitlines()
    assert command.startswith("python -m reprorun.experiment_wrapper  --")
    assert record.command == ("sh", "-c", command)
    assert printed == "the product is 42"
    assert (log_dir / "console.log").read_text() == "the product is 42\n"
    assert result_of(log_dir) == {
        "product": 42,
        "resume": ["an old run", "last"],
        "mode": "gap",
        "gap": 5,
    }
    assert (log_dir / "outputs/in-the-tree.txt").read_text() == "42"
    variant = json.loads((log_dir / "variant.json").read_bytes())
    assert variant == {"exp_name": log_dir.name, "x": 14}
    params = json.loads((log_dir / "params.json").read_bytes())
    assert (params["seed"], params["snapshot_mode"]) == (7, "gap")
    assert record.environment["GREETING"] == "it's $HOME"
    lock = (log_dir / "requirements.lock").read_text()
    assert "cloudpickle==" in lock


def test_batch_tasks_run_one_after_the_other(launch: Launch, bench: Bench) -> None:
    done = launch("batch")
    assert done.code == 0, done.err
    names = sorted(path.name for path in (bench.root / "data/local/experiment").iterdir())
    assert len(names) == 2
    (_, first, one), (_, second, two) = of(done, *names)
    assert one == {"variant": {"exp_name": names[0], "x": 1}, "greeting": "hello"}
    assert two == {"variant": {"exp_name": "named", "x": 2}, "greeting": "hello"}
    assert (first.status, second.status) == ("finished", "finished")
    assert first.ended is not None
    assert first.ended < second.created


def test_force_cpu_hides_the_gpus(launch: Launch) -> None:
    done = launch("cpu")
    assert done.code == 0, done.err
    ((_, record, result),) = of(done, "cpu")
    assert result == {"CUDA_VISIBLE_DEVICES": "-1", "REPRORUN_FORCE_CPU": "True"}
    assert record.runtime == "cpu"


def test_a_payload_too_large_for_a_command_line(launch: Launch) -> None:
    done = launch("large")
    assert done.code == 0, done.err
    ((log_dir, record, result),) = of(done, "large")
    assert result["digests"] == [sha256(LARGE), sha256(LARGE[::-1])]
    for name in ("args_data.b64", "variant_data.b64"):
        assert (log_dir / name).stat().st_size > 128 << 10
    assert len(record.command[-1]) < 1000
    assert [output.path for output in record.outputs] == ["params.json", "result.json"]


def test_a_failing_experiment_raises_its_code(launch: Launch, bench: Bench) -> None:
    done = launch("failing")
    assert (done.code, done.out.splitlines()[-1]) == (0, "raised with 7"), done.err
    record = store.read_record(str(bench.root / "data/local/experiment/failing"))
    assert (record.status, record.exit_code) == ("failed", 7)
    assert record.reason == "ended with exit code 7"


def test_dry_prints_and_starts_nothing(launch: Launch, bench: Bench, tmp_path: Path) -> None:
    with proxy(tmp_path) as watched:
        done = launch("dry", DOCKER_HOST=watched.address)
    assert done.code == 0, done.err
    assert done.out.startswith("python -m reprorun.experiment_wrapper ")
    assert "--exp_name dry" in done.out
    assert watched.requests == []
    assert not (bench.root / "data").exists()


def test_another_script_and_python_command(launch: Launch) -> None:
    done = launch("own")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == (
        "my own wrapper got --args_data --exp_name --log_dir --variant_data ['error']"
    )


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_the_local_engine_says_so(launch: Launch, bench: Bench, tmp_path: Path, how: str) -> None:
    with proxy(tmp_path) as watched:
        address = {"DOCKER_HOST": watched.address}
        if how == "argument":
            done = launch("local", "engine=local", **address)
        else:
            done = launch("local", REPRORUN_ENGINE="local", **address)
    assert done.code == 0, done.err
    assert watched.requests == []
    assert done.out.splitlines()[-1] == "without a container"
    ((log_dir, record, result),) = of(done, "local")
    assert result["cwd"] == str(bench.root.resolve())
    assert result["variant"] == {"exp_name": "local", "x": 1}
    assert record.isolated is False
    assert record.engine is not None
    assert record.engine.name == "local"
    assert (record.status, record.exit_code) == ("finished", 0)
    assert any("without a container" in note for note in record.notes)
    assert (log_dir / "console.log").read_bytes() == b"without a container\n"
    assert result["prefix"].startswith(bench.env["XDG_CACHE_HOME"])  # no package of the host's
    assert [package.name for package in record.packages] == ["cloudpickle"]
    assert "cloudpickle==" in (log_dir / "requirements.lock").read_text()
    assert not any("python_command" in note for note in record.notes)
    assert record.archive is not None
    assert record.archive.sha256 == sha256((log_dir / store.ARCHIVE_FILE).read_bytes())


def test_local_runs_all_that_a_container_runs(launch: Launch, bench: Bench) -> None:
    """Payloads in files, hidden GPUs, a script and a Python command of its own, exit codes."""
    local = {"REPRORUN_ENGINE": "local"}
    for name in ("cpu", "large", "own", "failing"):
        done = launch(name, **local)
        assert done.code == 0, done.err
        if name == "own":
            assert "my own wrapper got --args_data" in done.out
        if name == "failing":
            assert done.out.splitlines()[-1] == "raised with 7"
    found = of(launch("dry"), "cpu", "large")
    assert found[0][2] == {"CUDA_VISIBLE_DEVICES": "-1", "REPRORUN_FORCE_CPU": "True"}
    assert found[1][2]["digests"] == [sha256(LARGE), sha256(LARGE[::-1])]
    assert {record.isolated for _, record, _ in found} == {False}
    failed = store.read_record(str(bench.root / "data/local/experiment/failing"))
    assert (failed.status, failed.exit_code) == ("failed", 7)


def test_local_on_another_python_says_so(launch: Launch) -> None:
    done = launch("elsewhere")
    assert done.code == 0, done.err
    ((_, record, result),) = of(done, "elsewhere")
    assert result["prefix"] == sys.prefix
    (note,) = [note for note in record.notes if "python_command" in note]
    assert f"is the Python of {sys.prefix}: its packages are not the lock's" in note
    assert note in done.err


def test_the_engine_of_the_project(launch: Launch, bench: Bench) -> None:
    bench.write({"pyproject.toml": '[tool.reprorun]\nengine = "podman"\n'})
    done = launch("closure")
    assert done.code == 1
    assert "podman" in done.err.strip().splitlines()[-2] + done.err.strip().splitlines()[-1]
    assert not (bench.root / "data").exists()


def test_an_engine_that_nobody_knows(launch: Launch) -> None:
    done = launch("closure", REPRORUN_ENGINE="dokcer")
    assert done.code == 1
    assert "ValueError: engine 'dokcer' is none of docker, podman, local" in done.err


def test_inside_a_container_it_starts_a_process(launch: Launch, bench: Bench) -> None:
    done = bench.exec("launch.py", "closure")
    record = assert_complete(done, bench, "launch.py")
    assert "the product is 42" in done.out
    (name,) = record.sub_records
    assert result_of(done.log_dir / name)["product"] == 42
    variant = json.loads((done.log_dir / name / "variant.json").read_bytes())
    assert variant == {"exp_name": name, "x": 14}
    assert (done.log_dir / "outputs/in-the-tree.txt").read_text() == "42"
    assert record.isolated


def test_a_pickle_does_not_move_to_another_python(launch: Launch, bench: Bench) -> None:
    done = launch("closure", REPRORUN_BASE_IMAGE=OLD_BASE)
    assert done.code == 1
    last = done.err.strip().splitlines()[-1]
    assert f"the function was pickled by Python {VERSION}" in last
    assert OLD_BASE in last
    assert not (bench.root / "data").exists()


def test_without_a_script_there_is_nothing_to_archive(bench: Bench) -> None:
    code = "from reprorun import run_experiment; run_experiment(print, exp_name='x')"
    done = bench.python("-c", code)
    assert done.code == 1
    assert "run_experiment archives the script that calls it" in done.err
    assert not (bench.root / "data").exists()
