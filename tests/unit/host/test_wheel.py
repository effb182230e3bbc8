"""What a wheel becomes: the same files as other installers make, and nothing outside its place."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uv import find_uv_bin

from reprorun.environment import tar
from reprorun.environment.tar import Entry
from reprorun.environment.wheel import Layout, wheel_entries
from reprorun.environment.wheel_file import read_metadata
from reprorun.errors import LockFailed
from tests.packages import make_wheel

from .test_tar import FILES

LAYOUT = Layout("3.11")
SITE = "/opt/reprorun/lib/python3.11/site-packages"
BIN = "/opt/reprorun/bin"
WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = b"Metadata-Version: 2.1\nName: a\nVersion: 1\n"
LEAST = {"a-1.dist-info/METADATA": METADATA, "a-1.dist-info/WHEEL": WHEEL}


def put(directory: Path, wheel: tuple[str, bytes]) -> str:
    path = directory / wheel[0]
    path.write_bytes(wheel[1])
    return str(path)


def zipped(directory: Path, members: Mapping[str, bytes], *more: tuple[str, bytes]) -> str:
    """A zip with the least that a wheel has, and whatever else."""
    path = directory / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*LEAST.items(), *members.items(), *more]:
            if data != b"(none)":
                archive.writestr(name, data)
    return str(path)


def contents(entries: list[Entry]) -> dict[str, bytes]:
    """path -> content, as it would come out of the image's tar."""
    import tarfile

    data = b"".join(tar.stream(entries))
    assert len(data) == tar.size_of(entries)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            assert member.name not in found
            found[member.name] = content.read()
    return found


def installed(path: str) -> dict[str, bytes]:
    return {"/" + p.lstrip("/"): data for p, data in contents(wheel_entries(path, LAYOUT)).items()}


def refusal(path: str) -> str:
    with pytest.raises(LockFailed) as caught:
        contents(wheel_entries(path, LAYOUT))
    text = str(caught.value)
    assert os.path.basename(path) in text
    assert len(text.splitlines()) <= 2
    return text


# ---------------------------------------------------------------- where things go


def test_modules_lie_where_python_looks(tmp_path: Path) -> None:
    found = installed(put(tmp_path, make_wheel("Some.Tool", "1.0", files={"tool/x.py": b"x\n"})))
    assert found[f"{SITE}/tool/x.py"] == b"x\n"
    assert found[f"{SITE}/some_tool-1.0.dist-info/INSTALLER"] == b"reprorun\n"
    assert f"{SITE}/some_tool-1.0.dist-info/METADATA" in found


def test_every_install_scheme(tmp_path: Path) -> None:
    beside = {
        "purelib/pure.py": b"1",
        "platlib/plat.so": b"2",
        "headers/tool.h": b"3",
        "data/share/doc/tool": b"4",
        "data/etc/tool.cfg": b"5",
    }
    found = installed(put(tmp_path, make_wheel("tool", "1.0", data=beside)))
    assert found[f"{SITE}/pure.py"] == b"1"
    assert found[f"{SITE}/plat.so"] == b"2"
    assert found["/opt/reprorun/include/site/python3.11/tool/tool.h"] == b"3"
    assert found["/opt/reprorun/share/doc/tool"] == b"4"
    assert found["/opt/reprorun/etc/tool.cfg"] == b"5"
    assert not [path for path in found if ".data" in path]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"#!python\nx\n", b"#!/opt/reprorun/bin/python\nx\n"),
        (b"#!pythonw\nx\n", b"#!/opt/reprorun/bin/python\nx\n"),
        (b"#! python\nx\n", b"#!/opt/reprorun/bin/python\nx\n"),
        (b"#!python3\nx\n", b"#!/opt/reprorun/bin/python\nx\n"),
        (b"#!python\r\nx\r\n", b"#!/opt/reprorun/bin/python\nx\r\n"),
        (b"#!python", b"#!/opt/reprorun/bin/python"),
        (b"#!pythonista\nx\n", None),
        (b"#!/usr/bin/env python\nx\n", None),
        (b"#!/bin/sh\nexec python\n", None),
        (b"\x7fELF\0#!python\n", None),
        (b"", None),
    ],
)
def test_scripts_start_the_environments_python(
    text: bytes, wanted: bytes | None, tmp_path: Path
) -> None:
    path = put(tmp_path, make_wheel("tool", "1.0", scripts={"run": text}))
    assert installed(path)[f"{BIN}/run"] == (text if wanted is None else wanted)
    (entry,) = [e for e in wheel_entries(path, LAYOUT) if e.path == f"{BIN}/run"]
    assert entry.mode == 0o755


def test_bits_of_execution_are_kept_and_no_others(tmp_path: Path) -> None:
    path = zipped(tmp_path, {})
    with zipfile.ZipFile(path, "a") as archive:
        for name, mode in [("run", 0o100755), ("own", 0o100700), ("set", 0o104755), ("txt", 0o666)]:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, name)
    modes = {os.path.basename(entry.path): entry.mode for entry in wheel_entries(path, LAYOUT)}
    assert [modes[n] for n in ("run", "own", "set", "txt")] == [0o755, 0o755, 0o755, 0o644]


def test_a_link_in_a_wheel_becomes_a_file(tmp_path: Path) -> None:
    path = zipped(tmp_path, {})
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("link.py")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    (entry,) = [e for e in wheel_entries(path, LAYOUT) if e.path.endswith("link.py")]
    assert (entry.link, entry.kind) == ("", b"0")
    assert installed(path)[f"{SITE}/link.py"] == b"/etc/passwd"


@pytest.mark.parametrize("name", ["ünïcode.py", "名前.py", "a b/c'd.py", "x" * 150 + ".py"])
def test_names_of_any_script_and_length(name: str, tmp_path: Path) -> None:
    assert installed(zipped(tmp_path, {name: b"1"}))[f"{SITE}/{name}"] == b"1"


def test_what_a_wheel_may_lack(tmp_path: Path) -> None:
    found = installed(zipped(tmp_path, {"a.py": b"1", "empty/": b""}))  # no RECORD
    assert sorted(os.path.basename(path) for path in found) == [
        "INSTALLER", "METADATA", "RECORD", "WHEEL", "a.py",
    ]  # fmt: skip


def test_signatures_are_left_out(tmp_path: Path) -> None:
    found = installed(zipped(tmp_path, {"a-1.dist-info/RECORD.jws": b"1"}))
    assert f"{SITE}/a-1.dist-info/RECORD.jws" not in found


# ---------------------------------------------------------------- entry points


POINTS = """\
[console_scripts]
plain = tool:main
deep = tool.sub.mod:Class.method
extra = tool:main [fancy,more]
tight=tool:main[fancy]
Keeps-Case_1.x = tool:main
two words = tool:main

[gui_scripts]
window = tool.gui:show

[tool.plugins]
no = script:at-all
"""


def test_entry_points_become_scripts(tmp_path: Path) -> None:
    found = installed(put(tmp_path, make_wheel("tool", "1.0", entry_points=POINTS)))
    names = {os.path.basename(path) for path in found if path.startswith(f"{BIN}/")}
    assert names == {
        "plain", "deep", "extra", "tight", "Keeps-Case_1.x", "two words", "window",
    }  # fmt: skip
    deep = found[f"{BIN}/deep"].decode()
    assert deep.startswith("#!/opt/reprorun/bin/python\n")
    assert "from tool.sub.mod import Class\n" in deep
    assert "sys.exit(Class.method())" in deep


@pytest.mark.parametrize("value", ["tool:main", "tool:main [x]", "tool:Main.go"])
def test_the_scripts_run(value: str, tmp_path: Path) -> None:
    points = f"[console_scripts]\nrun = {value}\n"
    found = installed(put(tmp_path, make_wheel("tool", "1.0", entry_points=points)))
    module = "class Main:\n    def go(): return 3\ndef main(): return 3\n"
    (tmp_path / "tool.py").write_text(module)
    done = subprocess.run(
        [sys.executable, "-c", found[f"{BIN}/run"]], cwd=tmp_path, check=False, capture_output=True
    )
    assert done.returncode == 3, done.stderr


@pytest.mark.parametrize(
    "points",
    [
        "[console_scripts]\n../evil = tool:main\n",
        "[console_scripts]\n/bin/sh = tool:main\n",
        "[console_scripts]\nsub/evil = tool:main\n",
        "[console_scripts]\n.. = tool:main\n",
        "[console_scripts]\nx = tool\n",
        "[console_scripts]\nx = tool:main; import os\n",
        "[console_scripts]\nx = tool:main\n    os.system('touch /pwned')\n",
        '[console_scripts]\nx = to"ol:main\n',
        "[console_scripts]\nx =\n",
        "[console_scripts]\nx\n",
        "no section = here\n",
        "[console_scripts\n",
    ],
)
def test_entry_points_that_are_none(points: str, tmp_path: Path) -> None:
    assert "entry point" in refusal(put(tmp_path, make_wheel("tool", "1.0", entry_points=points)))


# ---------------------------------------------------------------- RECORD


def record_of(found: Mapping[str, bytes], info: str) -> dict[str, tuple[str, str]]:
    rows = csv.reader(io.StringIO(found[f"{SITE}/{info}/RECORD"].decode()))
    return {row[0]: (row[1], row[2]) for row in rows}


def test_record_lists_every_file_with_its_digest(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        make_wheel(
            "tool", "1.0", entry_points=POINTS,
            scripts={"run": b"#!python\n", "sh": b"#!/bin/sh\n"},
            data={"data/share/a,b": b"x", "headers/t.h": b""},
        ),
    )  # fmt: skip
    found = installed(path)
    record = record_of(found, "tool-1.0.dist-info")
    assert {os.path.normpath(f"{SITE}/{name}") for name in record} == set(found)
    for name, (digest, size) in record.items():
        data = found[os.path.normpath(f"{SITE}/{name}")]
        if name.endswith("RECORD"):
            assert (digest, size) == ("", "")
            continue
        value = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        assert (digest, size) == (f"sha256={value}", str(len(data))), name


# ---------------------------------------------------------------- as other installers do

SCHEMES = {"headers/tool.h": b"//\n", "data/share/doc/x": b"doc\n", "purelib/more.py": b"y = 2\n"}
OURS = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")


def test_the_same_files_as_uv_installs(tmp_path: Path) -> None:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = put(
        tmp_path,
        make_wheel(
            "some-tool", "1.0", entry_points="[console_scripts]\nplain = tool:main\n",
            scripts={"run": b"#!python\nprint(1)\n", "sh": b"#!/bin/sh\n"}, data=SCHEMES,
            files={"tool/__init__.py": b"x = 1\n", "tool/data.bin": bytes(100)},
        ),
    )  # fmt: skip
    venv = tmp_path / "venv"
    env = {**os.environ, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
    for words in (
        ["venv", "--python", sys.executable, str(venv)],
        ["pip", "install", "--offline", "--python", str(venv), path],
    ):
        subprocess.run([find_uv_bin(), *words], env=env, check=True, capture_output=True)
    entries = wheel_entries(path, Layout(minor))
    ours = {
        os.path.relpath("/" + p.lstrip("/"), "/opt/reprorun"): data
        for p, data in contents(entries).items()
    }
    info = f"lib/python{minor}/site-packages/some_tool-1.0.dist-info"
    listed = csv.reader((venv / info / "RECORD").read_text().splitlines())
    theirs = {os.path.normpath(f"{os.path.dirname(info)}/{row[0]}"): row for row in listed}
    kept = {name for name in ours if os.path.basename(name) not in OURS}
    assert kept == {name for name in theirs if os.path.basename(name) not in OURS}
    for name in kept:
        if not name.startswith("bin/"):
            assert ours[name] == (venv / name).read_bytes(), name
        assert entry_mode(entries, name) & 0o111 == (venv / name).stat().st_mode & 0o111, name
    assert ours["bin/run"].split(b"\n")[1:] == (venv / "bin/run").read_bytes().split(b"\n")[1:]


def entry_mode(entries: list[Entry], name: str) -> int:
    (found,) = [entry for entry in entries if entry.path == f"/opt/reprorun/{name}"]
    return found.mode


# ---------------------------------------------------------------- properties


def is_usual(files: Mapping[str, bytes]) -> bool:
    parts = {part for path in files for part in path.split("/")}
    return not any("\\" in p or p.startswith((".wh.", "a-1.")) or ".dist-info" in p for p in parts)


@given(FILES.filter(is_usual), st.randoms())
def test_any_files_come_out_and_their_order_in_the_wheel_does_not_show(
    files: dict[str, bytes], random: object
) -> None:
    directory = Path(os.environ["XDG_CACHE_HOME"])
    path = zipped(directory, files)
    found = installed(path)
    for name, data in files.items():
        assert found[f"{SITE}/{name}"] == data
    assert len(found) == len(files) + len(LEAST) + 2  # INSTALLER, RECORD
    names = list(files)
    random.shuffle(names)  # type: ignore[attr-defined]
    zipped(directory, {name: files[name] for name in names})
    assert installed(path) == found


# ---------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "a/..",
        "/etc/passwd",
        "a//x",
        "./x",
        "a/./x",
        "..\\x",
        "C:\\x",
        "a\\b",
        "a-1.data/data/../../../etc/passwd",
        "a-1.data/data//etc/passwd",
        "a-1.data/scripts/../x",
        "a-1.data/../x",
    ],
)
def test_a_path_that_escapes(name: str, tmp_path: Path) -> None:
    assert "leads out of the environment" in refusal(zipped(tmp_path, {name: b"x"}))


def test_a_nul_in_a_path(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"evilXname.py": b"x"})
    Path(path).write_bytes(Path(path).read_bytes().replace(b"evilXname.py", b"evil\0name.py"))
    assert "leads out of the environment" in refusal(path)


@pytest.mark.parametrize(
    "name", [".wh.numpy", "numpy/.wh..wh..opq", "a-1.data/data/lib/.wh.python3.11", ".wh.a/b.py"]
)
def test_a_name_that_would_remove_what_others_installed(name: str, tmp_path: Path) -> None:
    assert ".wh." in refusal(zipped(tmp_path, {name: b""}))


@pytest.mark.parametrize("name", ["a-1.data/nowhere/x", "a-1.data/x", "a-1.data/PURELIB/x"])
def test_a_scheme_that_does_not_exist(name: str, tmp_path: Path) -> None:
    assert "no known install scheme" in refusal(zipped(tmp_path, {name: b"x"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("more", ["a.py", "a-1.data/purelib/a.py", "a-1.data/platlib/a.py"])
def test_a_file_that_is_there_twice(more: str, tmp_path: Path) -> None:
    assert "twice" in refusal(zipped(tmp_path, {"a.py": b"1"}, (more, b"2")))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a-1.dist-info/WHEEL": b"(none)"}, "no a-1.dist-info/WHEEL"),
        ({"a-1.dist-info/WHEEL": b"Wheel-Version: 2.0\n"}, "wheel format 2.0"),
        ({"a-1.dist-info/WHEEL": b"hello"}, "wheel format ?"),
        ({"a-1.dist-info/WHEEL": b"Wheel-Version: 11.0\n"}, "wheel format 11.0"),
        ({"b-1.dist-info/x": b""}, "several of them: a-1.dist-info, b-1.dist-info"),
    ],
)
def test_a_wheel_of_another_kind(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**LEAST, **members}.items():
            if data != b"(none)":
                archive.writestr(name, data)
    assert message in refusal(str(path))


def test_a_wheel_without_a_description(tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.py", "")
    assert "no .dist-info directory" in refusal(str(path))
    with pytest.raises(LockFailed, match=r"no \.dist-info directory"):
        read_metadata(str(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + bytes(18)])
def test_no_wheel_at_all(content: bytes, tmp_path: Path) -> None:
    path = put(tmp_path, ("a-1-py3-none-any.whl", content))
    assert "is no wheel" in refusal(path)


def test_a_wheel_that_is_not_there(tmp_path: Path) -> None:
    assert "is no wheel" in refusal(str(tmp_path / "a.whl"))


def test_a_wheel_that_was_cut_short(tmp_path: Path) -> None:
    _, data = make_wheel("a", "1", files={"a.py": os.urandom(500)})
    for size in range(0, len(data), 97):
        refusal(put(tmp_path, ("a-1-py3-none-any.whl", data[:size])))


def test_any_byte_that_was_flipped_is_an_error_or_shows_nowhere(tmp_path: Path) -> None:
    path = Path(zipped(tmp_path, {"a.py": b"x = 1\n" * 20, "a-1.data/scripts/r": b"#!python\n"}))
    whole, good = path.read_bytes(), installed(str(path))
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 0x55
        path.write_bytes(data)
        try:
            found = installed(str(path))
        except LockFailed:
            continue
        # names in the zip's directory, and what nobody reads
        assert sorted(found.values()) == sorted(good.values()) or found.keys() != good.keys(), at


@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "RECORD", "entry_points.txt"])
def test_a_description_that_is_damaged(name: str, tmp_path: Path) -> None:
    texts = {"RECORD": b"a.py,sha256=x,1\n", "entry_points.txt": b"# nothing\n"}
    members = {f"a-1.dist-info/{n}": text for n, text in texts.items()}
    path = Path(zipped(tmp_path, members))
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"a-1.dist-info/{name}")
    data = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    data[start : start + info.compress_size] = b"\xff" * info.compress_size
    path.write_bytes(data)
    text = refusal(str(path))
    assert "damaged" in text
    if name == "METADATA":
        with pytest.raises(LockFailed, match="damaged"):
            read_metadata(str(path))


def test_a_record_that_can_not_be_read(tmp_path: Path) -> None:
    record = b'"' + b"x" * 200_000
    assert "RECORD" in refusal(zipped(tmp_path, {"a-1.dist-info/RECORD": record}))


def test_names_that_are_said_to_be_text_and_are_none(tmp_path: Path) -> None:
    path = Path(zipped(tmp_path, {"ü.py": b"x"}))
    path.write_bytes(path.read_bytes().replace("ü.py".encode(), b"\xff\xfe.py"))
    refusal(str(path))


def test_what_is_far_larger_than_the_wheel_stays_out_of_memory(tmp_path: Path) -> None:
    path = zipped(tmp_path, {})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/big.bin", "a-1.data/scripts/program"):
            with archive.open(name, "w") as file:
                for _ in range(150):
                    file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        entries = wheel_entries(path, LAYOUT)
        size = sum(len(piece) for piece in tar.stream(entries))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 300 << 20
    assert peak < 20 << 20


@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "RECORD", "entry_points.txt"])
def test_a_description_that_would_fill_the_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for known, data in LEAST.items():
            if not known.endswith(name):
                archive.writestr(known, data)
        with archive.open(f"a-1.dist-info/{name}", "w") as file:
            for _ in range(80):
                file.write(bytes(1 << 20))
    if name == "METADATA":
        with pytest.raises(LockFailed, match="larger than"):
            read_metadata(str(path))
    else:
        assert "larger than" in refusal(str(path))


# ---------------------------------------------------------------- what a wheel says


def test_what_a_wheel_says_about_itself(tmp_path: Path) -> None:
    text = (
        "Metadata-Version: 2.1\nName: Some.Tool\nVersion: 1.0\nRequires-Python: >=3.8\n"
        "Requires-Dist: six>=1\nRequires-Dist: numpy ; extra == 'fast'\nProvides-Extra: fast\n"
        "\nRequires-Dist: in the description\n"
    )
    path = zipped(tmp_path, {})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a-1.dist-info/METADATA", text)
    found = read_metadata(path)
    assert (found.name, found.version, found.requires_python) == ("Some.Tool", "1.0", ">=3.8")
    assert found.requires == ("six>=1", "numpy ; extra == 'fast'")
    assert found.extras == ("fast",)


@pytest.mark.parametrize("text", ["", "Name: a\n", "Version: 1\n", "\nName: a\nVersion: 1\n"])
def test_a_wheel_that_does_not_say_who_it_is(text: str, tmp_path: Path) -> None:
    path = zipped(tmp_path, {})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a-1.dist-info/METADATA", text)
    with pytest.raises(LockFailed, match="does not say its name and version"):
        read_metadata(path)
