"""Layers: what changes with what, the virtual environment, and the guest in it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reprorun import files
from reprorun.environment import layers as module
from reprorun.environment import tar
from reprorun.environment.layers import (
    BIG,
    MOST_LAYERS,
    WORTH_A_LAYER,
    DamagedLayer,
    PlainLayer,
    WheelLayer,
    environment_digest,
    environment_layers,
)
from reprorun.environment.skeleton import guest_files
from reprorun.errors import LockFailed
from reprorun.model import Lock, Package, RemoteFile, Source
from tests.packages import make_wheel

from .test_tar import contents, members
from .values import BASE

REST = "the virtual environment and the part of reprorun that runs inside"
SITE = "opt/reprorun/lib/python3.11/site-packages"
SHIMS = "reprorun/experiment/shims"


def package(name: str, size: int | None = 1000, version: str = "1.0") -> Package:
    """A package that nobody has to have."""
    sha256 = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    file = f"{name}-{version}-py3-none-any.whl"
    wheel = RemoteFile(name=file, sha256=sha256, url=f"https://a.invalid/{file}", size=size)
    return Package(name=name, version=version, wheel=wheel)


def lock(*packages: Package, **fields: Any) -> Lock:
    return Lock(packages=tuple(packages), **fields)


def titles(*packages: Package) -> list[str]:
    return [layer.title for layer in environment_layers(lock(*packages), BASE)]


def notes(*packages: Package) -> list[str]:
    return [layer.note for layer in environment_layers(lock(*packages), BASE)]


def real(directory: Path, *given: Any, **fields: Any) -> tuple[Package, dict[str, str]]:
    """A package with its wheel on the disk, and where that is."""
    name, data = make_wheel(*given, **fields)
    (directory / name).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    wheel = RemoteFile(name=name, sha256=sha256, size=len(data))
    made = Package(name=given[0], version=given[1], wheel=wheel)
    return made, {sha256: str(directory / name)}


def tar_of(layer: WheelLayer, paths: dict[str, str]) -> bytes:
    layer.open(paths)
    data = b"".join(layer.pieces())
    assert len(data) == layer.size
    assert b"".join(layer.pieces()) == data  # each call begins anew
    return data


# ---------------------------------------------------------------- order

LARGE = [package("torch", 90 * BIG), package("numpy", 15 * BIG), package("scipy", 30 * BIG)]


def test_big_wheels_are_layers_of_their_own_the_biggest_first() -> None:
    small = [package("six"), package("idna")]
    assert titles(*LARGE, *small) == [
        "torch 1.0", "scipy 1.0", "numpy 1.0", f"idna 1.0, six 1.0, {REST}",
    ]  # fmt: skip


def test_what_is_just_big_and_what_is_not() -> None:
    assert titles(package("a", BIG), package("b", BIG - 1)) == ["a 1.0", f"b 1.0, {REST}"]
    assert titles(package("a", BIG - 1), package("b", BIG - 1)) == [f"a 1.0, b 1.0, {REST}"]


def test_those_of_middle_size_share_a_layer_until_it_is_worth_one() -> None:
    half = WORTH_A_LAYER // 2
    packages = [package(name, half) for name in "abc"]
    assert titles(*packages) == ["a 1.0, b 1.0, c 1.0", REST]  # c would not be worth one
    assert titles(*packages, package("d", half)) == ["a 1.0, b 1.0", "c 1.0, d 1.0", REST]
    assert titles(package("huge", WORTH_A_LAYER), *packages) == [
        "huge 1.0", "a 1.0, b 1.0, c 1.0", REST,
    ]  # fmt: skip
    assert titles(package("a", BIG)) == ["a 1.0", REST]


def test_the_order_of_the_lock_does_not_show() -> None:
    packages = [*LARGE, *(package(f"p{n}") for n in range(6)), package("twin", 15 * BIG)]
    wanted = notes(*packages)
    for seed in range(5):
        random.Random(seed).shuffle(packages)
        assert notes(*packages) == wanted


def test_without_packages_there_is_the_virtual_environment() -> None:
    assert titles() == [REST]


def test_a_size_that_is_unknown_is_small() -> None:
    assert titles(package("a", None), package("b", 2 * BIG)) == ["b 1.0", f"a 1.0, {REST}"]


def test_there_are_never_more_layers_than_engines_take() -> None:
    packages = [package(f"p{n:03d}", WORTH_A_LAYER + n) for n in range(200)]
    found = environment_layers(lock(*packages), BASE)
    assert len(found) == MOST_LAYERS + 1
    assert sorted(p.name for layer in found for p in layer.packages) == [p.name for p in packages]


def test_a_small_package_that_comes_in_leaves_the_big_ones_as_they_are() -> None:
    before, after = notes(*LARGE, package("six")), notes(*LARGE, package("six"), package("idna"))
    assert before[:3] == after[:3]
    assert before[3] != after[3]


def test_another_version_of_a_big_one_leaves_those_before_it() -> None:
    before, after = notes(*LARGE), notes(*LARGE[:1], package("numpy", 15 * BIG, "2.0"), LARGE[2])
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_another_python_has_other_layers() -> None:
    other = msgspec.structs.replace(BASE, python="3.12.1")
    found = [layer.note for layer in environment_layers(lock(*LARGE), other)]
    assert not set(found) & set(notes(*LARGE))


def test_a_patch_release_and_another_base_have_the_same() -> None:
    other = msgspec.structs.replace(BASE, python="3.11.9", id="x", digest="y", executable="/z")
    *big, last = environment_layers(lock(*LARGE), other)
    assert [layer.note for layer in big] == notes(*LARGE)[:-1]
    assert last.note != notes(*LARGE)[-1]  # it says where Python is


# ---------------------------------------------------------------- tars


def test_the_tar_of_a_layer(tmp_path: Path) -> None:
    one, path = real(tmp_path, "tool", "1.0", files={"tool/x.py": b"x\n"})
    two, other = real(tmp_path, "six", "1.0", scripts={"run": b"#!python\n"})
    found = contents(tar_of(WheelLayer([one, two], "3.11"), path | other))
    assert found[f"{SITE}/tool/x.py"] == b"x\n"
    assert found["opt/reprorun/bin/run"] == b"#!/opt/reprorun/bin/python\n"


def test_parents_come_once_and_before_what_is_in_them(tmp_path: Path) -> None:
    pairs = [real(tmp_path, name, "1.0", files={f"shared/{name}.py": b""}) for name in ("a", "b")]
    paths = {sha: path for _, found in pairs for sha, path in found.items()}
    seen: set[str] = set()
    for name, member in members(tar_of(WheelLayer([p for p, _ in pairs], "3.11"), paths)).items():
        parent = os.path.dirname(name)
        assert not parent or parent in seen, name
        if member.isdir():
            seen.add(name)


def test_the_same_bytes_from_elsewhere_and_under_another_umask(tmp_path: Path) -> None:
    tars = set()
    for number, umask in enumerate((0o022, 0o077, 0)):
        place = tmp_path / str(number)
        place.mkdir()
        before = os.umask(umask)
        try:
            made, paths = real(place, "tool", "1.0", scripts={"run": b"#!python\n"})
            tars.add(tar_of(WheelLayer([made], "3.11"), paths))
        finally:
            os.umask(before)
    assert len(tars) == 1


def test_nothing_of_our_own_package_comes_from_a_wheel(tmp_path: Path) -> None:
    beside = {
        f"data/lib/python3.11/site-packages/{n}": b"evil" for n in ("reprorun/data.py", "other.py")
    } | {"purelib/reprorun/pure.py": b"evil", "platlib/reprorun/experiment/plat.py": b"evil"}
    own = {"reprorun/__init__.py": b"evil", "reprorun/experiment/x.py": b"evil", "fine.py": b""}
    made, paths = real(tmp_path, "tool", "1.0", files=own, data=beside)
    found = members(tar_of(WheelLayer([made], "3.11"), paths))
    assert [name for name in found if name.startswith(f"{SITE}/reprorun/")] == []
    assert f"{SITE}/fine.py" in found
    assert f"{SITE}/other.py" in found


def test_a_layer_remembers_its_digest(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0")
    layer = WheelLayer([made], "3.11")
    assert layer.diff_id is None
    diff_id = f"sha256:{hashlib.sha256(tar_of(layer, paths)).hexdigest()}"
    layer.made(diff_id)
    assert layer.diff_id == WheelLayer([made], "3.11").diff_id == diff_id
    assert WheelLayer([made], "3.12").diff_id is None
    assert sorted(os.listdir(files.cache_directory("layers"))) == [layer.note, f"{layer.note}.tar"]


def test_a_layer_that_was_made_once_needs_no_wheels(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", files={"tool/x.py": b"x\n"})
    layer = WheelLayer([made], "3.11")
    data = tar_of(layer, paths)
    assert not layer.open_kept()  # nobody has said yet that it arrived
    layer.made(f"sha256:{hashlib.sha256(data).hexdigest()}")
    again = WheelLayer([made], "3.11")
    assert again.open_kept()
    assert again.size == len(data)
    assert b"".join(again.pieces()) == data
    again.forget()
    assert not again.open_kept()
    assert os.listdir(files.cache_directory("layers")) == []


def test_a_layer_that_another_process_forgets_is_read_to_its_end(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", files={"x": os.urandom(3 << 20)})
    layer = WheelLayer([made], "3.11")
    data = tar_of(layer, paths)
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    layer.made(diff_id)
    layer.close()
    assert layer.open_kept()
    WheelLayer([made], "3.11").forget()
    assert layer.diff_id == diff_id  # as it was told the engine
    assert layer.size == len(data)
    pieces = layer.pieces()
    found = next(pieces)
    WheelLayer([made], "3.11").forget()
    assert found + b"".join(pieces) == data
    layer.made(diff_id)
    layer.close()
    assert not layer.open_kept()


def test_a_layer_that_is_not_open_is_not_an_empty_one() -> None:
    layer = WheelLayer([package("tool")], "3.11")
    with pytest.raises(AssertionError, match="not open"):
        layer.pieces()
    with pytest.raises(AssertionError, match="not open"):
        print(layer.size)
    assert os.listdir(files.cache_directory("layers")) == []


def test_a_kept_tar_that_was_damaged_is_thrown_away(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0")
    layer = WheelLayer([made], "3.11")
    data = tar_of(layer, paths)
    layer.made(f"sha256:{hashlib.sha256(data).hexdigest()}")
    kept = Path(files.cache_directory("layers"), f"{layer.note}.tar")
    assert layer.open_kept()
    layer.verify()
    layer.close()
    kept.write_bytes(b"x" + data[1:])
    assert layer.open_kept()
    assert layer.is_kept
    with pytest.raises(DamagedLayer, match=r"the layer of tool 1\.0 in the cache"):
        layer.verify()
    assert not layer.open_kept()
    assert tar_of(layer, paths) == data


def test_a_layer_that_is_not_read_to_the_end_is_not_kept(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", files={"x": os.urandom(3 << 20)})
    layer = WheelLayer([made], "3.11")
    layer.open(paths)
    pieces = layer.pieces()
    next(pieces)
    del pieces
    assert os.listdir(files.cache_directory("layers")) == []


def test_a_layer_is_read_also_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, paths = real(tmp_path, "tool", "1.0", files={"x": os.urandom(3 << 20)})
    whole = tar_of(WheelLayer([made], "3.11"), paths)
    monkeypatch.setattr(WheelLayer, "_tar", "/dev/full/x")
    assert tar_of(WheelLayer([made], "3.11"), paths) == whole


def test_what_is_very_large_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_KEPT", 100)
    made, paths = real(tmp_path, "tool", "1.0")
    tar_of(WheelLayer([made], "3.11"), paths)
    assert os.listdir(files.cache_directory("layers")) == []


@pytest.mark.parametrize("kept", [b"", b"sha256:\xff", b"sha256:0123", b"\0" * 71, b"../../x"])
def test_a_digest_that_was_kept_badly_is_that_of_no_layer(kept: bytes) -> None:
    layer, diff_id = WheelLayer([package("tool")], "3.11"), f"sha256:{'0' * 64}"
    Path(files.cache_directory("layers"), layer.note).write_bytes(kept)
    assert layer.diff_id != diff_id
    layer.made(diff_id)
    assert layer.diff_id == diff_id


def test_a_wheel_that_escapes_is_refused_when_its_layer_is_opened(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", files={"../../../etc/x": b""})
    with pytest.raises(LockFailed, match="leads out of the environment"):
        WheelLayer([made], "3.11").open(paths)


# ---------------------------------------------------------------- the digest

LOCK = lock(package("tool"), package("six"))
SOURCE = Source(kind="sdist", name="tool.tar.gz", sha256="0" * 64)


def elsewhere(found: Package) -> Package:
    wheel = msgspec.structs.replace(found.wheel, url="file:///mirror/x.whl", size=None)
    return msgspec.structs.replace(found, wheel=wheel, address="https://b.invalid/x")


def test_the_digest_stays_with_what_does_not_matter() -> None:
    other = lock(
        *map(elsewhere, LOCK.packages),
        resolved="later", cached=True, source="uv.lock", notes=("x",),
    )  # fmt: skip
    base = msgspec.structs.replace(BASE, ref="other", id="other", repo_digest="x", dockerfile="y")
    assert environment_digest(BASE, LOCK, ("src",)) == environment_digest(base, other, ("src",))


@pytest.mark.parametrize(
    "changed",
    [
        {"base": msgspec.structs.replace(BASE, digest="other")},
        {"base": msgspec.structs.replace(BASE, python="3.11.3")},
        {"base": msgspec.structs.replace(BASE, executable="/usr/local/bin/python3.11")},
        {"base": msgspec.structs.replace(BASE, path="/bin")},
        {"lock": Lock()},
        {"lock": lock(package("tool"))},
        {"lock": lock(package("tool"), package("six", version="2.0"))},
        {"lock": lock(package("tool"), package("six"), package("idna"))},
        {"paths": ()},
        {"paths": (".", "src")},
        {"paths": ("src",)},
    ],
)
def test_the_digest_changes_with_all_that_is_in_it(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"base": BASE, "lock": LOCK, "paths": ("src", ".")}
    assert environment_digest(**{**given, **changed}) != environment_digest(**given)


def test_the_digest_changes_with_a_wheel_of_the_same_name() -> None:
    one = package("tool")
    other = msgspec.structs.replace(one, wheel=msgspec.structs.replace(one.wheel, sha256="f" * 64))
    assert environment_digest(BASE, lock(one), ()) != environment_digest(BASE, lock(other), ())


def test_the_digest_changes_with_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_digest(BASE, LOCK, ())
    changed = {**guest_files(), "reprorun/launch.py": b"# changed\n"}
    monkeypatch.setattr(module, "guest_files", lambda: changed)
    assert environment_digest(BASE, LOCK, ()) != before


def test_the_size_that_a_lock_says_does_not_matter_to_the_layers_of_an_image() -> None:
    # an index that tells no sizes: they are known once the wheels are there
    sized = lock(*LARGE)
    assert environment_digest(BASE, sized, ()) == environment_digest(
        BASE, lock(*map(elsewhere, LARGE)), ()
    )


# ---------------------------------------------------------------- the skeleton


def skeleton(paths: tuple[str, ...] = (), **base: Any) -> bytes:
    (layer,) = environment_layers(Lock(), msgspec.structs.replace(BASE, **base), paths)
    return tar_of(layer, {})


def test_the_virtual_environment() -> None:
    data = skeleton()
    found = members(data)
    for name in ("python", "python3", "python3.11"):
        assert found[f"opt/reprorun/bin/{name}"].linkname == "/usr/bin/python3.11"
    settings = contents(data)["opt/reprorun/pyvenv.cfg"].decode()
    assert "home = /usr/bin\n" in settings
    assert "version = 3.11.2\n" in settings
    supervisor = found["opt/reprorun/supervise.py"].linkname.lstrip("/")
    assert supervisor in found


def test_what_any_user_can_write() -> None:
    found = members(skeleton())
    wide = {name for name, member in found.items() if member.isdir() and member.mode == 0o777}
    assert wide == {"workspace", "home/reprorun", "log"}
    modes = {name: member.mode for name, member in found.items() if member.isreg()}
    assert modes.pop(f"{SITE}/{SHIMS}/bin/git") == 0o755
    assert set(modes.values()) == {0o644}


def test_the_order_of_the_file_system_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    first, listdir = skeleton(), os.listdir

    def backwards(path: str) -> list[str]:
        return sorted(listdir(path), reverse=True)

    monkeypatch.setattr("os.listdir", backwards)
    assert skeleton() == first


def test_the_projects_own_directories() -> None:
    name = f"{SITE}/reprorun_workspace.pth"
    found = contents(skeleton(("src", ".", "a/b", "./c/")))
    assert found[name] == b"/workspace/src\n/workspace\n/workspace/a/b\n/workspace/c\n"
    assert name not in members(skeleton())


def test_a_plain_layer_is_its_entries() -> None:
    layer = PlainLayer("some", [tar.file("x", b"1")])
    assert contents(b"".join(layer.pieces())) == {"x": b"1"}
    layer.made("sha256:whatever")


# what the environment needs wins over what a wheel brings: it comes last

HOSTILE = {
    "data/bin/python": b"evil",
    "data/pyvenv.cfg": b"evil",
    "data/supervise.py": b"evil",
    "scripts/python3.11": b"evil",
    "data/lib/python3.11/site-packages/reprorun/launch.py": b"evil",
    "data/lib/python3.11/site-packages/reprorun_workspace.pth": b"evil",
}


def test_what_the_environment_needs_wins(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", data=HOSTILE)
    below = members(tar_of(WheelLayer([made], "3.11"), paths))
    above = members(skeleton(("src",)))
    (layer,) = environment_layers(Lock(packages=(made,)), BASE, ("src",))
    together = contents(tar_of(layer, paths))
    assert b"evil" not in together.values()
    assert {
        name: data for name, data in together.items() if name in contents(skeleton(("src",)))
    } == (contents(skeleton(("src",))))
    evil = {os.path.normpath(f"opt/reprorun/{n}") for n in ("bin/python", "pyvenv.cfg")}
    assert evil <= set(below)
    for name, member in below.items():
        if member.isreg() and not name.startswith((f"{SITE}/tool", f"{SITE}/tool.py")):
            assert name in above, name


def test_what_the_environment_needs_wins_over_a_big_wheel_too(tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", data=HOSTILE)
    made = msgspec.structs.replace(made, wheel=msgspec.structs.replace(made.wheel, size=2 * BIG))
    below, above = environment_layers(lock(made), BASE, ("src",))
    evil = {name for name, data in contents(tar_of(below, paths)).items() if data == b"evil"}
    assert evil
    assert evil <= set(members(tar_of(above, {})))


@pytest.mark.parametrize("name", ["bin", "lib", "lib/python3.11", "lib/python3.11/site-packages"])
def test_a_file_where_a_directory_has_to_be(name: str, tmp_path: Path) -> None:
    made, paths = real(tmp_path, "tool", "1.0", data={f"data/{name}": b"evil"})
    (layer,) = environment_layers(lock(made), BASE)
    found = members(tar_of(layer, paths))
    assert found[f"opt/reprorun/{name}"].isdir()
    assert found["opt/reprorun/bin/python"].issym()


def test_another_place_of_python_and_of_modules_changes_the_last_alone() -> None:
    packages = lock(*LARGE, package("six"))
    before = environment_layers(packages, BASE)
    elsewhere = msgspec.structs.replace(BASE, executable="/usr/local/bin/python3.11")
    for after in (
        environment_layers(packages, elsewhere),
        environment_layers(packages, BASE, ("x",)),
    ):
        same = [a.note == b.note for a, b in zip(before, after, strict=True)]
        assert same == [True, True, True, False]


# ---------------------------------------------------------------- the guest

INSIDE = """
import sys
sys.path.insert(0, sys.argv[1])
import reprorun, reprorun.experiment_wrapper, reprorun.launch
for name in reprorun.__all__:
    assert getattr(reprorun, name), name
import pkgutil, importlib
for module in pkgutil.iter_modules(reprorun.experiment.__path__, "reprorun.experiment."):
    importlib.import_module(module.name)
print(reprorun.__file__)
"""


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The skeleton's site-packages."""
    with tarfile.open(fileobj=io.BytesIO(skeleton())) as archive:
        archive.extractall(tmp_path, [m for m in archive if not m.issym()], filter="data")
    return tmp_path / SITE


def test_the_guest_is_complete(unpacked: Path) -> None:
    command = [sys.executable, "-I", "-S", "-c", INSIDE, str(unpacked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(unpacked / "reprorun/__init__.py")]


def test_the_guest_is_no_more_than_it_needs() -> None:
    top = {name for name in guest_files() if name.count("/") == 1}
    assert top == {
        "reprorun/__init__.py",
        "reprorun/experiment_wrapper.py",
        "reprorun/launch.py",
        "reprorun/launch_sweep.py",
    }
    shims = {name for name in guest_files() if name.startswith(f"{SHIMS}/")}
    assert {name for name in guest_files() if not name.endswith(".py")} == {f"{SHIMS}/bin/git"}
    assert shims > {f"{SHIMS}/garage/__init__.py", f"{SHIMS}/garage/experiment/deterministic.py"}
    assert not [name for name in guest_files() if "__pycache__" in name]


def test_scripts_of_the_guest_can_be_run(unpacked: Path) -> None:
    done = subprocess.run([unpacked / SHIMS / "bin/git"], capture_output=True, check=False)
    assert done.returncode == 128
    assert not (unpacked / "reprorun/experiment/supervise.py").stat().st_mode & 0o111
