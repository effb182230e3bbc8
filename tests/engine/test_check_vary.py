"""`reprorun check` tells the truth: experiments with known answers, on the real engine."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reprorun import store

from .bench import PROJECTS, Bench, one_message
from .complete import assert_valid
from .conftest import Session

QUICK = ("--confirm", "2")


class Zoo(Bench):
    """Experiments of which it is known what differs, and why; each is recorded once."""

    def of(self, name: str, *args: str, flags: tuple[str, ...] = ()) -> Path:
        """The record of an experiment."""
        log_dir = self.records / name
        if not log_dir.exists():
            done = self.exec(f"{name}.py", *args, flags=flags, log_dir=log_dir)
            assert done.code == 0, done.err
        return log_dir

    def check(self, name: str, *flags: str, code: int) -> dict[str, Any]:
        """What a check says of an experiment, as JSON."""
        done = self.reprorun("check", str(self.of(name)), "--json", *flags)
        assert done.code == code, done.out + done.err
        (result,) = json.loads(done.out)["records"]
        return result


@pytest.fixture(scope="module")
def zoo(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    place = tmp_path_factory.mktemp("zoo")
    session.places.append(place)
    return _zoo(Zoo(place / "project", place / "records", session.env, session.commits))


def _zoo(bench: Any) -> Any:
    for path in (bench.root, bench.records):
        path.mkdir(exist_ok=True)
    bench.take("zoo")
    bench.write({"requirements.txt": "numpy\nscipy\n"})
    bench.commit()
    return bench


def blamed(result: dict[str, Any]) -> tuple[str, list[str]]:
    """The kind, and which factors."""
    assert all(cause["words"] and cause["remedy"] for cause in result["blame"]["causes"])
    return result["blame"]["kind"], sorted(c["factor"] for c in result["blame"]["causes"])


# ---------------------------------------------------------------- no false alarm


def test_the_deterministic_one_is_the_same_in_every_circumstance(zoo: Zoo) -> None:
    result = zoo.check("deterministic", "--vary", "all", "--repeat", "20", code=0)
    assert result["verdict"] == "identical"
    assert result["blame"] is None
    assert len(result["repeats"]) == 20
    varied = {json.dumps(repeat["variations"]) for repeat in result["repeats"]}
    assert len(varied) == 20
    assert all(len(repeat["variations"]) >= 12 for repeat in result["repeats"])
    assert [repeat["log_dir"] for repeat in result["repeats"]] == [None] * 20


@pytest.mark.parametrize("name", ["time_in_log", "dict_order"])
def test_what_differs_by_its_nature_is_equivalent(zoo: Zoo, name: str) -> None:
    assert zoo.check(name, "--repeat", "2", code=0)["verdict"] == "equivalent"


@pytest.mark.parametrize("name", ["set_order", "listdir_order", "locale_parsing", "uid_in_path"])
def test_what_depends_on_circumstances_is_the_same_in_the_same_ones(zoo: Zoo, name: str) -> None:
    assert zoo.check(name, code=0)["verdict"] == "identical"


def test_the_last_bits_are_within_tolerance(zoo: Zoo) -> None:
    assert zoo.check("last_bit", "--rtol", "1e-9", code=0)["verdict"] == "within tolerance"


# ---------------------------------------------------------------- from run to run


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("unseeded_random", "random"),
        ("unseeded_numpy", "numpy"),
        ("late_seed", "random"),
        ("last_bit", "entropy"),
        ("time_in_result", "clock"),
        ("object_address", "addresses"),
        ("thread_race", "schedule"),
        ("late_divergence", "random"),
    ],
)
def test_what_differs_from_run_to_run(zoo: Zoo, name: str, cause: str) -> None:
    result = zoo.check(name, *QUICK, code=1)
    assert result["verdict"] == "different"
    assert blamed(result) == ("nondeterministic", [cause])
    left = sorted(zoo.root.glob(f"data/local/check/{name}*"))
    assert [str(path) for path in left] == [result["repeats"][0]["log_dir"]]


def test_the_first_divergence_of_a_model(zoo: Zoo) -> None:
    result = zoo.check("late_divergence", "--no-blame", code=1)
    assert result["blame"] is None
    found = {f["path"]: f["finding"] for f in result["repeats"][0]["comparison"]["findings"]}
    assert found["outputs/progress.csv"]["divergence"]["where"] == "row 4, column loss"


# ---------------------------------------------------------------- circumstances


@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("set_order", ["hashseed"]),
        ("listdir_order", ["dirorder"]),
        ("locale_parsing", ["locale"]),
        ("uid_in_path", ["user"]),
        ("path_in_result", ["workdir"]),
    ],
)
def test_what_depends_on_circumstances(zoo: Zoo, name: str, causes: list[str]) -> None:
    result = zoo.check(name, "--vary", "all", *QUICK, code=1)
    assert blamed(result) == ("factor", causes)


def test_a_sum_over_threads(zoo: Zoo) -> None:
    factors = "hashseed,timezone,hostname,threads=3,umask,dirorder"
    done = zoo.reprorun("check", str(zoo.of("thread_sum")), "--vary", factors, *QUICK)
    assert done.code == 1
    count = os.cpu_count()
    assert f"because of: thread count ({count} -> 3)\n" in done.out
    assert "differs: outputs/result.txt from line 1 on" in done.out
    assert "--numerics portable" in done.out


# ---------------------------------------------------------------- downloads


class _Data(BaseHTTPRequestHandler):
    content: Any

    def do_GET(self) -> None:
        data = type(self).content()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def served() -> Iterator[str]:
    """The address of data on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Data) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/data.txt"
        server.shutdown()


@pytest.mark.parametrize("kind", ["nondeterministic", "changed"])
def test_a_download(zoo: Zoo, served: str, kind: str) -> None:
    _Data.content = staticmethod(lambda: b"1\n")
    shutil.rmtree(zoo.records / "download", ignore_errors=True)
    zoo.of("download", served, flags=("--network", "host"))
    each_time = iter(range(2, 100))
    _Data.content = staticmethod(lambda: b"2\n" if kind == "changed" else b"%d\n" % next(each_time))
    result = zoo.check("download", "--network", "host", *QUICK, code=1)
    assert blamed(result) == (kind, ["network"])


# ---------------------------------------------------------------- what a varied run sees


def seen_in(log_dir: Path) -> dict[str, Any]:
    return json.loads((log_dir / "outputs/seen.json").read_bytes())


def kept(result: dict[str, Any]) -> Path:
    return Path(result["repeats"][0]["log_dir"])


def test_every_factor_reaches_the_run_and_can_be_had_again(zoo: Zoo) -> None:
    before = seen_in(zoo.of("circumstances"))
    result = zoo.check("circumstances", "--vary", "all", "--no-blame", code=1)
    log_dir = kept(result)
    record = store.read_record(str(log_dir))
    assert_valid(log_dir)
    values = {variation.factor: variation.value for variation in record.variations}
    assert [{"factor": v.factor, "value": v.value, "seed": v.seed} for v in record.variations] == (
        result["repeats"][0]["variations"]
    )
    seen = seen_in(log_dir)
    for factor in before:
        assert seen[factor] != before[factor], factor
    assert seen["hashseed"] == values["hashseed"]
    assert seen["hostname"] == values["hostname"]
    assert seen["user"] == [int(number) for number in values["user"].split(":")]
    assert seen["home"] == values["home"]
    assert seen["workdir"] == [values["workdir"]] * 2
    assert oct(seen["umask"])[2:] == values["umask"].lstrip("0")
    assert seen["cpus"] == [int(values["cpus"])] * 2
    assert seen["threads"] == values["threads"]
    # it began shortly before the end of the year, and may be past it
    assert seen["clock"] - int(values["clock"][:4]) in (0, 1)
    assert sorted(seen["dirorder"]) == sorted(before["dirorder"])
    assert [f"{name}=1" for name in seen["extraenv"]] == [values["extraenv"]]
    assert record.limits.memory == int(values["memory"])
    assert [d.what for d in record.differences if d.wanted] == ["limits: memory"]
    assert [d.what for d in record.differences if not d.wanted] == []

    again = zoo.new_log_dir()
    done = zoo.reprorun("rerun", "--log-dir", str(again), str(log_dir), log_dir=again)
    assert done.code == 0, done.err
    assert done.record.variations == record.variations
    assert seen_in(again) == seen
    assert done.record.differences == ()


def test_the_same_seed_varies_the_same(zoo: Zoo) -> None:
    flags = ("--vary", "hashseed,user,hostname", "--no-blame", "--vary-seed", "3")
    first, second = (zoo.check("circumstances", *flags, code=1) for _ in range(2))
    assert first["repeats"][0]["variations"] == second["repeats"][0]["variations"]
    assert seen_in(kept(first)) == seen_in(kept(second))


@pytest.mark.parametrize("umask", ["077", "022"])
def test_what_another_user_leaves_is_the_callers_own(user_bench: Bench, umask: str) -> None:
    user_bench.take("zoo")
    user_bench.commit()
    original = user_bench.exec("circumstances.py")
    assert original.code == 0, original.err
    mode = original.log_dir.stat().st_mode
    vary = f"user=20001:20002,umask={umask}"
    done = user_bench.reprorun(
        "check", str(original.log_dir), "--json", "--no-blame", "--vary", vary
    )
    assert done.code == 1, done.err
    log_dir = kept(json.loads(done.out)["records"][0])
    assert seen_in(log_dir)["user"] == [20001, 20002]
    everything = [log_dir, *log_dir.rglob("*")]
    owners = {(p.lstat().st_uid, p.lstat().st_gid) for p in everything}
    assert owners == {(user_bench.user.uid, user_bench.user.gid)}
    assert log_dir.stat().st_mode == mode
    assert (log_dir / "link").readlink() == Path("beside")
    assert (log_dir / "outputs/deep/er/made").read_text() == "x"
    record = store.read_record(str(log_dir))
    assert record.status == "finished"
    assert record.not_kept == original.record.not_kept
    assert {"beside", "outputs/deep/er/made"} <= {output.path for output in record.outputs}


# ---------------------------------------------------------------- numerics

GENERATIONS = ("nehalem", "haswell", "zen", "skylakex")


def test_numbers_depend_on_the_processor_unless_they_are_portable(zoo: Zoo) -> None:
    portable = zoo.records / "portable"
    done = zoo.exec("numerics.py", flags=["--numerics", "portable"], log_dir=portable)
    assert done.code == 0, done.err
    assert done.record.numerics == "portable"
    verdicts: dict[str, list[str]] = {"numerics": [], "portable": []}
    for generation in GENERATIONS:
        for name, found in verdicts.items():
            code = 1 if name == "numerics" and generation != "skylakex" else None
            done = zoo.reprorun(
                "check", str(zoo.of(name)), "--json", "--no-blame",
                "--vary", f"instructions={generation},threads=3",
            )  # fmt: skip
            assert code is None or done.code == code
            found.append(json.loads(done.out)["records"][0]["verdict"])
    assert verdicts["portable"] == ["identical"] * 4
    assert verdicts["numerics"][:3] == ["different"] * 3
    rerun = zoo.new_log_dir()
    done = zoo.reprorun("rerun", "--log-dir", str(rerun), str(portable), log_dir=rerun)
    assert done.record.numerics == "portable"


def test_the_processor_is_named_as_the_cause(zoo: Zoo) -> None:
    result = zoo.check("numerics", "--vary", "instructions,hashseed,timezone", *QUICK, code=1)
    assert blamed(result) == ("factor", ["instructions"])
    assert "--numerics portable" in result["blame"]["causes"][0]["remedy"]


# ---------------------------------------------------------------- what can't be asked for


@pytest.mark.parametrize(("flag", "words"), [("moon", "no such factor"), ("user=0:0", "no value")])
def test_what_can_not_be_varied(zoo: Zoo, flag: str, words: str) -> None:
    done = zoo.reprorun("check", str(zoo.of("deterministic")), "--vary", flag)
    assert done.code == 2
    assert words in one_message(done.err)


def test_a_record_that_was_varied_in_an_unknown_way(zoo: Zoo) -> None:
    copy = zoo.records / "hostile"
    shutil.copytree(zoo.of("deterministic"), copy, dirs_exist_ok=True)
    content = json.loads((copy / store.RUN_FILE).read_bytes())
    content["variations"] = [{"factor": "user", "value": "0:0"}]
    (copy / store.RUN_FILE).write_text(json.dumps(content))
    done = zoo.reprorun("rerun", "--log-dir", str(zoo.new_log_dir()), str(copy))
    assert done.code == 2
    assert "user=0:0" in one_message(done.err)


def test_the_projects_of_the_zoo_are_all_here() -> None:
    experiments = {path.stem for path in (PROJECTS / "zoo").glob("*.py")}
    source = Path(__file__).read_text()
    assert all(f'"{name}' in source for name in experiments), experiments
