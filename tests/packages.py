"""Tiny wheels and source distributions for tests; the same bytes whenever they are made."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

_OLD = (1980, 1, 1, 0, 0, 0)
_BACKEND = """\
import os, shutil

def build_wheel(directory, config_settings=None, metadata_directory=None):
    shutil.copy("ready/" + os.listdir("ready")[0], directory)
    return os.listdir("ready")[0]
"""
_OWN_BACKEND = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'


def make_wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    scripts: Mapping[str, bytes] | None = None,
    entry_points: str = "",
    tag: str = "py3-none-any",
    data: Mapping[str, bytes] | None = None,
    requires_python: str = "",
) -> tuple[str, bytes]:
    """A wheel: its file name and its bytes.

    Args:
        name: of the package; the file's name is the normalized one.
        version: of the package.
        requires: requirement lines.
        files: path below site-packages -> content; a module with VERSION in it when not given.
        scripts: name -> content, to go into bin.
        entry_points: text of entry_points.txt.
        tag: Python, ABI and platform.
        data: path below the .data directory, such as `headers/x.h` or `data/share/x` -> content.
        requires_python: versions that will do.
    """
    stem = f"{module_name(name)}-{version}"
    info, beside = f"{stem}.dist-info", f"{stem}.data"
    members = {**(_default_module(name, version) if files is None else files)}
    members |= {f"{beside}/scripts/{script}": text for script, text in (scripts or {}).items()}
    members |= {f"{beside}/{path}": content for path, content in (data or {}).items()}
    members[f"{info}/METADATA"] = _metadata(name, version, requires, requires_python)
    members[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: reprorun-tests\n"
        f"Root-Is-Purelib: {str(tag.endswith('-any')).lower()}\nTag: {tag}\n"
    ).encode()
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points.encode()
    members[f"{info}/RECORD"] = _record(members, f"{info}/RECORD")
    return f"{stem}-{tag}.whl", _zip(members)


def make_sdist(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    setup_py: str | None = None,
    pyproject: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> tuple[str, bytes]:
    """A source distribution: its file name and its bytes.

    Args:
        name: of the package.
        version: of the package.
        requires: requirement lines.
        setup_py: text of setup.py.
        pyproject: text of pyproject.toml. With neither there is one that builds without
            any other package, by a backend of the sdist's own.
        files: path in the sdist -> content; a module with VERSION in it when not given.
    """
    stem = f"{module_name(name)}-{version}"
    members = {**(_default_module(name, version) if files is None else files)}
    members["PKG-INFO"] = _metadata(name, version, requires, "")
    if setup_py is None and pyproject is None:
        wheel, content = make_wheel(name, version, requires=requires, files=files)
        members |= {f"ready/{wheel}": content, "own.py": _BACKEND.encode()}
        pyproject = _OWN_BACKEND
    if setup_py is not None:
        members["setup.py"] = setup_py.encode()
    if pyproject is not None:
        members["pyproject.toml"] = pyproject.encode()
    return f"{stem}.tar.gz", _tar_gz({f"{stem}/{path}": members[path] for path in members})


def module_name(name: str) -> str:
    """The name as file names and modules have it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _default_module(name: str, version: str) -> dict[str, bytes]:
    return {f"{module_name(name)}.py": f"VERSION = {version!r}\n".encode()}


def _metadata(name: str, version: str, requires: Sequence[str], requires_python: str) -> bytes:
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {each}" for each in requires]
    return ("\n".join(lines) + "\n").encode()


def _record(members: Mapping[str, bytes], own: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        writer.writerow([path, f"sha256={digest}", len(content)])
    writer.writerow([own, "", ""])
    return out.getvalue().encode()


def _zip(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in members.items():
            entry = zipfile.ZipInfo(path, _OLD)
            executable = "/scripts/" in path
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, content)
    return out.getvalue()


def _tar_gz(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(members):
            entry = tarfile.TarInfo(path)
            entry.size = len(members[path])
            archive.addfile(entry, io.BytesIO(members[path]))
    return gzip.compress(out.getvalue(), mtime=0)
