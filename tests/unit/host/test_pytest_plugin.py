"""The pytest plugin, run by pytest: records as tests, tests in containers."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from reprorun import pytest_plugin
from reprorun.compare.values import Comparison, Settings
from reprorun.engine.fake import FakeProcess
from reprorun.model import RunSpec
from reprorun.workflow.twice import Twice, run_twice

from ..conftest import git
from ..report.results import named, repeat
from .test_check import Lab

pytest_plugins = ["pytester"]

Pytester = pytest.Pytester
Runs = Callable[..., pytest.RunResult]
OFF = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:timeout")


@pytest.fixture
def lab(repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Two records: one that comes out the same and one that does not."""
    lab = Lab(repository({"train.py": "print('hello')\n"}), tmp_path / "elsewhere")
    count = iter(range(1000))

    def drifts(process: FakeProcess) -> int:
        process.write("n.csv", b"n\n%d\n" % next(count))
        return 0

    def program(process: FakeProcess) -> int:
        return drifts(process) if "drift" in process.spec.command else 0

    lab.engine.programs["python"] = program
    lab.run(name="same")
    lab.run(name="other", args=("drift",))
    monkeypatch.setattr("reprorun.engine.connect", lambda: lab.engine)
    return lab


@pytest.fixture
def runs(pytester: Pytester) -> Runs:
    """Runs pytest within this process, where the engine is the fake one."""
    return lambda *words: pytester.runpytest_inprocess(*OFF, *words)


def records(lab: Lab) -> str:
    return str(lab.root / "data" / "local")


def test_it_is_installed_with_the_package() -> None:
    (entry,) = entry_points(group="pytest11", name="reprorun")
    assert entry.load() is pytest_plugin


def test_until_it_is_used_nothing_is_imported() -> None:
    script = (
        "import sys, reprorun.pytest_plugin\n"
        "print([n for n in sys.modules if n.startswith(('reprorun.', 'msgspec', 'click'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['reprorun.pytest_plugin']"


# ---------------------------------------------------------------- records


def test_every_record_is_a_test(lab: Lab, runs: Runs, pytester: Pytester) -> None:
    pytester.makepyfile("def test_plain():\n    pass")
    result = runs("--reprorun", records(lab), "--reprorun-args=--no-blame", "-v")
    result.assert_outcomes(passed=2, failed=1)
    text = result.stdout.str()
    assert "check::" in text
    assert "first at row 1, column n: 0, now 1" in text
    assert "kept: " in text
    assert "Traceback" not in text


def test_a_record_is_chosen_by_name_or_mark(lab: Lab, runs: Runs, pytester: Pytester) -> None:
    pytester.makepyfile("def test_plain():\n    pass")
    result = runs("--reprorun", records(lab), "-m", "reprorun", "-k", "same", "--strict-markers")
    result.assert_outcomes(passed=1, deselected=2)
    assert result.ret == 0


def test_records_alone_are_enough(lab: Lab, runs: Runs) -> None:
    result = runs("--reprorun", f"{records(lab)}/experiment/same")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["collected 1 item"])


def test_tolerances_and_other_flags(lab: Lab, runs: Runs) -> None:
    result = runs("--reprorun", records(lab), "--reprorun-args=--atol 1000 --no-blame")
    result.assert_outcomes(passed=2)


def test_junitxml(lab: Lab, runs: Runs, pytester: Pytester) -> None:
    runs("--reprorun", records(lab), "--reprorun-args=--no-blame", "--junitxml=r.xml")
    cases = list(ElementTree.parse(pytester.path / "r.xml").iter("testcase"))
    verdicts = {
        str(case.get("name")).rpartition("/")[2]: [p.get("value") for p in case.iter("property")]
        for case in cases
    }
    assert verdicts == {"same": ["identical"], "other": ["different"]}
    (failure,) = [failure for case in cases for failure in case.iter("failure")]
    assert "n.csv" in str(failure.text)


def test_a_record_that_cant_be_run(lab: Lab, runs: Runs) -> None:
    lab.engine.images.clear()
    result = runs("--reprorun", f"{records(lab)}/experiment/same")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["error * */same", "*base image*"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--reprorun", "nowhere"), "there is no"),
        (("--reprorun", "."), "holds no record"),
        (("--reprorun", ".", "--reprorun-args=--nonsense"), "No such option"),
        (("--reprorun", ".", "--reprorun-args='"), "quotation"),
        (("--reprorun", ".", "--reprorun-args=--help"), "--help"),
    ],
)
def test_mistakes_are_told(runs: Runs, words: tuple[str, ...], told: str) -> None:
    result = runs(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert told in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


# ---------------------------------------------------------------- which engine


@pytest.fixture
def asked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the engine is asked to be."""
    calls: list[tuple[Any, ...]] = []

    def connect(*kind: Any) -> Any:
        calls.append(kind)
        return lab.engine

    monkeypatch.setattr("reprorun.engine.connect", connect)
    return calls


@pytest.mark.parametrize("by", ["nothing", "option", "flags", "variable", "project"])
def test_the_engine_of_records(
    lab: Lab, asked: list[Any], runs: Runs, pytester: Pytester, monkeypatch: Any, by: str
) -> None:
    words: dict[str, tuple[str, ...]] = {
        "option": ("--reprorun-engine=podman",),
        "flags": ("--reprorun-args=--engine podman",),
    }
    if by == "variable":
        monkeypatch.setenv("REPRORUN_ENGINE", "podman")
    if by == "project":
        pytester.makepyprojecttoml('[tool.reprorun]\nengine = "podman"\n')
    runs("--reprorun", f"{records(lab)}/experiment/same", *words.get(by, ())).assert_outcomes(
        passed=1
    )
    assert set(asked) == {() if by == "nothing" else ("podman",)}


def test_a_flag_comes_before_the_variable(
    lab: Lab, asked: list[Any], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRORUN_ENGINE", "podman")
    runs("--reprorun", f"{records(lab)}/experiment/same", "--reprorun-engine=docker")
    assert set(asked) == {("docker",)}


@pytest.mark.parametrize(("name", "told"), [("rkt", "none of docker"), ("local", "no containers")])
def test_engines_that_check_nothing(lab: Lab, runs: Runs, name: str, told: str) -> None:
    result = runs("--reprorun", records(lab), f"--reprorun-engine={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert told in result.stderr.str()


def test_with_xdist(lab: Lab, pytester: Pytester) -> None:
    """The workers are other processes, without our fake engine: what they find is enough."""
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-n", "2", "--co", "-q", "--reprorun", records(lab)
    )
    result.stdout.fnmatch_lines_random(["check::*/other", "check::*/same"])


# ---------------------------------------------------------------- tests in containers

MARKED = """
import pytest

@pytest.fixture
def expensive():
    raise RuntimeError("it was set up on the host")

@pytest.mark.reproducible(rtol=0.5)
@pytest.mark.parametrize("n", [1])
def test_marked(expensive, n):
    raise RuntimeError("it was run on the host")

class TestIn:
    @pytest.mark.reproducible
    def test_method(self):
        raise RuntimeError("it was run on the host")

@pytest.mark.skip
@pytest.mark.reproducible
def test_skipped():
    pass

def test_plain():
    pass
"""


class Launches:
    """Remembers what would have been run twice, and answers in its place."""

    def __init__(self, answer: Twice) -> None:
        self.specs: list[RunSpec] = []
        self.places: list[str] = []
        self.settings: list[Settings] = []
        self.connects: list[Any] = []
        self.answer = answer

    def __call__(
        self, spec: RunSpec, place: str, settings: Settings, connect: Any, *_: Any
    ) -> Twice:
        self.connects.append(connect)
        self.specs.append(spec)
        self.places.append(place)
        self.settings.append(settings)
        return self.answer


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    made = Launches(Twice(comparison=Comparison(verdict="identical")))
    monkeypatch.setattr("reprorun.workflow.twice.run_twice", made)
    return made


def test_marked_tests_are_run_in_containers(
    launches: Launches, runs: Runs, pytester: Pytester
) -> None:
    pytester.mkdir("tests").joinpath("test_it.py").write_text(MARKED)
    git(pytester.path, "init", "-q")
    result = runs("--strict-markers", "-rA")
    result.assert_outcomes(passed=3, skipped=1)
    assert [spec.command[-1] for spec in launches.specs if spec.command] == [
        "/workspace/tests/test_it.py::test_marked[1]",
        "/workspace/tests/test_it.py::TestIn::test_method",
    ]
    spec = launches.specs[0]
    assert (spec.script, spec.cwd) == (f"{pytester.path}/tests/test_it.py", str(pytester.path))
    assert spec.command
    assert spec.command[:3] == ("python", "-m", "pytest")
    assert spec.extra_requirements == ("pytest>=7",)
    assert [each.tolerance.rtol for each in launches.settings] == [0.5, 0]
    assert launches.places[0].endswith("data/local/check/tests_test_it.py_test_marked_1")


@pytest.mark.parametrize("by", ["option", "project"])
def test_the_engine_of_marked_tests(
    launches: Launches, asked: list[Any], runs: Runs, pytester: Pytester, by: str
) -> None:
    place = pytester.mkdir("tests")
    place.joinpath("test_it.py").write_text(MARKED)
    if by == "project":
        place.joinpath("pyproject.toml").write_text('[tool.reprorun]\nengine = "podman"\n')
    runs("-k", "test_method", *(["--reprorun-engine=podman"] if by == "option" else []))
    launches.connects[0]()
    assert asked == [("podman",)]


def test_a_marked_test_needs_a_container(launches: Launches, runs: Runs, pytester: Any) -> None:
    pytester.makepyfile(MARKED)
    result = runs("-k", "test_method", "--reprorun-engine=local")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*local runs no containers*"])
    assert launches.specs == []


def test_what_differs_is_told(launches: Launches, runs: Runs, pytester: Pytester) -> None:
    compared = repeat(named("outputs/reprorun-tmp/r.csv")).comparison
    launches.answer = Twice(comparison=compared, log_dirs=("/a", "/b"))
    pytester.makepyfile(MARKED)
    result = runs("-k", "test_method", "--junitxml=r.xml")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        ["two runs in containers wrote something different:", "*r.csv*", "kept: /a and /b"]
    )
    assert "different" in (pytester.path / "r.xml").read_text()


@pytest.mark.parametrize("mark", ["reproducible(1)", "reproducible(nonsense=1)"])
def test_a_mark_that_cant_be_understood(
    launches: Launches, runs: Runs, pytester: Pytester, mark: str
) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.{mark}\ndef test_a():\n    pass")
    result = runs()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*takes rtol=X and atol=X*"])
    assert launches.specs == []


# ---------------------------------------------------------------- the same run twice


def twice(lab: Lab, *args: str) -> Twice:
    place = str(lab.elsewhere / "test_a")
    return run_twice(lab.spec(args=args), place, Settings(), lambda: lab.engine, lab.told)


def test_two_runs_that_are_the_same_are_not_kept(lab: Lab) -> None:
    found = twice(lab)
    assert found.comparison is not None
    assert found.comparison.verdict == "identical"
    assert list(lab.elsewhere.iterdir()) == []


def test_two_runs_that_differ_are_kept(lab: Lab) -> None:
    found = twice(lab, "drift")
    assert found.comparison is not None
    assert found.comparison.verdict == "different"
    assert [Path(path).name for path in found.log_dirs] == ["test_a", "test_a_1"]


def test_after_one_that_failed_no_other_is_begun(lab: Lab) -> None:
    lab.engine.programs["python"] = lambda process: 3
    found = twice(lab)
    assert found.failed is not None
    assert found.failed.exit_code == 3
    assert [path.name for path in lab.elsewhere.iterdir()] == ["test_a"]
