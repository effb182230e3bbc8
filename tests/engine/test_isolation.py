"""What a script can reach from inside, tried from inside."""

from __future__ import annotations

import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

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


DEVICES = {
    "/dev/console", "/dev/full", "/dev/null", "/dev/ptmx", "/dev/pts/ptmx", "/dev/random",
    "/dev/tty", "/dev/urandom", "/dev/zero",
}  # fmt: skip
ENGINES_OWN = ("/proc", "/sys", "/dev", "/etc/", "/sbin/docker-init", "/usr/sbin/docker-init")
FORBIDDEN = {"EPERM", "EACCES", "PermissionError", "ENOSYS"}


class HostServices(NamedTuple):
    """What listens on the host, for nobody but the host."""

    port: int
    abstract: str


@pytest.fixture
def services() -> Iterator[HostServices]:
    name = f"reprorun-test-{uuid.uuid4().hex}"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        local.bind("\0" + name)
        local.listen()
        yield HostServices(tcp.getsockname()[1], name)


def probe(bench: Bench, services: HostServices, *flags: str) -> dict[str, Any]:
    """The findings of a run with two inputs, one of them with a program that is setuid root."""
    outside = bench.root.parent / "outside"
    outside.mkdir()
    (outside / "data.txt").write_text("data")
    (outside / "data.txt").chmod(0o666)
    bench.take("isolation")
    bench.write({"data/large.txt": "ignored", ".gitignore": "data/\n"})
    bench.commit()
    chown_all(bench.root.parent, bench.user)
    shutil.copyfile("/usr/bin/id", outside / "setuid")  # root's, where the tests run as root
    (outside / "setuid").chmod(0o6755)
    given = {
        "inputs": ["/workspace/data/large.txt", f"{outside}/data.txt"],
        "setuid": f"{outside}/setuid",
        "hosts": ["127.0.0.1", "localhost", "172.17.0.1"],
        "port": services.port,
        "abstract": services.abstract,
    }
    limits = ["--memory", "96m", "--cpus", "0.5"]
    words = ["--input", "data", "--input", str(outside), *limits, *flags]
    done = bench.exec("probe.py", json.dumps(given), flags=words, env={"SECRET": "of the host"})
    return {
        **done.said(),
        "user": bench.user,
        "declared": {str(done.log_dir): "/log",
                     str(done.log_dir / "launch_archive.tar.xz"): "/log/launch_archive.tar.xz",
                     str(bench.root / "data"): "/workspace/data",
                     str(outside): str(outside)},
        "cache": bench.env["XDG_CACHE_HOME"],
    }  # fmt: skip


@pytest.fixture(params=["somebody", "root"])
def probed(request: pytest.FixtureRequest, services: HostServices) -> dict[str, Any]:
    """The findings of a run by somebody who is not root, and by root."""
    if request.param == "root" and os.getuid() != 0:
        pytest.fail("the tests of runs by root have to be run by root")
    name = "bench" if request.param == "root" else "user_bench"
    return probe(request.getfixturevalue(name), services)


def test_a_container_allows_no_more_than_it_must(probed: dict[str, Any]) -> None:
    assert_no_rights(probed)
    assert_only_declared_mounts(probed)
    assert_limits(probed)
    assert_nothing_of_the_host_is_reached(probed)
    assert probed["interfaces"] == ["lo"]
    assert probed["connect"] == "OSError"
    assert set(probed["loopback"].values()) <= {"ConnectionRefusedError", "OSError"}
    # the run's own places can be written to, and for root also what belongs to root in the image
    assert probed["home"] == probed["workspace"] == probed["own source"] == "written"
    assert set(probed["inputs"].values()) == {"OSError"}
    assert set(probed["links"].values()) == {"OSError"}  # another mount, though the same disk
    if probed["user"].uid != 0:
        assert set(probed["outside"].values()) == {"PermissionError"}
    assert_variables(probed)


def test_the_host_is_not_reached_through_a_bridge(
    user_bench: Bench, services: HostServices
) -> None:
    probed = probe(user_bench, services, "--network", "bridge")
    assert sorted(probed["interfaces"]) == ["eth0", "lo"]
    # services of 127.0.0.1 alone; what listens on all addresses is in the network's reach
    assert set(probed["loopback"].values()) <= {"ConnectionRefusedError", "OSError", "TimeoutError"}
    assert_no_rights(probed)
    assert_nothing_of_the_host_is_reached(probed)


def assert_no_rights(probed: dict[str, Any]) -> None:
    status = probed["status"]
    for kind in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    uid, gid = probed["user"].uid, probed["user"].gid
    assert probed["ids"] == [uid, gid, uid, gid]
    assert set(probed["groups"]) <= {gid}
    assert probed["setuid"] == str(uid)
    assert probed["mount program"] != 0
    calls = probed["calls"]
    if uid == 0:
        assert calls.pop("setuid") == 0  # it is that already
    allowed = {name: how for name, how in calls.items() if how not in FORBIDDEN}
    assert allowed == {}
    assert probed["disk"] == probed["memory device"] == "PermissionError"


def assert_only_declared_mounts(probed: dict[str, Any]) -> None:
    mounts = [m for m in probed["mounts"] if not m["at"].startswith(ENGINES_OWN)]
    assert {m["at"] for m in mounts} == {"/", *probed["declared"].values()}
    at = {m["at"]: m for m in mounts}
    for source, target in probed["declared"].items():
        assert source.endswith(at[target]["part"]), target  # that directory, not one above it
        assert ("ro" in at[target]["options"]) is (target != "/log"), target
    kinds = {m["at"]: m["kind"] for m in probed["mounts"] if m["at"].startswith("/etc/")}
    assert set(kinds) <= {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    assert next(m for m in probed["mounts"] if m["at"] == "/sys")["options"][0] == "ro"
    fixed = {m["at"] for m in probed["mounts"] if "ro" in m["options"]}
    kernels = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
    assert {path for path in kernels if os.path.exists(path)} <= fixed
    masked = probed["masked"]
    assert set(masked["read"].values()) <= {0, "PermissionError"}
    assert set(masked["written"].values()) <= {"PermissionError", "OSError", "FileNotFoundError"}
    assert masked["firmware"] in ([], "PermissionError", "FileNotFoundError")
    assert set(probed["devices"]) <= DEVICES


def assert_limits(probed: dict[str, Any]) -> None:
    assert probed["pid1"] == "docker-init"
    assert probed["pids"] == "4096"
    assert probed["memory"] == str(96 << 20)
    assert probed["cpu"] == "50000"
    assert probed["shm"] == 1 << 30
    assert probed["processes"]["count"] < 10  # its own
    assert probed["processes"]["traced"] in ("ESRCH", "EPERM")


def assert_nothing_of_the_host_is_reached(probed: dict[str, Any]) -> None:
    assert probed["sockets"] == []
    assert probed["abstract"] in ("ConnectionRefusedError", "PermissionError")
    assert probed["kernel"] in ("PermissionError", "OSError")


def assert_variables(probed: dict[str, Any]) -> None:
    told = probed["environment"]
    assert {name: told.get(name) for name in ENVIRONMENT} == ENVIRONMENT
    assert "SECRET" not in told
    assert told["PATH"].startswith("/opt/reprorun/bin:")
    assert probed["cache"] not in str(told)


def test_the_attempts_succeed_where_they_may(services: HostServices) -> None:
    """The probe's own eyes: on the host, what it looks for is there."""
    with socket.create_connection(("127.0.0.1", services.port)):
        pass
    with socket.socket(socket.AF_UNIX) as local:
        local.connect("\0" + services.abstract)


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
