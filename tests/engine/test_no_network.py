"""Without network a run has a loopback of its own; nothing else, and nothing of the host's."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from .bench import Bench

pytestmark = pytest.mark.engine

LOOK = """
import json, os, socket
def attempt(work):
    try:
        return work()
    except OSError as error:
        return type(error).__name__
server = socket.create_server(("localhost", 0))
port = server.getsockname()[1]
print(json.dumps({
    "namespace": os.readlink("/proc/self/ns/net"),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "loopback": attempt(lambda: socket.create_connection(("localhost", port)).getpeername()[0]),
    "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 5) and "reached"),
    "name": attempt(lambda: socket.getaddrinfo("data.example.invalid", 80) and "found"),
    "hosts": open("/etc/hosts").read(),
    "written": attempt(lambda: open("/etc/hosts", "a") and "writable"),
}))
"""


def test_each_run_has_a_loopback_of_its_own_and_nothing_else(bench: Bench) -> None:
    bench.write({"train.py": LOOK})
    bench.commit()
    for _ in range(2):
        has_a_loopback_alone(json.loads(bench.exec("train.py").out))


def has_a_loopback_alone(told: dict[str, Any]) -> None:
    """See that all is right with what LOOK says in a container."""
    assert told["interfaces"] == ["lo"]
    assert told["namespace"] != os.readlink("/proc/self/ns/net")
    assert told["loopback"] == "127.0.0.1"
    assert told["outside"] == "OSError"
    assert told["name"] == "gaierror"
    assert told["hosts"] == "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n"
    assert told["written"] in ("PermissionError", "OSError")


def test_nothing_of_it_stays_in_the_record(bench: Bench) -> None:
    bench.write({"train.py": "print(1)\n"})
    bench.commit()
    done = bench.exec("train.py")
    assert not [name for name in os.listdir(done.log_dir) if "hosts" in name]
    assert not done.record.outputs
    assert not done.record.not_kept
