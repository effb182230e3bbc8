"""What a script can reach from inside, tried from inside."""

from __future__ import annotations

from typing import Any

import pytest

from .bench import Bench, chown_all

ENVIRONMENT = {
    "HOME": "/home/reprorun",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}


@pytest.fixture
def probed(user_bench: Bench) -> dict[str, Any]:
    """The findings of a run by somebody who is not root, with two inputs."""
    bench = user_bench
    outside = bench.root.parent / "outside"
    outside.mkdir()
    (outside / "data.txt").write_text("data")
    (outside / "data.txt").chmod(0o666)
    bench.take("isolation")
    bench.write({"data/large.txt": "ignored", ".gitignore": "data/\n"})
    bench.commit()
    chown_all(bench.root.parent, bench.user)
    flags = ["--input", "data", "--input", str(outside), "--memory", "96m", "--cpus", "0.5"]
    inputs = ("/workspace/data/large.txt", f"{outside}/data.txt")
    return {
        **bench.exec("probe.py", *inputs, flags=flags, env={"SECRET": "of the host"}).said(),
        "user": bench.user,
        "outside": str(outside),
        "cache": bench.env["XDG_CACHE_HOME"],
    }


def test_a_container_allows_no_more_than_it_must(probed: dict[str, Any]) -> None:
    status = probed["status"]
    for kind in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    uid, gid = probed["user"].uid, probed["user"].gid
    assert probed["ids"] == [uid, gid, uid, gid]
    assert set(probed["groups"]) <= {gid}
    assert probed["pid1"] == "docker-init"
    assert probed["pids"] == "4096"
    assert probed["memory"] == str(96 << 20)
    assert probed["cpu"] == "50000"
    assert probed["shm"] == 1 << 30

    assert probed["interfaces"] == ["lo"]
    assert probed["connect"] == "OSError"
    assert probed["sockets"] == []
    assert probed["kernel"] in ("PermissionError", "OSError")
    assert probed["device"] == "PermissionError"
    assert probed["mount"] != 0
    assert set(probed["inputs"].values()) == {"OSError"}

    assert probed["home"] == probed["workspace"] == probed["own source"] == "written"

    engines_own = ("/proc", "/sys", "/dev", "/etc/", "/sbin/docker-init", "/usr/sbin/docker-init")
    mounts = {path for path in probed["mounts"] if not path.startswith(engines_own)}
    assert mounts == {"/", "/log", "/workspace/data", probed["outside"]}

    told = probed["environment"]
    assert {name: told.get(name) for name in ENVIRONMENT} == ENVIRONMENT
    assert "SECRET" not in told
    assert told["PATH"].startswith("/opt/reprorun/bin:")
    assert probed["cache"] not in str(told)


def test_a_network_is_given_only_when_it_is_asked_for(bench: Bench) -> None:
    bench.write({"train.py": "import socket\nprint([n for _, n in socket.if_nameindex()])\n"})
    bench.commit()
    done = bench.exec("train.py", flags=["--network", "bridge"])
    assert "eth0" in done.out
    assert done.record.network == "bridge"
    assert bench.exec("train.py").out == "['lo']\n"


def test_a_failure_for_want_of_the_network_names_the_flag(bench: Bench) -> None:
    script = "import urllib.request\nurllib.request.urlopen('http://data.example.invalid/x.csv')\n"
    bench.write({"train.py": script})
    bench.commit()
    done = bench.exec("train.py")
    assert done.code == 1
    assert "`--network bridge` gives it one" in done.err
    assert any("--network bridge" in note for note in done.record.notes)
    assert done.record.reason == "ended with exit code 1"


def test_shared_memory_and_variables_reach_the_container(bench: Bench) -> None:
    script = (
        "import os\ns = os.statvfs('/dev/shm')\n"
        "print(s.f_blocks * s.f_frsize, os.environ['CUDA_VISIBLE_DEVICES'])\n"
    )
    bench.write({"train.py": script})
    bench.commit()
    done = bench.exec("train.py", flags=["--shm-size", "96m", "--force-cpu"])
    assert done.out == f"{96 << 20} -1\n"
    assert done.record.runtime == "cpu"
    assert done.record.limits.shm_size == 96 << 20


def test_gpus_that_are_not_there_are_an_error(bench: Bench) -> None:
    bench.write({"train.py": "print('ran without')\n"})
    bench.commit()
    done = bench.exec("train.py", flags=["--gpus", "all"])
    assert (done.code, done.out) == (125, "")
    assert "GPU" in done.err
    assert "--force-cpu" in done.err
    assert done.record.status == "failed"
    assert "GPU" in (done.record.reason or "")
