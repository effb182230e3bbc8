"""What a wheel becomes when it is installed: a pure function from wheel to entries of a tar.

The wheel format is PEP 427, entry points and RECORD as packaging.python.org's specifications have
them. Nothing is unpacked on the host and nothing of the wheel is run.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import zipfile
from typing import NamedTuple

from reprorun.environment.tar import DAMAGE, Entry, file
from reprorun.environment.wheel_file import content_of, dist_info, headers_of, opened, text_of
from reprorun.errors import LockFailed
from reprorun.model import PREFIX

INSTALLER = "reprorun"
_ENTRY_POINT = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*:\s*(?P<call>\w+(?:\.\w+)*)\s*(?:\[.*\])?")
_SCRIPT_NAME = re.compile(r"[\w.+-][\w.+ -]*")
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
_WHITEOUT = ".wh."  # in the tar of a layer such a name removes a file of the layers below
_SHEBANG = re.compile(rb"#![ \t]*python[w0-9.]*(\s|$)")
_LONGEST_SHEBANG = 256  # bytes
_SCRIPT = """#!{python}
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.exit({call}())
"""


class Layout(NamedTuple):
    """Where in the container the parts of a wheel go."""

    python_minor: str  # X.Y

    @property
    def site_packages(self) -> str:
        """Where modules lie."""
        return f"{PREFIX}/lib/python{self.python_minor}/site-packages"

    def place(self, scheme: str, distribution: str) -> str | None:
        """The directory of an install scheme; None for one that does not exist."""
        return {
            "purelib": self.site_packages,
            "platlib": self.site_packages,
            "scripts": f"{PREFIX}/bin",
            "data": PREFIX,
            "headers": f"{PREFIX}/include/site/python{self.python_minor}/{distribution}",
        }.get(scheme)


def wheel_entries(path: str, layout: Layout) -> list[Entry]:
    """The files that installing a wheel makes, in order of their paths.

    Args:
        path: the wheel, on the host.
        layout: of the environment that it goes into.

    Raises:
        LockFailed: it is no wheel, or holds a path that leads out of the environment.
    """
    with opened(path) as archive:
        info = dist_info(archive, path)
        _check_version(text_of(archive, f"{info}/WHEEL", path), path)
        record = f"{info}/RECORD"
        known = _recorded(archive, record, path)
        entries: dict[str, Entry] = {}
        listed: dict[str, tuple[str, str]] = {}
        for member in archive.infolist():
            if member.filename.endswith("/") or member.filename in (
                record,
                *(f"{info}/{s}" for s in _SIGNATURES),
            ):
                continue
            entry = _installed(archive, member, info, layout, path)
            if entry.path in entries:
                raise LockFailed(f"{os.path.basename(path)} holds {member.filename!r} twice.")
            entries[entry.path] = entry
            listed[entry.path] = (
                _digest(entry.data) if entry.data else known.get(member.filename, ("", ""))
            )
        scripts = _entry_points(archive, info, path)
    generated = [
        *scripts,
        file(f"{layout.site_packages}/{info}/INSTALLER", f"{INSTALLER}\n".encode()),
    ]
    for entry in generated:
        entries[entry.path] = entry
        listed[entry.path] = _digest(entry.data)
    place = f"{layout.site_packages}/{record}"
    entries[place] = file(place, _record(listed, place, layout))
    return [entries[name] for name in sorted(entries)]


# ---------------------------------------------------------------- reading


def _check_version(text: str, path: str) -> None:
    version = headers_of(text)["Wheel-Version"] or ""
    if version.split(".")[0] != "1":
        raise LockFailed(
            f"{os.path.basename(path)} is of wheel format {version or '?'}; reprorun knows 1.x."
        )


def _recorded(archive: zipfile.ZipFile, name: str, path: str) -> dict[str, tuple[str, str]]:
    """path -> digest and size, as the wheel's RECORD has them."""
    if name not in archive.NameToInfo:
        return {}
    import csv

    try:
        rows = list(csv.reader(io.StringIO(text_of(archive, name, path))))
    except csv.Error as error:
        raise LockFailed(f"{os.path.basename(path)}: its RECORD can't be read: {error}.") from error
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def _installed(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, info: str, layout: Layout, path: str
) -> Entry:
    """The file that a member of the wheel becomes."""
    name = member.filename
    _refuse_escape(member.orig_filename, path)
    mode = 0o755 if (member.external_attr >> 16) & 0o111 else 0o644
    data_directory = info.removesuffix(".dist-info") + ".data/"
    if not name.startswith(data_directory):
        place = f"{layout.site_packages}/{name}"
        return Entry(place, mode=mode, size=member.file_size, archive=path, member=name)
    scheme, _, rest = name[len(data_directory) :].partition("/")
    target = layout.place(scheme, re.sub(r"[-_.]+", "-", info.split("-", 1)[0]).lower())
    if target is None or not rest:
        raise LockFailed(f"{os.path.basename(path)} holds {name!r}, of no known install scheme.")
    place = f"{target}/{rest}"
    if scheme == "scripts":
        mode = 0o755
        if _asks_for_python(archive, name, path):
            return file(place, _with_shebang(content_of(archive, name, path)), mode)
    return Entry(place, mode=mode, size=member.file_size, archive=path, member=name)


def _refuse_escape(name: str, path: str) -> None:
    """A wheel's paths are relative, with slashes, and lead nowhere else."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or {"..", ".", ""} & {*parts}:
        raise LockFailed(
            f"{os.path.basename(path)} holds the path {name!r}, which leads out of the "
            "environment. It is not installed: its maker means no good, or made a mistake."
        )
    if any(part.startswith(_WHITEOUT) for part in parts):
        raise LockFailed(
            f"{os.path.basename(path)} holds the path {name!r}. No image can have a file of that "
            f"name: to container engines {_WHITEOUT} means that one is removed."
        )


# ---------------------------------------------------------------- scripts


def _asks_for_python(archive: zipfile.ZipFile, name: str, path: str) -> bool:
    """Whether it is a script that starts any Python; programs are scripts too, and large."""
    try:
        with archive.open(name) as script:
            return bool(_SHEBANG.match(script.read(_LONGEST_SHEBANG)))
    except DAMAGE as error:
        raise LockFailed(f"{os.path.basename(path)} is damaged: {name}: {error}.") from error


def _with_shebang(content: bytes) -> bytes:
    """The script, made to start the environment's Python."""
    _, newline, rest = content.partition(b"\n")
    return f"#!{PREFIX}/bin/python".encode() + newline + rest


def _entry_points(archive: zipfile.ZipFile, info: str, path: str) -> list[Entry]:
    if f"{info}/entry_points.txt" not in archive.namelist():
        return []
    from configparser import ConfigParser
    from configparser import Error as ConfigError

    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text_of(archive, f"{info}/entry_points.txt", path))
    except ConfigError as error:
        why = " ".join(str(error).split())
        raise LockFailed(
            f"{os.path.basename(path)}: its entry points can't be read: {why}"
        ) from error
    found = []
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            found += [_script(name, value, path) for name, value in parser.items(section)]
    return found


def _script(name: str, value: str, path: str) -> Entry:
    match = _ENTRY_POINT.fullmatch(value.strip())
    if match is None or not _SCRIPT_NAME.fullmatch(name) or name in (".", ".."):
        raise LockFailed(
            f"{os.path.basename(path)} has the entry point {name!r} = {value!r}, which is none."
        )
    module, call = match["module"], match["call"]
    text = _SCRIPT.format(
        python=f"{PREFIX}/bin/python", module=module, first=call.split(".")[0], call=call
    )
    return file(f"{PREFIX}/bin/{name}", text.encode(), 0o755)


# ---------------------------------------------------------------- RECORD


def _digest(data: bytes) -> tuple[str, str]:
    value = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={value}", str(len(data))


def _record(listed: dict[str, tuple[str, str]], own: str, layout: Layout) -> bytes:
    """RECORD as installed: paths relative to site-packages, its own line without a digest."""
    rows = {os.path.relpath(path, layout.site_packages): row for path, row in listed.items()}
    rows[os.path.relpath(own, layout.site_packages)] = ("", "")
    import csv

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows((path, *rows[path]) for path in sorted(rows))
    return out.getvalue().encode()
