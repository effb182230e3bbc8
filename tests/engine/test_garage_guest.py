"""What stands in for garage in the container: carried along, and at work on old Pythons too."""

from __future__ import annotations

import json

import pytest

from tests import garage_zoo as zoo

from ..kit import BASE
from .bench import OLD_BASE, Bench

# Starts what `rerun` starts, with its surroundings, from a run of its own.
START = """\
import json, os, subprocess, sys
import reprorun.experiment

shims = os.path.join(os.path.dirname(reprorun.experiment.__file__), "shims")
with open("variant.json", "w") as file:
    json.dump({"seed": 7, "lr": 0.25}, file)
env = dict(os.environ, PYTHONPATH=shims, PATH=os.environ["PATH"] + ":" + shims + "/bin")
words = ["-m", "reprorun.experiment.function", "train.py", "train", "variant.json"]
for command in ([sys.executable, *words], ["git", "rev-parse", "HEAD"]):
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    print(json.dumps([done.returncode, done.stdout.decode(), done.stderr.decode()]))
"""


@pytest.mark.parametrize("base", [BASE, OLD_BASE])
def test_the_shim_and_one_function(bench: Bench, base: str) -> None:
    bench.write({"start.py": START, "train.py": zoo.NEEDS_PARAMETER})
    bench.commit()
    done = bench.exec("start.py", flags=("--base-image", base))
    assert done.code == 0, done.err
    function, git = map(json.loads, done.out.splitlines())
    assert function[:2] == [0, "seed 7, lr 0.25\n"], function
    assert done.record.sub_records == ("train",)
    variant = json.loads((done.log_dir / "train/variant.json").read_bytes())
    assert variant == {"seed": 7, "lr": 0.25}
    assert (done.log_dir / "train/result.csv").read_text().startswith("0,0.08")
    assert git[0] == 128
    assert "not a git repository" in git[2]
