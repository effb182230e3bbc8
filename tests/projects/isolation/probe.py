"""Try what a container must not allow, and print how each attempt ended, as JSON."""

import json
import os
import pathlib
import socket
import subprocess
import sys


def attempt(action):
    """What an action gave, or the kind of its failure."""
    try:
        return action()
    except OSError as error:
        return type(error).__name__


def connect():
    """Reach an address that is nobody's."""
    socket.create_connection(("192.0.2.1", 80), timeout=3).close()
    return "connected"


def write(path):
    """Write a file and take it away again."""
    with open(path, "a") as file:
        file.write("x")
    return "written"


def first_line(*paths):
    """The first line of the first file that is there."""
    found = [path for path in paths if os.path.exists(path)]
    return pathlib.Path(found[0]).read_text().split()[0] if found else None


def main():
    """Print everything."""
    status = dict(
        line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    )
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    shared = os.statvfs("/dev/shm")
    answer = {
        "status": {name: text.strip() for name, text in status.items()},
        "mounts": [line.split()[4] for line in mounts],
        "sockets": [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)],
        "connect": attempt(connect),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "pids": first_line("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"),
        "memory": first_line(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"
        ),
        "cpu": first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu.max"),
        "shm": shared.f_blocks * shared.f_frsize,
        "ids": [os.getuid(), os.getgid(), os.geteuid(), os.getegid()],
        "groups": os.getgroups(),
        "pid1": first_line("/proc/1/comm"),
        "environment": dict(os.environ),
        "home": attempt(lambda: write(os.path.expanduser("~/x"))),
        "workspace": attempt(lambda: write("/workspace/made.txt")),
        "own source": attempt(lambda: write(__file__)),
        "kernel": attempt(lambda: write("/proc/sys/kernel/hostname")),
        "device": attempt(lambda: os.mknod("/tmp/disk", 0o060600, os.makedev(8, 0))),
        "mount": subprocess.call(["mount", "-t", "tmpfs", "x", "/tmp"], stderr=subprocess.DEVNULL),
        "inputs": {path: attempt(lambda path=path: write(path)) for path in sys.argv[1:]},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
