"""`run_experiment`: what it makes of its arguments. No container is started here."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from reprorun import launch, run_experiment
from reprorun.engine import Engine
from reprorun.engine.fake import FakeEngine
from reprorun.errors import BuildFailed, UsageError
from reprorun.model import Gpus, RunSpec
from reprorun.workflow.exec import Finished

from . import values

Capture = pytest.CaptureFixture[str]


def experiment(snapshot_config: Any, variant: Any, from_dir: Any, from_epoch: Any) -> None:
    """Does nothing."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options(command: str) -> dict[str, str]:
    words = shlex.split(command)
    places = [number for number, word in enumerate(words) if word.startswith("--")]
    return {words[place][2:]: words[place + 1] for place in places}


def loaded(data: str) -> Any:
    return cloudpickle.loads(base64.b64decode(data))


@pytest.fixture
def dry(capsys: Capture) -> Callable[..., list[str]]:
    """The commands that it prints."""

    def call(method_call: Any = None, **options: Any) -> list[str]:
        run_experiment(method_call, **options, dry=True)
        return capsys.readouterr().out.splitlines()

    return call


def test_a_command(dry: Any, tmp_path: Path) -> None:
    (command,) = dry(experiment, variant={"lr": 0.5}, seed=1, snapshot_mode="all")
    assert command.startswith("python -m reprorun.experiment_wrapper  --")
    found = options(command)
    assert re.fullmatch(r"experiment_\d{4}(_\d\d){5}_\d{4}", found["exp_name"])
    assert found["log_dir"] == str(tmp_path / "data/local/experiment" / found["exp_name"])
    assert (found["seed"], found["snapshot_mode"]) == ("1", "all")
    assert loaded(found["variant_data"]) == {"exp_name": found["exp_name"], "lr": 0.5}
    assert callable(loaded(found["args_data"]))
    assert not Path("data").exists()


def test_a_launch_has_a_name_of_its_own(dry: Any) -> None:
    names = [options(dry(experiment)[0])["exp_name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert names == sorted(names)


def test_names_and_directories(dry: Any, tmp_path: Path) -> None:
    found = options(dry(experiment, exp_prefix="my_sweep", exp_name="one")[0])
    assert found["log_dir"] == str(tmp_path / "data/local/my-sweep/one")
    found = options(dry(experiment, exp_name="one", log_dir="/runs/a b")[0])
    assert found["log_dir"] == "/runs/a b"


def test_what_runs_it(dry: Any) -> None:
    (command,) = dry(experiment, python_command="python3 -X dev", script="my.module")
    assert command.startswith("python3 -X dev -m my.module  ")


def test_pre_commands_are_only_printed(dry: Any) -> None:
    said = dry(experiment, pre_commands=["touch planted"])
    assert "Not executing the pre_commands: ['touch planted']" in said[0]
    assert "planted" not in said[1]
    assert not Path("planted").exists()


def test_batches(dry: Any) -> None:
    task = {"method_call": experiment, "exp_name": "two", "variant": {"a": 2}, "seed": 2}
    first, second = dry(batch_tasks=[experiment, task], variant={"a": 1}, seed=1)
    assert options(first)["seed"] == "1"
    assert loaded(options(first)["variant_data"])["a"] == 1
    assert options(second)["seed"] == "2"
    assert options(second)["exp_name"] == "two"
    assert loaded(options(second)["variant_data"]) == {"exp_name": "two", "a": 2}


def test_a_batch_of_none(dry: Any) -> None:
    assert dry(batch_tasks=[]) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither was given"),
        ({"method_call": 3}, "calls a function, but was given 3"),
        ({"method_call": "train"}, "was given 'train'"),
        ({"batch_tasks": [experiment, None]}, "was given None"),
        ({"batch_tasks": [{"variant": {}}]}, "was given None"),
        ({"method_call": experiment, "engine": "lxc"}, "'lxc' is none of docker, podman, local"),
    ],
)
def test_wrong_arguments(given: dict[str, Any], message: str, capsys: Capture) -> None:
    with pytest.raises(ValueError, match=message):
        run_experiment(**given, dry=True)
    assert capsys.readouterr().out == ""


def test_a_wrong_engine_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRORUN_ENGINE", "lxc")
    with pytest.raises(ValueError, match="'lxc'"):
        run_experiment(experiment, dry=True)


# ---------------------------------------------------------------- handed to the workflow


class Workflow:
    """Stands in for `execute`."""

    def __init__(self, outcomes: list[Any]) -> None:
        self.specs: list[RunSpec] = []
        self.outcomes = outcomes
        self.last: tuple[Any, ...] = ()

    def __call__(self, spec: RunSpec, report: Any, *last: Any) -> Finished:
        self.specs.append(spec)
        self.last = last
        outcome = self.outcomes.pop(0) if self.outcomes else 0
        if isinstance(outcome, Exception):
            raise outcome
        record = values.record(exit_code=outcome, status="failed" if outcome else "finished")
        return Finished(record=record, log_dir=spec.log_dir or "", exit_code=outcome)


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workflow:
    import __main__

    (tmp_path / "launcher.py").write_text("")
    monkeypatch.setattr(__main__, "__file__", str(tmp_path / "launcher.py"), raising=False)
    monkeypatch.setattr("sys.argv", ["launcher.py", "--x"])
    monkeypatch.setattr("reprorun.engine.connect", FakeEngine)
    made = Workflow([])

    def execute(spec: RunSpec, reached: Callable[[], Engine], report: Any) -> Finished:
        reached()
        return made(spec, report)

    monkeypatch.setattr("reprorun.workflow.exec.execute", execute)
    return made


def test_the_spec(workflow: Workflow, tmp_path: Path, capsys: Capture) -> None:
    run_experiment(experiment, exp_name="one", env={"A": "1"}, variant={"big": "x" * 50_000})
    (spec,) = workflow.specs
    assert spec.script == str(tmp_path / "launcher.py")
    assert spec.args == ("--x",)
    assert spec.cwd == str(tmp_path)
    assert spec.log_dir == str(tmp_path / "data/local/experiment/one")
    assert spec.command
    assert spec.command[:2] == ("sh", "-c")
    assert spec.command[2] == capsys.readouterr().out.splitlines()[0]
    assert spec.env == {"REPRORUN_FORCE_CPU": "False", "A": "1"}
    assert spec.same_python
    assert spec.extra_requirements == (f"cloudpickle=={cloudpickle.__version__}",)
    assert spec.gpus == Gpus()
    assert options(spec.command[2])["variant_data"] == "file:variant_data.b64"
    assert set(spec.payloads) == {"variant_data.b64"}
    assert loaded(spec.payloads["variant_data.b64"].decode())["big"] == "x" * 50_000
    assert len(spec.command[2]) < 128 * 1024


def test_the_cpu_only(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRORUN_GPUS", "all")
    run_experiment(experiment, force_cpu=True)
    (spec,) = workflow.specs
    assert spec.gpus == Gpus(kind="none")
    assert spec.env["REPRORUN_FORCE_CPU"] == "True"


def test_settings_count(workflow: Workflow, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.reprorun]\nmemory = "1g"\nnetwork = "bridge"\n')
    monkeypatch.setenv("REPRORUN_NETWORK", "host")
    run_experiment(experiment)
    (spec,) = workflow.specs
    assert (spec.limits.memory, spec.network) == (1 << 30, "host")


# ---------------------------------------------------------------- which engine


@pytest.fixture
def project(tmp_path: Path, workflow: Workflow) -> Callable[[str], None]:
    """Names an engine in the launcher's pyproject.toml."""

    def name(engine: str) -> None:
        (tmp_path / "pyproject.toml").write_text(f'[tool.reprorun]\nengine = "{engine}"\n')

    return name


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the engine is asked to be."""
    calls: list[tuple[Any, ...]] = []

    def connect(*kind: str) -> Engine:
        calls.append(kind)
        return FakeEngine()

    monkeypatch.setattr("reprorun.engine.connect", connect)
    return calls


def test_whatever_answers_where_nothing_is_named(workflow: Workflow, asked: list[Any]) -> None:
    run_experiment(experiment)
    assert asked == [()]


def test_argument_over_variable_over_project(
    workflow: Workflow, asked: list[Any], project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project("podman")
    run_experiment(experiment)
    monkeypatch.setenv("REPRORUN_ENGINE", "docker")
    run_experiment(experiment)
    run_experiment(experiment, engine="podman")
    assert asked == [("podman",), ("docker",), ("podman",)]


def test_tasks_side_by_side_have_the_projects_engine(
    workflow: Workflow, asked: list[Any], project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project("podman")
    connects: list[Any] = []
    monkeypatch.setattr(
        "reprorun.workflow.batch.run_batch",
        lambda specs, n, connect, *_: connects.append(connect) or [],
    )
    run_experiment(batch_tasks=[experiment] * 2, parallel=2)
    connects[0]()
    assert asked == [("podman",)]


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_local_is_a_run_without_a_container(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    plain = Workflow([0])
    monkeypatch.setattr("reprorun.workflow.unisolated.execute_unisolated", plain)
    if by == "variable":
        monkeypatch.setenv("REPRORUN_ENGINE", "local")
    more = {"engine": "local"} if by == "argument" else {}
    run_experiment(experiment, force_cpu=True, python_command="python3 -X dev", **more)
    (spec,) = plain.specs
    assert workflow.specs == []
    assert spec.command
    assert spec.command[:2] == ("sh", "-c")
    assert spec.command[2].startswith("python3 -X dev -m reprorun.experiment_wrapper ")
    assert spec.gpus == Gpus(kind="none")
    assert spec.same_python
    assert plain.last == ("python3 -X dev",)


def test_no_project_takes_the_container_away(
    workflow: Workflow, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Workflow([0])
    monkeypatch.setattr("reprorun.workflow.unisolated.execute_unisolated", plain)
    project("local")
    with pytest.raises(UsageError, match="REPRORUN_ENGINE=local"):
        run_experiment(experiment)
    assert plain.specs == workflow.specs == []


def test_an_engine_of_the_project_that_is_none(
    workflow: Workflow, project: Any, capsys: Capture
) -> None:
    project("lxc")
    with pytest.raises(UsageError, match="'lxc' is none of docker, podman, local"):
        run_experiment(experiment)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- how it ends


def test_a_failing_experiment_ends_the_batch(workflow: Workflow) -> None:
    workflow.outcomes = [0, 3]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_experiment(batch_tasks=[experiment] * 3)
    assert caught.value.returncode == 3
    assert len(workflow.specs) == 2


@pytest.mark.parametrize("error", [BuildFailed("no space"), UsageError("no commit")])
def test_errors_of_the_engine_come_as_they_are(workflow: Workflow, error: Exception) -> None:
    workflow.outcomes = [error]
    with pytest.raises(type(error), match=str(error)):
        run_experiment(experiment)


def test_without_a_launcher(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    monkeypatch.delattr(__main__, "__file__")
    with pytest.raises(UsageError, match="Put the call in a script"):
        run_experiment(experiment)


def test_progress_goes_to_stderr(workflow: Workflow, capsys: Capture) -> None:
    run_experiment(experiment, exp_name="one")
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert "reprorun: finished" in captured.err
    assert f"reprorun: record       {os.getcwd()}/data/local/experiment/one" in captured.err


# ---------------------------------------------------------------- inside a container


def test_inside_a_container_it_is_a_subprocess(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"log_dir": str(tmp_path), "root": "/workspace", "metadata": {}, "params": {}}
    monkeypatch.setenv("REPRORUN_GUEST", json.dumps(told))
    called: list[Any] = []

    def call(command: str, **given: Any) -> int:
        called.append((command, given["env"]))
        return 0

    monkeypatch.setattr("subprocess.call", call)
    run_experiment(experiment, exp_name="one", force_cpu=True, env={"A": "1"})
    ((command, env),) = called
    assert "--exp_name one" in command
    assert (tmp_path / "one").is_dir()
    assert f'"log_dir": "{tmp_path}/one"' in env["REPRORUN_GUEST"]
    assert (env["CUDA_VISIBLE_DEVICES"], env["A"]) == ("-1", "1")


def test_inside_a_container_directories_that_end_alike_are_numbered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"log_dir": str(tmp_path), "root": "/workspace", "metadata": {}, "params": {}}
    monkeypatch.setenv("REPRORUN_GUEST", json.dumps(told))
    given: list[str] = []

    def call(command: str, env: dict[str, str], **_: Any) -> int:
        given.append(json.loads(env["REPRORUN_GUEST"])["log_dir"])
        return 0

    monkeypatch.setattr("subprocess.call", call)
    asked = ["out/lr1/seed0", "out/lr2/seed0", "out/seed1/", "/"]
    run_experiment(batch_tasks=[{"method_call": experiment, "log_dir": each} for each in asked])
    assert given == [f"{tmp_path}/{name}" for name in ("seed0", "seed0_1", "seed1", "_")]
    assert all(Path(each).is_dir() for each in given)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"batch_tasks": [print, print], "log_dir": "x"}, "can't share one exp_name or log_dir"),
        ({"batch_tasks": [print, print], "exp_name": "x"}, "can't share one exp_name or log_dir"),
        ({"batch_tasks": [{"method_call": print, "force_cpu": True}]}, "force_cpu goes to run_exp"),
        ({"method_call": print, "env": {"SEED": 1}}, "env: SEED is 1; variables are strings"),
    ],
)
def test_mistakes_are_found_before_anything_is_launched(
    given: dict[str, Any], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=complaint):
        run_experiment(**given)
    assert capsys.readouterr().out == ""


def test_the_variables_of_the_user_are_shown_but_not_part_of_what_is_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launched: list[launch.Task] = []
    monkeypatch.setattr(launch, "_launch", lambda task, engine: launched.append(task))
    monkeypatch.setenv("REPRORUN_ENV", '{"MY_TOKEN": "hunter2"}')
    run_experiment(print)
    assert capsys.readouterr().out.startswith("MY_TOKEN=hunter2 python -m ")
    assert "hunter2" not in launched[0].command
    assert launched[0].env["MY_TOKEN"] == "hunter2"
