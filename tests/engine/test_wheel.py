"""The package as users install it: from a wheel, with no checkout beside it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from reprorun import store

from .bench import CHECKOUT, Bench
from .complete import assert_complete
from .conftest import Session


@pytest.fixture(scope="module")
def installed(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what it depends on, and nothing else."""
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place)]
    call(session, *command, str(CHECKOUT))
    (wheel,) = place.glob("*.whl")
    call(session, find_uv_bin(), "venv", "--python", sys.executable, str(place / "venv"))
    python = str(place / "venv/bin/python")
    call(session, find_uv_bin(), "pip", "install", "--python", python, str(wheel))
    return place / "venv"


def call(session: Session, *command: str) -> None:
    done = subprocess.run(
        command, env=session.env, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_the_package_and_its_templates(installed: Path) -> None:
    (wheel,) = installed.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    templates = {f"reprorun/templates/{p.name}" for p in (CHECKOUT / "templates").iterdir()}
    modules = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "reprorun").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert templates
    assert templates | modules <= names
    assert not [name for name in names if name.startswith(("tests/", "examples/", "docs/"))]


def test_an_installed_reprorun_runs(installed: Path, bench: Bench) -> None:
    bench.take("wrapped")
    bench.commit()
    program = [str(installed / "bin/reprorun")]
    done = bench.exec("train.py", program=program)
    record = assert_complete(done, bench, "train.py")
    by_checkout = bench.exec("train.py").record
    assert record.environment_digest == by_checkout.environment_digest
    assert record.image == by_checkout.image

    code = "import reprorun.render as r; print(r.__file__); print(r._directory())"
    told = bench.reprorun("-I", "-c", code, program=[str(installed / "bin/python")]).out
    file, directory = told.splitlines()
    assert file.startswith(str(installed))
    assert Path(directory).parent == Path(file).parent
    assert str(CHECKOUT) not in told
    assert (done.log_dir / store.DOCKERFILE).read_text().startswith("# The environment:")


def test_run_experiment_of_an_installed_reprorun(installed: Path, bench: Bench) -> None:
    bench.take("launcher")
    bench.commit()
    python = [str(installed / "bin/python")]
    done = bench.reprorun("launch.py", "cpu", program=python)
    assert done.code == 0, done.err
    record = store.read_record(str(bench.root / "data/local/experiment/cpu"))
    assert (record.status, record.runtime) == ("finished", "cpu")


def test_editable_and_installed_are_of_one_version(installed: Path, bench: Bench) -> None:
    both = [
        bench.reprorun("--version"),
        bench.reprorun("--version", program=[str(installed / "bin/reprorun")]),
    ]
    assert both[0].out == both[1].out
    assert both[0].out.startswith("reprorun ")
