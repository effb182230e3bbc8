"""wrap_experiment and its templates."""

from __future__ import annotations

import concurrent.futures
import copy
import inspect
import json
import multiprocessing
import os
import pickle
import sys
import tarfile
import types
import warnings
from pathlib import Path

import cloudpickle
import pytest
import shared_experiments

from reprorun.experiment import ExperimentContext, ExperimentTemplate, wrap_experiment
from reprorun.experiment.log_directory import make_log_dir
from reprorun.experiment.repository import LARGE_FILE, RepositoryError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, launcher):
    """An empty current directory, outside git, without a main script."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    launcher(None)
    return place


def read(path) -> object:
    return json.loads(Path(path).read_text())


class TestDecorating:
    def test_with_and_without_parentheses(self, here):
        @wrap_experiment
        def first(ctxt, a):
            return a, ctxt

        @wrap_experiment(prefix="p", snapshot_mode="gap", snapshot_gap=7)
        def second(ctxt, *, a=2):
            return a, ctxt

        value, context = first(a=1)
        assert value == 1
        assert isinstance(context, ExperimentContext)
        assert vars(context) == {
            "snapshot_dir": str(here / "data/local/experiment/first"),
            "snapshot_mode": "last",
            "snapshot_gap": 1,
        }
        value, context = second()
        assert value == 2
        assert vars(context) == {
            "snapshot_dir": str(here / "data/local/p/second"),
            "snapshot_mode": "gap",
            "snapshot_gap": 7,
        }

    def test_it_looks_like_the_function(self):
        def train(ctxt, seed: int, lr: float = 0.5, *rest, gamma=1, **more) -> str:
            """Trains."""

        train.extra = "kept"
        template = wrap_experiment(train)
        assert isinstance(template, ExperimentTemplate)
        assert (template.__name__, template.__doc__) == ("train", "Trains.")
        assert template.__module__ == __name__
        assert template.extra == "kept"
        assert str(inspect.signature(template)) == (
            "(*, seed: 'int', lr: 'float' = 0.5, gamma=1, **more) -> 'str'"
        )

    def test_attributes_of_the_function_replace_no_option(self):
        def train(ctxt):
            pass

        train.name = "of the function"
        assert wrap_experiment(train).name is None

    @pytest.mark.parametrize("function", [lambda: 1, lambda seed: 1, lambda seed, ctxt: 1])
    def test_the_first_parameter_is_ctxt(self, function):
        with pytest.raises(ValueError, match="first parameter must be 'ctxt'"):
            wrap_experiment(function)
        with pytest.raises(ValueError, match="first parameter must be 'ctxt'"):
            wrap_experiment(prefix="p")(function)

    @pytest.mark.parametrize(
        ("args", "kwargs"), [((), {}), ((1,), {}), ((print, print), {}), ((print,), {"a": 1})]
    )
    def test_a_decorator_takes_one_function(self, args, kwargs):
        with pytest.raises(ValueError, match="must be applied to one function"):
            wrap_experiment(prefix="p")(*args, **kwargs)

    def test_one_decorator_serves_for_several_functions(self):
        decorate = wrap_experiment(prefix="p", archive_launch_repo=False)
        first, second = decorate(lambda ctxt: 1), decorate(lambda ctxt: 2)
        assert (first({"name": "a"}), second({"name": "b"})) == (1, 2)

    def test_snapshot_mode(self):
        with pytest.raises(ValueError, match=r"snapshot_mode is 'some'.*all, last, gap, none"):
            wrap_experiment(snapshot_mode="some")
        template = wrap_experiment(lambda ctxt: ctxt.snapshot_mode, name="x")
        for mode in ("all", "last", "gap", "none"):
            assert template({"snapshot_mode": mode}) == mode
        with pytest.raises(ValueError, match="snapshot_mode is None"):
            template({"snapshot_mode": None})

    def test_garages_older_keywords(self):
        template = ExperimentTemplate(
            function=lambda ctxt: ctxt.snapshot_gap,
            log_dir=None,
            name="x",
            prefix="p",
            snapshot_mode="all",
            snapshot_gap=3,
            archive_launch_repo=False,
            name_parameters=None,
            use_existing_dir=False,
        )
        assert template.x_axis == "TotalEnvSteps"
        assert template() == 3
        assert wrap_experiment(lambda ctxt: 1, x_axis="Steps").x_axis == "Steps"


class TestCalling:
    def test_options_of_one_call(self, here):
        train = wrap_experiment(lambda ctxt, a=0: (a, ctxt.snapshot_dir), name="train")
        assert train({"name": "other", "prefix": "q"}, a=1) == (1, str(here / "data/local/q/other"))
        assert train(a=1) == (1, str(here / "data/local/experiment/train"))

    @pytest.mark.parametrize("args", [({"seed": 1},), ({"function": print},), (1,), ({}, {})])
    def test_what_is_refused(self, args, here):
        train = wrap_experiment(lambda ctxt: 1)
        with pytest.raises(ValueError, match=r"unknown option|keyword arguments only"):
            train(*args)
        assert [*here.iterdir()] == []

    def test_unknown_options_are_named(self):
        with pytest.raises(
            ValueError, match="unknown option of wrap_experiment: nam; it takes: log_dir"
        ):
            wrap_experiment(lambda ctxt: 1)({"nam": 1})

    @pytest.mark.parametrize("kwargs", [{}, {"seed": 1, "sed": 2}])
    def test_wrong_arguments_leave_nothing_behind(self, here, kwargs):
        @wrap_experiment
        def train(ctxt, seed):
            pass

        with pytest.raises(TypeError, match=r"train\(\): .*(seed|sed)"):
            train(**kwargs)
        assert [*here.iterdir()] == []

    def test_what_is_written(self, here, repo, launcher):
        launcher(repo.path / "train.py")
        train = wrap_experiment(lambda ctxt, a, b=2: ctxt.snapshot_dir, name="train")
        log_dir = Path(train(a=1))
        assert read(log_dir / "variant.json") == {"a": 1}
        commit = repo.git("rev-parse", "HEAD")
        assert read(log_dir / "metadata.json") == {"githash": commit, "launcher": "train.py"}
        with tarfile.open(log_dir / "launch_archive.tar.xz") as archive:
            assert archive.getnames() == ["train.py"]
        assert {path.name for path in log_dir.iterdir()} == {
            *("variant.json", "metadata.json", "launch_archive.tar.xz")
        }

    def test_outside_git_and_without_an_archive(self, repo, launcher, here):
        train = wrap_experiment(lambda ctxt: ctxt.snapshot_dir, name="x")
        launcher(here / "run.py")
        log_dir = Path(train())
        assert read(log_dir / "metadata.json") == {"launcher": str(here / "run.py")}
        assert {p.name for p in log_dir.iterdir()} == {"variant.json", "metadata.json"}
        launcher(repo.path / "train.py")
        log_dir = Path(train({"archive_launch_repo": False}))
        assert {p.name for p in log_dir.iterdir()} == {"variant.json", "metadata.json"}

    def test_a_run_does_not_change_the_code_of_the_next(self, repo, launcher, monkeypatch):
        launcher(repo.path / "train.py")
        monkeypatch.chdir(repo.path)
        train = wrap_experiment(lambda ctxt: Path(ctxt.snapshot_dir), name="train")
        first, second = train(), train()
        assert second.name == "train_1"
        assert read(first / "metadata.json") == read(second / "metadata.json")
        assert not read(second / "metadata.json")["githash"].endswith("-dirty")
        archives = [(path / "launch_archive.tar.xz").read_bytes() for path in (first, second)]
        assert archives[0] == archives[1]
        with tarfile.open(second / "launch_archive.tar.xz") as archive:
            assert archive.getnames() == ["train.py"]

    def test_large_files_are_named_in_a_warning(self, repo, launcher):
        repo.write("large.bin", b"x" * LARGE_FILE)
        launcher(repo.path / "train.py")
        with pytest.warns(UserWarning, match=r"large\.bin.*archive_launch_repo"):
            wrap_experiment(lambda ctxt: 1, name="x")()

    def test_a_repository_that_cannot_be_read(self, repo, launcher, monkeypatch, here):
        launcher(repo.path / "train.py")
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        with pytest.raises(RepositoryError, match=r"safe\.directory"):
            wrap_experiment(lambda ctxt: 1)()
        assert [*here.iterdir()] == []


class TestNames:
    @pytest.mark.parametrize(
        ("chosen", "kwargs", "expected"),
        [
            (None, {"seed": 1}, "train"),
            ("passed", {"lr": 0.1, "seed": 1}, "train_seed=1_lr=0.1"),
            ("passed", {}, "train"),
            ("all", {"lr": 0.1}, "train_seed=7_lr=0.1_net=None"),
            ("passed", {"net": "a/b\0c"}, "train_net=a_b_c"),
            ("passed", {"extra": 1, "seed": 2}, "train_seed=2_extra=1"),
        ],
    )
    def test_parameters_in_the_name(self, here, chosen, kwargs, expected):
        def train(ctxt, seed=7, lr=0.5, net=None, **more):
            return ctxt.snapshot_dir

        path = wrap_experiment(train, name_parameters=chosen)(**kwargs)
        assert path == str(here / "data/local/experiment" / expected)

    @pytest.mark.parametrize("chosen", ["some", ["seed"], True])
    def test_another_choice_is_an_error_when_called(self, here, chosen):
        train = wrap_experiment(lambda ctxt: 1, name_parameters=chosen)
        with pytest.raises(ValueError, match="None, 'passed' or 'all'"):
            train()
        assert [*here.iterdir()] == []

    def test_a_long_name_is_cut(self, here):
        train = wrap_experiment(
            lambda ctxt, a: Path(ctxt.snapshot_dir), name="x", name_parameters="all"
        )
        first, again, other = train(a="é" * 300), train(a="é" * 300), train(a="é" * 301)
        for path in (first, again, other):
            assert 240 < len(os.fsencode(path.name)) <= 255
            assert path.name.startswith("x_a=éé")
        mark = first.name[-13:]  # a hyphen and a hash
        assert again.name.endswith(mark + "_1")
        assert not other.name.endswith(mark)

    def test_an_explicit_directory(self, here, tmp_path):
        train = wrap_experiment(lambda ctxt: ctxt.snapshot_dir, log_dir=tmp_path / "a b" / "log")
        assert train() == str(tmp_path / "a b/log")
        assert train() == str(tmp_path / "a b/log_1")
        assert train({"log_dir": "relative/"}) == str(here / "relative")
        assert train({"log_dir": "relative/"}) == str(here / "relative_1")

    def test_an_existing_directory_is_used_again(self, here):
        train = wrap_experiment(lambda ctxt, a: ctxt.snapshot_dir, name="t", use_existing_dir=True)
        first = train(a=1)
        Path(first, "model").write_text("kept")
        assert train(a=2) == first
        assert read(f"{first}/variant.json") == {"a": 2}
        assert Path(first, "model").read_text() == "kept"

    def test_processes_at_the_same_moment_get_different_directories(self, tmp_path):
        path = str(tmp_path / "deep" / "log")
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
            made = [*pool.map(make_log_dir, [path] * 200, [False] * 200, chunksize=10)]
        wanted = {path, *(f"{path}_{number}" for number in range(1, 200))}
        assert {*made} == wanted
        assert len(made) == 200


class TestInAContainer:
    @pytest.fixture
    def record(self, tmp_path, monkeypatch):
        path = tmp_path / "record"
        path.mkdir()
        (path / "launch_archive.tar.xz").write_text("the archive")

        def tell(**params):
            told = {
                "log_dir": str(path),
                "root": "/workspace",
                "metadata": {"githash": "abc", "launcher": "train.py"},
                "params": params,
            }
            monkeypatch.setenv("REPRORUN_GUEST", json.dumps(told))

        tell()
        return types.SimpleNamespace(path=path, tell=tell)

    def test_what_is_written(self, record, here):
        train = wrap_experiment(lambda ctxt, a: ctxt.snapshot_dir, name="train", prefix="p")
        assert train(a=1) == str(record.path / "train")
        assert train(a=2) == str(record.path / "train_1")
        assert read(record.path / "train_1/variant.json") == {"a": 2}
        assert read(record.path / "train_1/metadata.json") == {
            "githash": "abc",
            "launcher": "train.py",
        }
        assert [*here.iterdir()] == []
        archive = record.path / "train_1/launch_archive.tar.xz"
        assert archive.read_text() == "the archive"
        assert archive.samefile(record.path / "launch_archive.tar.xz")

    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({"log_dir": "/somewhere/else/run"}, "run"),
            ({"log_dir": "/somewhere/else/run/"}, "run"),
            ({"log_dir": "/"}, "x"),
            ({"name": "a/b"}, "a_b"),
            ({"name": ".."}, "_"),
            ({"name_parameters": "all"}, "x_a=1_2"),
        ],
    )
    def test_names(self, record, options, name):
        train = wrap_experiment(lambda ctxt, a="1/2": ctxt.snapshot_dir, name="x")
        assert train(options) == str(record.path / name)

    def test_the_archive_is_copied_where_it_cannot_be_linked(self, record, monkeypatch):
        def refuse(source, target):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        train = wrap_experiment(lambda ctxt: 1, name="x", use_existing_dir=True)
        for _ in range(2):
            train()
            assert (record.path / "x/launch_archive.tar.xz").read_text() == "the archive"

    def test_the_archive_in_a_directory_that_is_used_again(self, record):
        train = wrap_experiment(lambda ctxt: 1, name="x", use_existing_dir=True)
        train()
        train()
        names = {path.name for path in (record.path / "x").iterdir()}
        assert names == {"launch_archive.tar.xz", "metadata.json", "variant.json"}

    def test_without_an_archive(self, record):
        wrap_experiment(lambda ctxt: 1, name="x", archive_launch_repo=False)()
        assert not (record.path / "x/launch_archive.tar.xz").exists()
        (record.path / "launch_archive.tar.xz").unlink()
        wrap_experiment(lambda ctxt: 1, name="y")()
        assert not (record.path / "y/launch_archive.tar.xz").exists()

    def test_parameters_of_the_user_come_first(self, record):
        record.tell(lr=0.25, seed=[1])
        train = wrap_experiment(
            lambda ctxt, seed, lr=0.5, gamma=1: (seed, lr, gamma),
            name="x",
            name_parameters="passed",
        )
        assert train(seed=0, gamma=2) == ([1], 0.25, 2)
        log_dir = record.path / "x_seed=[1]_lr=0.25_gamma=2"
        assert read(log_dir / "variant.json") == {"seed": [1], "lr": 0.25, "gamma": 2}

    def test_parameters_that_the_function_does_not_take(self, record, capsys):
        record.tell(foo=1)

        @wrap_experiment
        def train(ctxt, seed=1, lr=0.5):
            pass

        with pytest.raises(SystemExit) as caught:
            train()
        assert caught.value.code == 2
        assert capsys.readouterr().err == (
            "reprorun: error: -P foo=...: train() takes no parameter 'foo'; it takes: seed, lr\n"
        )
        assert [path.name for path in record.path.iterdir()] == ["launch_archive.tar.xz"]

    @pytest.mark.parametrize(
        ("given", "shown", "wanted"),
        [
            ({"seed": "abc"}, 'seed="abc"', "train() takes 'seed' as int"),
            ({"seed": 1.5}, "seed=1.5", "train() takes 'seed' as int"),
            ({"seed": True}, "seed=true", "train() takes 'seed' as int"),
            ({"lr": "0,1"}, 'lr="0,1"', "train() takes 'lr' as float"),
            ({"flag": 1}, "flag=1", "train() takes 'flag' as bool"),
            ({"lr": "9" * 99}, "lr=...", "train() takes 'lr' as float"),
            ({"name": 5}, "name=5", "train() takes 'name' as str; values are JSON"),
        ],
    )
    def test_values_of_another_type_than_annotated(self, record, capsys, given, shown, wanted):
        record.tell(**given)

        @wrap_experiment
        def train(ctxt, seed: int = 1, lr: float = 0.5, flag: bool = False, name: str = ""):
            pass

        with pytest.raises(SystemExit) as caught:
            train()
        assert caught.value.code == 2
        assert capsys.readouterr().err.startswith(f"reprorun: error: -P {shown}: {wanted}")

    def test_values_that_fit_their_annotation_or_have_none(self, record):
        record.tell(seed=None, lr=1, flag=True, name="5", other="auto", sizes="no list")

        @wrap_experiment(name="x")
        def train(ctxt, seed: int, lr: float, flag: bool, name: str, sizes: list, other=0.1):
            return seed, lr, flag, name, other, sizes

        assert train() == (None, 1, True, "5", "auto", "no list")

    def test_a_function_that_takes_everything(self, record):
        record.tell(foo=1)
        assert wrap_experiment(lambda ctxt, **more: more, name="x")(a=2) == {"a": 2, "foo": 1}


class TestCopying:
    def test_an_importable_one_pickles_by_name(self):
        template = shared_experiments.importable
        for pickler in (pickle, cloudpickle):
            assert pickle.loads(pickler.dumps(template)) is template

    def test_others_go_with_cloudpickle(self):
        scale = 3

        @wrap_experiment(prefix="p", snapshot_mode="all", name="mine")
        def local(ctxt, seed, lr=0.5):
            """Says its seed."""
            return seed * scale

        again = pickle.loads(cloudpickle.dumps(local))
        assert again is not local
        assert (again.prefix, again.snapshot_mode, again.__doc__) == ("p", "all", "Says its seed.")
        assert str(inspect.signature(again)) == "(*, seed, lr=0.5)"
        assert again(seed=2) == 6

    def test_one_of_the_main_script_goes_by_value(self, monkeypatch, here):
        main = types.ModuleType("__main__")
        main.wrap_experiment = wrap_experiment
        monkeypatch.setitem(sys.modules, "__main__", main)
        code = (
            "@wrap_experiment\ndef train(ctxt, n):\n    return n and train({'name': 'x'}, n=n-1)\n"
        )
        exec(code, vars(main))
        payload = cloudpickle.dumps(main.train)
        monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
        assert pickle.loads(payload)(n=2) == 0
        assert (here / "data/local/experiment/x_1").is_dir()

    @pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
    def test_copies_are_independent(self, copier):
        template = copier(shared_experiments.importable)
        template.snapshot_gap = 9
        assert shared_experiments.importable.snapshot_gap == 5
        assert template(seed=4) == 4
        assert template.__name__ == "importable"

    def test_a_decorator_without_a_function(self):
        decorate = pickle.loads(pickle.dumps(wrap_experiment(prefix="p")))
        assert (decorate.prefix, decorate.function) == ("p", None)


class TestDowel:
    @pytest.fixture
    def dowel(self, monkeypatch):
        """A stand-in that writes down what is asked of it."""
        dowel = types.ModuleType("dowel")
        dowel.events = events = []

        class Output:
            def __init__(self, *args, **kwargs):
                self.told = (type(self).__name__, *args, *kwargs.items())

            def close(self):
                events.append(("close", self.told[0]))

        for name in ("TextOutput", "CsvOutput", "TensorBoardOutput", "StdOutput"):
            setattr(dowel, name, type(name, (Output,), {}))
        dowel.logger = types.SimpleNamespace(
            add_output=lambda output: events.append(output.told),
            remove_all=lambda: events.append("remove_all"),
            push_prefix=lambda prefix: events.append(("push", prefix)),
            pop_prefix=lambda: events.append("pop"),
            log=lambda text: events.append(("log", text)),
        )
        monkeypatch.setitem(sys.modules, "dowel", dowel)
        return dowel

    @pytest.mark.parametrize("fails", [False, True])
    def test_outputs(self, dowel, here, fails):
        def function(ctxt, seed):
            dowel.events.append("run")
            if fails:
                raise ArithmeticError("no luck")
            return seed

        train = wrap_experiment(function, name="t", name_parameters="all", x_axis="Steps")
        if fails:
            with pytest.raises(ArithmeticError, match="no luck"):
                train(seed=1)
        else:
            assert train(seed=1) == 1
        log_dir = str(here / "data/local/experiment/t_seed=1")
        assert dowel.events == [
            ("push", "[t_seed=1] "),
            ("TextOutput", f"{log_dir}/debug.log"),
            ("CsvOutput", f"{log_dir}/progress.csv"),
            ("TensorBoardOutput", log_dir, ("x_axis", "Steps")),
            ("StdOutput",),
            ("log", f"Logging to {log_dir}"),
            "run",
            "remove_all",
            "pop",
            ("close", "TextOutput"),
            ("close", "CsvOutput"),
            ("close", "TensorBoardOutput"),
            ("close", "StdOutput"),
        ]

    def test_a_broken_one_is_named_and_does_not_stop_the_experiment(self, monkeypatch, tmp_path):
        monkeypatch.delitem(sys.modules, "dowel")
        (tmp_path / "dowel.py").write_text("import no_such_module_of_dowel\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.warns(UserWarning, match="dowel is installed but can't be imported.*no_such"):
            assert wrap_experiment(lambda ctxt: 1, name="x")() == 1

    def test_without_dowel_nothing_is_said(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert wrap_experiment(lambda ctxt: 1, name="x")() == 1
        assert caught == []
