"""The packages of a lock as a virtual environment on this machine, for runs without a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from reprorun import files
from reprorun.environment.fetch import fetch
from reprorun.environment.skeleton import guest_files
from reprorun.environment.uv import run_uv
from reprorun.errors import LockFailed
from reprorun.model import BaseImage, Lock

_OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
_ASK = """\
import json, os, platform, sys
print(json.dumps({
    "python": platform.python_version(), "executable": os.path.realpath(sys.executable),
    "machine": platform.machine(), "libc": " ".join(platform.libc_ver()),
}))
"""


def find_interpreter(version: str) -> BaseImage:
    """An interpreter of this machine, in the place of a base image.

    Args:
        version: X.Y

    Raises:
        LockFailed: there is none.
    """
    path = sys.executable if version == _OWN else _found(version)
    done = subprocess.run([path, "-I", "-c", _ASK], capture_output=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        raise LockFailed(f"{path} is no Python that runs. Name another with --python.") from error
    return BaseImage(ref="", id="", digest="", **told)


def _found(version: str) -> str:
    """Where uv finds it, which knows the usual places."""
    from uv import find_uv_bin

    ask = [find_uv_bin(), "python", "find", "--system", "--no-project", "--color", "never", version]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LockFailed(
            f"this machine has no Python {version}, and --engine local takes one that is there. "
            f"Install it (`uv python install {version}`), or name another with --python."
        )
    return done.stdout.strip()


def make_venv(
    base: BaseImage, lock: Lock, paths: Sequence[str], root: str, digest: str, *, offline: bool
) -> str:
    """The environment, made in the cache where it is not there yet; returns its directory.

    Args:
        base: the interpreter.
        lock: its packages.
        paths: directories of the working tree for the search path, relative to the root.
        root: of the working tree, where it lies.
        digest: of the environment.
        offline: open no connection.

    Raises:
        LockFailed: a package can't be had or installed.
    """
    wheels = [package.wheel for package in lock.packages]
    found = fetch(wheels, offline=offline, progress=lambda _: None)
    name = files.digest_of(digest, base.executable, root, *paths)[:24]
    directory = os.path.join(files.cache_directory("local"), name)
    if not os.path.isdir(directory):
        _fill(directory, base, [found[wheel.sha256] for wheel in wheels], paths, root)
    _write_guest(_site_packages(directory, base), paths, root)
    return directory


def _fill(
    directory: str, base: BaseImage, wheels: list[str], paths: Sequence[str], root: str
) -> None:
    """Make it beside and rename it; it holds no path of its own but in its scripts."""
    work = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(directory))
    try:
        made = os.path.join(work, "venv")
        run_uv(["venv", "--python", base.executable, "--relocatable", made], offline=True, cwd=work)
        if wheels:
            python = os.path.join(made, "bin", "python")
            install = ["pip", "install", "--python", python, "--no-deps", "--no-config", *wheels]
            run_uv(install, offline=True, cwd=work)
        try:
            os.rename(made, directory)
        except OSError:
            if not os.path.isdir(directory):  # else another process was faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_guest(site_packages: str, paths: Sequence[str], root: str) -> None:
    """reprorun's own part, as this version has it, and the working tree's places for modules."""
    for name, content in guest_files().items():
        path = os.path.join(site_packages, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write(path, content)
    lines = "".join(os.path.normpath(os.path.join(root, path)) + "\n" for path in paths)
    files.write(os.path.join(site_packages, "reprorun_workspace.pth"), lines.encode())


def _site_packages(directory: str, base: BaseImage) -> str:
    return os.path.join(directory, "lib", f"python{base.python_minor}", "site-packages")
