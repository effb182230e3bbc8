"""Try what a container must not allow, and print how each attempt ended, as JSON."""

import ctypes
import errno
import json
import os
import pathlib
import resource
import socket
import stat
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_USER, NEW_MOUNT, NEW_NETWORK = 0x10000000, 0x00020000, 0x40000000
ATTACH = 16  # of ptrace
SYSCALLS = {  # without a function in libc, by number
    "x86_64": {"init_module": 175, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
               "kexec_load": 246, "open_by_handle_at": 304, "userfaultfd": 323},
    "aarch64": {"init_module": 105, "keyctl": 219, "bpf": 280, "perf_event_open": 241,
                "kexec_load": 104, "open_by_handle_at": 265, "userfaultfd": 282},
}  # fmt: skip


def attempt(action):
    """What an action gave, or the kind of its failure."""
    try:
        return action()
    except OSError as error:
        return type(error).__name__


def connect(address, family=socket.AF_INET):
    """Reach an address."""
    with socket.socket(family) as tried:
        tried.settimeout(3)
        tried.connect(address)
    return "connected"


def write(path):
    """Write a file and take it away again."""
    with open(path, "a") as file:
        file.write("x")
    return "written"


def call(function, *arguments):
    """A call of the system: 0, or the name of the error."""
    ctypes.set_errno(0)
    code = function(*arguments)
    return 0 if code >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")


def system_calls():
    """What only somebody with more rights may call."""
    found = {
        "mount": call(LIBC.mount, b"none", b"/tmp", b"tmpfs", 0, None),
        "bind mount": call(LIBC.mount, b"/", b"/tmp", None, 4096, None),
        "umount": call(LIBC.umount2, b"/log", 0),
        "new user namespace": call(LIBC.unshare, NEW_USER),
        "new mount namespace": call(LIBC.unshare, NEW_MOUNT),
        "new network namespace": call(LIBC.unshare, NEW_NETWORK),
        "chroot": call(LIBC.chroot, b"/tmp"),
        "sethostname": call(LIBC.sethostname, b"x", 1),
        "swapon": call(LIBC.swapon, b"/tmp/x", 0),
        "reboot": call(LIBC.reboot, 0),
        "acct": call(LIBC.acct, None),
        "setuid": 0 if os.getuid() == 0 else call(LIBC.setuid, 0),
        "setuid to another": call(LIBC.setuid, 4321),
        "setgid to another": call(LIBC.setgid, 4321),
        "raw socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
        "packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
    }
    numbers = SYSCALLS[os.uname().machine]
    return {**found, **{name: call(LIBC.syscall, n, 0, 0, 0, 0, 0) for name, n in numbers.items()}}


def mounts():
    """Where something is mounted, of which kind, with which options, and which part of it."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        found.append({"at": fields[4], "part": fields[3], "options": fields[5].split(","),
                      "kind": after.split()[0]})  # fmt: skip
    return found


def masked():
    """What is to be had of the kernel's own files."""
    hidden = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug",
              "/proc/latency_stats", "/proc/timer_stats")  # fmt: skip
    fixed = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
             "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper",
             "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
             "/sys/fs/cgroup/release_agent", "/sys/module/x")  # fmt: skip
    return {
        "read": {p: attempt(lambda p=p: len(open(p, "rb").read(16))) for p in hidden
                 if os.path.exists(p)},
        "written": {p: attempt(lambda p=p: open(p, "ab").close() or "opened") for p in fixed},
        "firmware": attempt(lambda: os.listdir("/sys/firmware")),
    }  # fmt: skip


def devices():
    """The device nodes that there are."""
    found = []
    for directory, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(directory, name)
            if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFBLK, stat.S_IFCHR):
                found.append(path)
    return sorted(found)


def processes():
    """The numbers of the processes that can be seen, and whether a stranger's can be traced."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {"count": len(numbers), "traced": call(LIBC.ptrace, ATTACH, 999_999, 0, 0)}


def links_across_mounts(inputs):
    """Hard links from the log directory to inputs."""
    found = {}
    for path in inputs:
        found[path] = attempt(lambda path=path: os.link(path, "/log/link") or "linked")
    return found


def run_setuid(path):
    """What a program that belongs to root and is setuid takes itself to be."""
    return subprocess.run([path, "-u"], stdout=subprocess.PIPE).stdout.decode().strip()


def first_line(*paths):
    """The first line of the first file that is there."""
    found = [path for path in paths if os.path.exists(path)]
    return pathlib.Path(found[0]).read_text().split()[0] if found else None


def main():
    """Print everything."""
    given = json.loads(sys.argv[1])
    inputs = given["inputs"]
    status = dict(
        line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    )
    shared = os.statvfs("/dev/shm")
    answer = {
        "status": {name: text.strip() for name, text in status.items()},
        "mounts": mounts(),
        "sockets": [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)],
        "connect": attempt(lambda: connect(("192.0.2.1", 80))),
        "loopback": {h: attempt(lambda h=h: connect((h, given["port"]))) for h in given["hosts"]},
        "abstract": attempt(lambda: connect("\0" + given["abstract"], socket.AF_UNIX)),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "pids": first_line("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"),
        "memory": first_line(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"
        ),
        "cpu": first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu.max"),
        "shm": shared.f_blocks * shared.f_frsize,
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK),
        "ids": [os.getuid(), os.getgid(), os.geteuid(), os.getegid()],
        "groups": os.getgroups(),
        "pid1": first_line("/proc/1/comm"),
        "processes": processes(),
        "environment": dict(os.environ),
        "home": attempt(lambda: write(os.path.expanduser("~/x"))),
        "workspace": attempt(lambda: write("/workspace/made.txt")),
        "own source": attempt(lambda: write(__file__)),
        "outside": {p: attempt(lambda p=p: write(p)) for p in
                    ("/x", "/log/../x", "/etc/passwd", "/usr/x", "/proc/1/root/x",
                     "/opt/reprorun/x", "/run/x")},
        "kernel": attempt(lambda: write("/proc/sys/kernel/hostname")),
        "masked": masked(),
        "devices": devices(),
        "disk": attempt(lambda: os.mknod("/tmp/disk", 0o060600, os.makedev(8, 0))),
        "memory device": attempt(lambda: os.mknod("/log/mem", 0o020600, os.makedev(1, 1))),
        "calls": system_calls(),
        "setuid": run_setuid(given["setuid"]),
        "mount program": subprocess.call(["mount", "-t", "tmpfs", "x", "/tmp"],
                                         stderr=subprocess.DEVNULL),
        "inputs": {path: attempt(lambda path=path: write(path)) for path in inputs},
        "links": links_across_mounts(inputs),
    }  # fmt: skip
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
