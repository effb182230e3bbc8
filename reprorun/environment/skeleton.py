"""What an environment has beside its packages: the virtual environment, the guest, directories."""

from __future__ import annotations

import os

from reprorun.environment import tar
from reprorun.environment.wheel import Layout
from reprorun.model import HOME, LOG_DIR, PREFIX, SHIMS, WORKSPACE, BaseImage

SUPERVISOR = "reprorun/experiment/supervise.py"
VARIED = (  # one line; Python runs it whenever it starts
    'import os; "REPRORUN_VARIED" in os.environ and '
    '__import__("reprorun.experiment.varied", fromlist=["begin"]).begin()\n'
)
_STAND_INS = "experiment/shims"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_GUEST_MODULES = ("__init__.py", "experiment_wrapper.py", "launch.py", "launch_sweep.py")


def guest_files() -> dict[str, bytes]:
    """The part of reprorun that runs in the container: path below site-packages -> content."""
    names = [*_GUEST_MODULES, *_shim_files()]
    names += [f"experiment/{n}" for n in os.listdir(f"{_PACKAGE}/experiment") if n.endswith(".py")]
    found = {}
    for name in sorted(names):
        with open(os.path.join(_PACKAGE, name), "rb") as file:
            found[f"reprorun/{name}"] = file.read()
    return found


def _shim_files() -> list[str]:
    """What takes the place of other packages and programs; found only where it is asked for."""
    return [
        os.path.relpath(os.path.join(directory, name), _PACKAGE)
        for directory, _, names in os.walk(f"{_PACKAGE}/{_STAND_INS}")
        for name in names
        if os.path.basename(directory) != "__pycache__"
    ]


def skeleton(base: BaseImage, paths: tuple[str, ...]) -> list[tar.Entry]:
    """The environment without its packages.

    Args:
        base: the image that it is for.
        paths: directories of the working tree, relative to its root, to put on the search path.
    """
    site_packages = Layout(base.python_minor).site_packages
    entries = [tar.directory(path, 0o777) for path in (WORKSPACE, HOME, LOG_DIR)]
    entries.append(tar.file(f"{PREFIX}/pyvenv.cfg", _settings(base)))
    for name in ("python", "python3", f"python{base.python_minor}"):
        entries.append(tar.link(f"{PREFIX}/bin/{name}", base.executable))
    for name, content in guest_files().items():
        mode = 0o755 if content.startswith(b"#!") else 0o644  # a script
        entries.append(tar.file(f"{site_packages}/{name}", content, mode))
    # the same place for every Python, so that the entry point is the same too
    entries.append(tar.link(f"{PREFIX}/supervise.py", f"{site_packages}/{SUPERVISOR}"))
    entries.append(tar.file(f"{site_packages}/reprorun_varied.pth", VARIED.encode()))
    entries.append(tar.link(SHIMS, f"{site_packages}/reprorun/{_STAND_INS}"))
    if paths:
        lines = "".join(os.path.normpath(f"{WORKSPACE}/{path}") + "\n" for path in paths)
        entries.append(tar.file(f"{site_packages}/reprorun_workspace.pth", lines.encode()))
    return tar.with_parents(entries)


def _settings(base: BaseImage) -> bytes:
    home = os.path.dirname(base.executable)
    lines = (f"home = {home}", "include-system-site-packages = true", f"version = {base.python}")
    return "".join(f"{line}\n" for line in lines).encode()
