"""Python processes whose circumstances are changed, as the container's are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reprorun.environment.skeleton import VARIED
from reprorun.experiment.varied import VARIABLE

PACKAGE_ROOT = Path(__file__).parents[3]


def run(script: str, told: Any = None, before: str = "", **env: str) -> str:
    """What a script prints that starts with the line of the `.pth` file."""
    told = told if isinstance(told, str) else json.dumps(told)
    done = subprocess.run(
        [sys.executable, "-S", "-c", before + VARIED + script],
        env={"PYTHONPATH": _paths(), **({} if told == "null" else {VARIABLE: told}), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _paths() -> str:
    """-S leaves site-packages out, where this package itself may be found by another `.pth`."""
    return os.pathsep.join([str(PACKAGE_ROOT), *(path for path in sys.path if path)])


NOW = 1893455999.0  # 2029-12-31T23:59:59
CLOCK = {"clock": {"frozen": NOW}}
SHIFTED = {"clock": {"shift": 86400 * 400.0}}


def test_nothing_is_loaded_where_nothing_is_varied() -> None:
    assert run("import sys; print('reprorun' in sys.modules)") == "False"


def test_what_can_not_be_followed_ends_the_process() -> None:
    for told in ("{", "[]", '{"clock": {}}', '{"order": 3}'):
        with pytest.raises(AssertionError, match="REPRORUN_VARIED can't be followed"):
            run("print('went on')", told)


def test_it_begins_once() -> None:
    for told in (SHIFTED, {"seeded": ["random"]}):
        script = "import random, time; print(random.random(), int(time.time()) // 1000)"
        assert run(VARIED + script, told).split()[1] == run(script, told).split()[1]


# ---------------------------------------------------------------- clock


@pytest.mark.parametrize(
    "asked",
    [
        "time.time()",
        "time.time_ns() / 1e9",
        "time.mktime(time.localtime())",
        "calendar.timegm(time.gmtime())",
        "datetime.now().timestamp()",
        "datetime.now(timezone.utc).timestamp()",
        "datetime.utcnow().replace(tzinfo=timezone.utc).timestamp()",
        "datetime.today().timestamp()",
        "time.mktime(time.strptime(time.ctime()))",
        "time.mktime(time.strptime(time.asctime()))",
        "time.mktime(time.strptime(time.strftime('%Y-%m-%d %H:%M:%S'), '%Y-%m-%d %H:%M:%S'))",
    ],
)
@pytest.mark.parametrize("warmed_up", [True, False])
def test_every_clock_is_shifted(asked: str, warmed_up: bool) -> None:
    imports = "import calendar, time\nfrom datetime import datetime, timezone\n"
    warm = f"for _ in range(20): {asked}\n" if warmed_up else ""
    now = float(run("import time; print(time.time())"))
    shifted = float(run(f"{imports}{warm}print({asked})", SHIFTED, TZ="EST5EDT"))
    assert shifted - now == pytest.approx(86400 * 400, abs=20)


def test_days_and_moments_that_are_given_stay() -> None:
    script = (
        "import time, datetime as d\n"
        "print(d.date.today(), time.gmtime(0)[0], time.strftime('%Y', time.gmtime(0)),"
        "d.datetime.fromtimestamp(0, d.timezone.utc).year, d.datetime(2020, 1, 1).year)"
    )
    assert run(script, CLOCK, TZ="UTC") == "2029-12-31 1970 1970 1970 2020"


def test_datetimes_are_what_they_were() -> None:
    script = (
        "import datetime, pickle\n"
        "class Mine(datetime.datetime): pass\n"
        "now = datetime.datetime.now()\n"
        "assert type(now) is datetime.datetime and type(Mine.now()) is Mine\n"
        "assert pickle.loads(pickle.dumps(now)) == now\n"
        "assert Mine.now().year == 2029\n"
    )
    run(script, CLOCK)


def test_a_frozen_clock_is_the_same_each_time() -> None:
    script = (
        "import time, datetime\n"
        "print([time.time(), time.perf_counter(), time.process_time_ns(), time.time()])\n"
        "print(datetime.datetime.now())\n"
    )
    first = run(script, CLOCK, TZ="UTC")
    assert first == run(script, CLOCK, TZ="UTC")
    assert "2029-12-31 23:59:59" in first
    script = "import time; a = time.time(); assert 0 < time.time() - a < 0.1"
    run(script, CLOCK)


def test_waiting_goes_on_under_a_frozen_clock() -> None:
    run("import queue\ntry: queue.Queue().get(timeout=0.1)\nexcept queue.Empty: pass", CLOCK)


def test_what_replaces_a_function_is_no_method() -> None:
    script = (
        "import time, os\n"
        "class Timer: clock = time.time; names = os.listdir\n"
        "print(Timer().clock() > 0, len(Timer().names('/')) > 0, time.time.__name__)"
    )
    assert run(script, {**CLOCK, "order": "1"}) == "True True time"


# ---------------------------------------------------------------- directories, processors

_WAYS = [
    "os.listdir('.')",
    "[e.name for e in os.scandir()]",
    "list(next(os.walk('.'))[2])",
    "glob.glob('*')",
    "[p.name for p in pathlib.Path('.').iterdir()]",
    "[p.name for p in pathlib.Path('.').glob('*')]",
    "[os.fsdecode(n) for n in os.listdir(b'.')]",
]


@pytest.mark.parametrize("way", _WAYS)
def test_directories_in_another_order(way: str, tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(9)]
    for name in names:
        (tmp_path / name).touch()
    script = f"import glob, os, pathlib; os.chdir({str(tmp_path)!r}); print(' '.join({way}))"
    listed = {order: run(script, {"order": order}).split() for order in ("sorted", "1", "2")}
    assert listed["sorted"] == names
    assert sorted(listed["1"]) == sorted(listed["2"]) == names
    assert len({tuple(order) for order in listed.values()}) == 3
    assert run(script, {"order": "1"}).split() == listed["1"]


def test_a_listing_can_be_closed_and_fail() -> None:
    script = (
        "import os\n"
        "with os.scandir('/') as entries: assert next(entries).is_dir() in (True, False)\n"
        "assert list(entries) == []\n"
        "try: os.listdir('/nowhere')\nexcept FileNotFoundError as error: print(error.filename)"
    )
    assert run(script, {"order": "7"}) == "/nowhere"


def test_another_number_of_processors() -> None:
    script = "import os, multiprocessing as m; print(os.cpu_count(), m.cpu_count())"
    assert run(script, {"cpus": 57}) == "57 57"


# ---------------------------------------------------------------- held still

_DRAWS = {
    "random": (
        "import random\nprint(random.random(), random.Random().random())\n"
        "random.seed(); print(random.random())\n"
    ),
    "numpy": (
        "import numpy as np\nprint(np.random.rand(), np.random.default_rng().random(),"
        "np.random.RandomState().rand())\nnp.random.seed(); print(np.random.rand())\n"
    ),
    "entropy": (
        "import os, uuid, secrets, random\n"
        "print(os.urandom(4), uuid.uuid4(), secrets.token_hex(), random.SystemRandom().random())\n"
    ),
}


@pytest.mark.parametrize("held", _DRAWS)
@pytest.mark.parametrize("drawn", _DRAWS)
def test_each_source_by_itself(held: str, drawn: str) -> None:
    outputs = {run(_DRAWS[drawn], {"seeded": [held]}) for _ in range(2)}
    assert len(outputs) == (1 if held == drawn else 2)


def test_several_sources_and_a_seed_of_the_users() -> None:
    told = {"seeded": ["numpy", "random", "entropy"]}
    assert len({run("".join(_DRAWS.values()), told) for _ in range(2)}) == 1
    script = "import random; random.seed(5); print(random.random())"
    assert run(script, told) == run(script)
    assert run("import random; print(random.Random(5).random())") == run(script)


def test_children_that_are_forked() -> None:
    script = (
        "import os, random\n"
        "child = os.fork()\n"
        "if not child: print(random.random(), flush=True); os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    assert run(script, {"seeded": ["random"]}) == run(script, {"seeded": ["random"]})


def test_torch_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text(
        "from . import random\ncalled = []\nmanual_seed = called.append\n"
        "def seed(): called.append('?')\n"
    )
    (tmp_path / "torch/random.py").touch()
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    script += "import torch; torch.seed(); torch.random.seed(); print(torch.called)"
    assert run(script, {"seeded": ["torch"]}) == "[0, 0, 0]"


def test_objects_are_numbered() -> None:
    script = (
        "class Node: pass\n"
        "class Named:\n"
        "    def __hash__(self): return 7\n"
        "    def __eq__(self, other): return True\n"
        "class Slots: __slots__ = ()\n"
        "nodes = [Node() for _ in range(50)]\n"
        "print(id(nodes[7]), hash(nodes[3]), hash(Named()), id(nodes[7]), hash(Slots()))\n"
        "print([nodes.index(node) for node in set(nodes)])\n"
        "assert len({id(object()) for _ in range(100)}) == 100"
    )
    told = {"addresses": "numbered"}
    assert run(script, told) == run(script, told)
    assert run(script, told).split()[2] == "7"


def test_threads_take_turns() -> None:
    script = "import sys; print(sys.getswitchinterval() > 1000)"
    assert run(script, {"schedule": "serial"}) == "True"
    assert run(script) == "False"
