"""Calling one function of a launcher with parameters that were kept."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import reprorun.experiment
from reprorun.experiment.definitions import without_calls

ROOT = Path(reprorun.experiment.__file__).parents[2]

LAUNCHER = """\
import json, sys
from reprorun import wrap_experiment

@wrap_experiment
def train(ctxt, seed, lr=0.5):
    print(json.dumps([seed, lr]))

train(seed=0)
"""


def call(
    place: Path, name: str, parameters: object, launcher: str = LAUNCHER, **env: str
) -> subprocess.CompletedProcess:
    """Runs the module in `place`, as in the container."""
    (place / "exp").mkdir(exist_ok=True)
    (place / "exp/train.py").write_text(launcher)
    text = parameters if isinstance(parameters, str) else json.dumps(parameters)
    (place / "parameters.json").write_text(text)
    words = ["reprorun.experiment.function", "exp/train.py", name, "parameters.json"]
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
    )


def said(done: subprocess.CompletedProcess) -> object:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1].partition("reprorun: error: ")[2]


# ---------------------------------------------------------------- calling


def test_a_call(tmp_path):
    done = call(tmp_path, "train", {"seed": 3, "lr": 0.25})
    assert said(done) == [3, 0.25]
    assert done.stderr == (
        "reprorun: train is called in place of what exp/train.py does by itself (line 8)\n"
    )
    variant = tmp_path / "data/local/experiment/train/variant.json"
    assert json.loads(variant.read_text()) == {"seed": 3, "lr": 0.25}


def test_the_launcher_is_the_main_script(tmp_path):
    launcher = """\
import __main__, json, os, sys
import near

def tell(a):
    main = sys.modules["__main__"]
    print(json.dumps([
        __name__, __file__, sys.argv, main is __main__, main.tell is tell, near.HERE,
        os.getcwd() in sys.path, tell.__module__, a,
    ]))
"""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/near.py").write_text("HERE = 'beside the launcher'\n")
    assert said(call(tmp_path, "tell", {"a": None}, launcher)) == [
        *("__main__", "exp/train.py", ["exp/train.py"], True, True, "beside the launcher"),
        *(False, "__main__", None),
    ]


def test_what_the_experiment_raises_has_the_launchers_lines(tmp_path):
    launcher = (
        "def a():\n    b()\n\na()\nif __name__ == '__main__':\n    a()\ndef b():\n    1 / 0\n"
    )
    done = call(tmp_path, "a", {}, launcher)
    assert done.returncode == 1
    assert 'File "exp/train.py", line 8, in b\n    1 / 0' in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_its_exit_code_is_the_experiments(tmp_path):
    assert call(tmp_path, "a", {}, "import sys\ndef a():\n    sys.exit(7)\n").returncode == 7


def test_methods_and_partial_objects(tmp_path):
    launcher = """\
import functools
class Runs:
    @classmethod
    def go(cls, *, n):
        print(n)
half = functools.partial(Runs.go, n=1)
"""
    assert said(call(tmp_path, "Runs.go", {"n": 5}, launcher)) == 5
    assert said(call(tmp_path, "half", {"n": 6}, launcher)) == 6


def test_click_commands(tmp_path):
    launcher = """\
import click
from reprorun import wrap_experiment

@click.command()
@click.option("--seed", required=True)
@wrap_experiment
def train(ctxt, seed):
    print(seed)

@click.command()
@click.argument("n")
def plain(n):
    train.main([])

train()
plain.main()
"""
    assert said(call(tmp_path, "train", {"seed": 4}, launcher)) == 4
    message = refused(call(tmp_path, "gone", {}, launcher))
    assert message == "exp/train.py has no gone; its functions: train, plain"


def test_p_comes_over_what_was_kept(tmp_path):
    guest = {"log_dir": str(tmp_path), "root": str(tmp_path), "metadata": {}, "params": {"lr": 2}}
    kept = {"seed": 1, "lr": {"$type": "gone.Schedule", "a": 1}}
    variables = {"REPRORUN_GUEST": json.dumps(guest)}
    assert said(call(tmp_path, "train", kept, **variables)) == [1, 2]
    launcher = "def train(seed, lr):\n    print([seed, lr])\n"
    assert said(call(tmp_path, "train", kept, launcher, **variables)) == [1, 2]
    guest["params"] = {"rl": 2}
    variables = {"REPRORUN_GUEST": json.dumps(guest)}
    assert "takes no parameter 'rl'" in refused(call(tmp_path, "train", kept, **variables))


# ---------------------------------------------------------------- the parameters

KINDS = """\
import collections, enum, json

class Colour(enum.Enum):
    RED = 1

class Policy:
    pass

def act():
    pass

def train(value=None):
    known = {Colour.RED: "red", Policy: "policy", act: "act", collections.OrderedDict: "ordered"}
    def tell(x):
        if isinstance(x, list):
            return [tell(each) for each in x]
        if isinstance(x, dict):
            return {key: tell(each) for key, each in x.items()}
        return known.get(x, x)
    print(json.dumps(tell(value)))
"""


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        ({"$enum": "__main__.Colour.RED"}, "red"),
        ({"$typename": "__main__.Policy"}, "policy"),
        ({"$class": "__main__.Policy"}, "policy"),
        ({"$function": "__main__.act"}, "act"),
        ({"$typename": "collections.OrderedDict"}, "ordered"),
        ([1, {"a": [{"$function": "__main__.act"}]}], [1, {"a": ["act"]}]),
        ({"a": 1, "b": None}, {"a": 1, "b": None}),
        ("circular motion", "circular motion"),
        ("an array(1)", "an array(1)"),
    ],
)
def test_what_was_kept_by_its_name_is_found_again(tmp_path, kept, wanted):
    assert said(call(tmp_path, "train", {"value": kept}, KINDS)) == wanted


@pytest.mark.parametrize(
    "kept",
    [
        {"$type": "__main__.Policy", "a": 1},
        {"$typename": "__main__.Gone"},
        {"$typename": "gone.Policy"},
        {"$function": "__main__.<lambda>"},
        {"$function": "eval('1')"},
        {"$enum": 1},
        {"$typename": "Policy"},
        "$unknown",
        "<__main__.Policy object at 0x7f12ab>",
        "array([1, 2])",
        "circular {'a': 1}",
        [{"deep": "<x at 0x1>"}],
    ],
)
def test_what_can_not_be_made_again_is_an_error(tmp_path, kept):
    message = refused(call(tmp_path, "train", {"value": kept}, KINDS))
    assert message.startswith("the parameter value was kept as ")
    assert "-P value=VALUE" in message


def test_whole_numbers_that_may_have_been_integers_are_told(tmp_path):
    done = call(tmp_path, "a", {"n": 3.0, "x": 3.0}, "def a(n=1, x=0.5):\n    print([n, x])\n")
    assert said(done) == [3.0, 3.0]
    assert "n is 3.0" in done.stderr
    assert "-P n=3" in done.stderr
    assert "x is" not in done.stderr


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("gone", {}, "exp/train.py has no gone; its functions: train"),
        ("train.gone", {}, "exp/train.py has no train.gone; its functions: train"),
        ("json.__name__", {}, "json.__name__ is no function, but str"),
        ("json", {}, "json is no function, but module"),
        ("train", [], "the parameters in parameters.json are no JSON object, but list"),
        ("train", "{", "the parameters in parameters.json are not JSON: "),
        ("train", "[" * 100_000, "the parameters in parameters.json are not JSON: "),
        (
            "train",
            {"seed": 1, "sed": 1},
            "train() takes no parameter 'sed'; it takes: seed, lr",
        ),
        (
            "train",
            {"lr": 1},
            "train() needs a value for seed, which the parameters do not hold; "
            "it takes: seed, lr. Give it with -P seed=VALUE",
        ),
    ],
)
def test_what_can_not_be_called_so(tmp_path, name, parameters, message):
    assert refused(call(tmp_path, name, parameters)).startswith(message)


def test_wrapped_functions_are_named_first(tmp_path):
    launcher = "def _hidden(): pass\ndef aid(): pass\nclass Net: pass\n" + LAUNCHER
    message = refused(call(tmp_path, "gone", {}, launcher))
    assert message.endswith("its functions: train, aid, Net")


def test_without_functions(tmp_path):
    assert refused(call(tmp_path, "x", {}, "y = 1\n")).endswith("its functions: none")


def test_wrong_arguments_of_the_module(tmp_path):
    words = [sys.executable, "-m", "reprorun.experiment.function"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for arguments in (["a"], ["a", "b", "c", "d"]):
        done = subprocess.run([*words, *arguments], env=env, capture_output=True, text=True)
        assert "it takes LAUNCHER NAME PARAMETERS_FILE" in refused(done)
    (tmp_path / "p.json").write_text("{}")
    done = subprocess.run(
        [*words, "gone.py", "f", "p.json"], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert "the launcher gone.py can't be read" in refused(done)
    done = subprocess.run(
        [*words, "p.json", "f", "gone.json"], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert "the parameters in gone.json can't be read" in refused(done)


# ---------------------------------------------------------------- what is left out

WRAPPED = """\
from garage import wrap_experiment
@wrap_experiment(prefix='x')
def train(ctxt): pass
def aid(): pass
def main(): train()
"""


def left_out(text: str, called: str = "train") -> list[str]:
    """The statements that are taken out."""
    lines = text.splitlines()
    tree, numbers = without_calls(text.encode(), "x.py", called)
    compile(tree, "x.py", "exec")
    whole = {s.lineno: ast.get_source_segment(text, s) for s in ast.parse(text).body}
    assert sorted([*numbers, *(s.lineno for s in tree.body)]) == sorted(whole)
    return [lines[number - 1] for number in numbers]


@pytest.mark.parametrize(
    "statement",
    [
        "train()",
        "train({'name': 'x'}, seed=1)",
        "main()",
        "await_ = train()",
        "x: int = train()",
        "for seed in range(3): train(seed=seed)",
        "while True: train()",
        "with open('x') as f: train()",
        "if True: train()",
        "try: train()",
        "raise SystemExit(main())",
        "sys.exit(main())",
        "print(train())",
        "fire.Fire(main)",
        "app.run(main=train)",
        "pool.map(train, [1])",
        "asyncio.run(main())",
        "train.main([])",
        "main.callback()",
        "if __name__ == '__main__': aid()",
        "if '__main__' == __name__: aid()",
        "if __name__ == '__main__' and x: aid()",
        "[train(seed=n) for n in (1, 2)]",
    ],
)
def test_calls_of_experiments_are_left_out(statement):
    ending = "\nfinally: pass" if statement.startswith("try") else ""
    assert left_out(f"{WRAPPED}{statement}{ending}\n") == [statement]


@pytest.mark.parametrize(
    "statement",
    [
        "aid()",
        "x = aid()",
        "register('env', aid)",
        "atexit.register(aid)",
        "import train",
        "names = ['train']",
        "short = functools.partial(train, seed=1)",
        "later = lambda: train()",
        "other = wrap_experiment(aid)",
        "class Runs:\n    def go(self): train()",
        "if __name__ != '__main__': aid()",
        "if name == '__main__': aid()",
        "if __name__ == 'main': aid()",
        "re.match('(x)', 'x').group(1)",
        "'train()'",
    ],
)
def test_everything_else_stays(statement):
    assert left_out(f"{WRAPPED}{statement}\n") == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from garage import wrap_experiment as we\n@we\ndef t(ctxt): pass\nt()", ["t()"]),
        ("import garage\n@garage.wrap_experiment\ndef t(ctxt): pass\nt()", ["t()"]),
        ("def t(ctxt): pass\nt = wrap_experiment(t)\nt()", ["t()"]),
        ("w = wrap_experiment(prefix='x')\ndef f(c): pass\nt = w(f)\nt()", ["t()"]),
        ("@click.command()\ndef cli(): pass\ncli()", ["cli()"]),
        ("@click.group()\ndef cli(): pass\n@cli.command()\ndef sub(): pass\ncli()", ["cli()"]),
        ("from other import named\nnamed()\nother()", ["named()"]),
        ("def a(): b()\ndef b(): named()\nasync def c(): await a()\nrun(c())", ["run(c())"]),
        ("class R:\n    def go(self): named()\nR().go()", ["R().go()"]),
    ],
)
def test_what_is_an_experiment(text, wanted):
    assert left_out(text, called="named") == wanted
